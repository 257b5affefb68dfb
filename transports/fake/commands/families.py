"""The families of commands; importing them fills `transports.fake.commands.registry.COMMANDS`."""

from __future__ import annotations

from importlib import import_module
from typing import Final

FAMILIES: Final = (
    "aggregate",
    "collections",
    "count",
    "cursors",
    "databases",
    "delete",
    "diagnostics",
    "explain",
    "failpoints",
    "find",
    "find_and_modify",
    "handshake",
    "indexes",
    "insert",
    "sessions",
    "update",
)


def all_commands() -> None:
    """Register every command."""
    for family in FAMILIES:
        import_module(f"transports.fake.commands.{family}")
