"""Every rule, in the order of a report."""

from __future__ import annotations

from odm.cli.doctor.rule import Rule
from odm.cli.doctor.rules import (
    access,
    capacity,
    connections,
    credentials,
    network,
    operations,
    timeouts,
    versions,
)

AREAS: dict[str, tuple[Rule, ...]] = {
    "Deployed": operations.RULES,
    "Connections": connections.RULES,
    "Capacity": capacity.RULES,
    "Network": network.RULES,
    "Access": credentials.RULES + access.RULES,
    "Time": timeouts.RULES,
    "Versions and regions": versions.RULES,
}
"""The rules, by what they are about."""

RULES: tuple[Rule, ...] = tuple(each for rules in AREAS.values() for each in rules)
"""All of them."""
