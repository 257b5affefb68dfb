"""What the fake supports and what it refuses, as Markdown, out of the tables that it runs by.

``python -m transports.fake.support`` prints it; ``docs/fake.md`` contains it.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from typing import Final

from transports.fake import failpoints, matcher, matcher_operators, matcher_schema
from transports.fake.collation_spec import PLAIN_LOCALES
from transports.fake.commands import all_commands
from transports.fake.commands.find import UNSUPPORTED_OPTIONS
from transports.fake.commands.registry import COMMANDS
from transports.fake.commands.unsupported import SERVER_COMMANDS
from transports.fake.environment import ANSWERED_SOURCES
from transports.fake.expressions import operators
from transports.fake.stages import table
from transports.fake.stages.accumulators import ACCUMULATORS
from transports.fake.stages.window_functions import WINDOW_FUNCTIONS
from transports.fake.update_modifiers import MODIFIERS

_WIDTH: Final = 110
_SOURCES: Final = ANSWERED_SOURCES | {"$changeStream"}


def supported() -> dict[str, Iterable[str]]:
    """Return what the fake does, by kind."""
    return {
        "Commands": COMMANDS.keys(),
        "Query operators": matcher.TOP_LEVEL.keys() - set(matcher.UNSUPPORTED)
        | matcher_operators.FIELD_OPERATORS.keys(),
        "Keywords of `$jsonSchema`": matcher_schema.KEYWORDS,
        "Update operators": {*MODIFIERS, "$rename"},
        "Aggregation stages": table.STAGES.keys() | _SOURCES,
        "Expressions": operators.OPERATORS.keys() - operators.UNSUPPORTED,
        "Accumulators": ACCUMULATORS.keys() - operators.UNSUPPORTED,
        "Window functions, besides accumulators": WINDOW_FUNCTIONS,
        "Locales of collations": PLAIN_LOCALES,
        "Failpoints": failpoints.KNOWN,
    }


def refused() -> dict[str, Iterable[str]]:
    """Return what a server does and the fake refuses with 238 NotImplemented, by kind."""
    return {
        "Commands": SERVER_COMMANDS - COMMANDS.keys(),
        "Options of `find`": UNSUPPORTED_OPTIONS,
        "Query operators": {*matcher.UNSUPPORTED, *matcher_operators.UNSUPPORTED},
        "Aggregation stages": table.UNSUPPORTED | table.SOURCES - _SOURCES,
        "Expressions and accumulators": operators.UNSUPPORTED,
        "Locales of collations": ["every other"],
        "Failpoints": failpoints.REFUSED,
    }


def markdown() -> str:
    """Return both lists."""
    all_commands()
    return f"### Supported\n\n{_listed(supported())}\n\n### Refused\n\n{_listed(refused())}\n"


def _listed(kinds: dict[str, Iterable[str]]) -> str:
    return "\n\n".join(
        textwrap.fill(
            f"**{kind}**: {', '.join(_shown(name) for name in sorted(names))}",
            _WIDTH,
            break_on_hyphens=False,
        )
        for kind, names in kinds.items()
    )


def _shown(name: str) -> str:
    return name if " " in name else f"`{name}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
