"""What a policy says: ``ODM_PROXY_POLICY``, read and checked once, when the function initialises.

A preset's name, or a JSON object; every field is optional::

    {"databases": ["cms"],                        names, or "*": all but admin, config and local
     "collections": {"allow": ["page*"], "deny": ["cms.secrets"]},
     "readOnly": false,
     "commands": {"allow": ["dropDatabase"], "deny": ["dropIndexes"]},
     "stages": {"allow": ["$indexStats"], "deny": ["$lookup"]},
     "operators": {"allow": [], "deny": ["$regex"]},
     "javaScript": false,
     "maxTimeMS": 30000, "maxBatchSize": 1000, "maxReplyBytes": 16777216}

The meaning of each is in docs/policy.md. Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transports.lambda_invoke.function.policy import names
from transports.lambda_invoke.function.policy.commands import ALIASES, COMMANDS, NEVER_ALLOWED

EVERY = "*"
SYSTEM_DATABASES = frozenset({"admin", "config", "local"})
PRESETS = ("readWrite", "readOnly", "unrestricted")

_WHERE = "ODM_PROXY_POLICY"
_FIELDS = (
    "databases",
    "collections",
    "readOnly",
    "commands",
    "stages",
    "operators",
    "javaScript",
    "maxTimeMS",
    "maxBatchSize",
    "maxReplyBytes",
)
_BAD_DATABASE = re.compile(r'[/\\. "$\x00]')
_COMMAND = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_OPERATOR = re.compile(r"\$[A-Za-z_*][A-Za-z0-9_*]*")
_INT32_MAX = 2**31 - 1


class PolicyError(ValueError):
    """The policy is no policy; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """Names, or ``prefix*``."""

    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def match(self, name: str) -> bool:
        """Whether *name* is one of them."""
        return name in self.exact or (bool(self.prefixes) and name.startswith(self.prefixes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy's rules.

    Attributes:
        databases: names; `EVERY` stands for all but `SYSTEM_DATABASES`.
        allow: collections by database, under ``""`` those of any; None allows all.
        deny: collections, by name and by ``database.collection``.
        system: the ``system.`` collections that are allowed by their names.
        staging: the function's own ``(database, collection)``.
        commands: canonical names of known commands that may run.
        extra_commands: commands that this release does not know and the policy allows.
        stages: stages that may be used.
        operators: operators that are known and may be used.
        denied_operators: those that may not.
        restricts_views: an existing view may lead to what the policy denies.
        max_time_ms: ceiling, None for none; likewise the others.
    """

    databases: frozenset[str]
    allow: Mapping[str, Patterns] | None = None
    deny: Patterns = field(default_factory=Patterns)
    system: frozenset[str] = frozenset()
    staging: tuple[str, str] = ("", "")
    read_only: bool = False
    commands: frozenset[str] = frozenset()
    extra_commands: frozenset[str] = frozenset()
    stages: frozenset[bytes] = names.STAGES
    operators: frozenset[bytes] = names.OPERATORS
    denied_operators: frozenset[bytes] = frozenset()
    java_script: bool = False
    restricts_views: bool = False
    max_time_ms: int | None = None
    max_batch_size: int | None = None
    max_reply_bytes: int | None = None

    def allows_database(self, name: str) -> bool:
        """Whether commands may go to the database *name*."""
        if name in self.databases:
            return True
        return (
            EVERY in self.databases
            and name.lower() not in SYSTEM_DATABASES
            and not _BAD_DATABASE.search(name)
            and bool(name)
        )

    def allows_collection(self, database: str, name: str) -> bool:
        """Whether commands may use the collection *name* of an allowed database."""
        if (database, name) == self.staging or "$" in name or "\x00" in name or not name:
            return False
        full = f"{database}.{name}"
        if self.deny.match(name) or self.deny.match(full):
            return False
        if name.startswith("system.") and not {name, full} & self.system:
            return False
        if self.allow is None:
            return True
        return any(key in self.allow and self.allow[key].match(name) for key in ("", database))

    @property
    def restricts_collections(self) -> bool:
        """Whether there are collections of an allowed database that callers may not read."""
        return self.allow is not None or bool(self.deny.exact or self.deny.prefixes)


def parse(text: str, *, database: str, staging: str) -> Rules | None:
    """Return the rules in *text*, None for ``unrestricted``.

    Args:
        text: the variable's value, or the content of the file that it names; ``""`` is the default.
        database: the database that the function's MongoDB URI names, ``""`` for none.
        staging: ``"database.collection"``, which callers may not touch.

    Raises:
        PolicyError: an unknown field or a wrong type.
    """
    text = text.strip()
    if text == "unrestricted":
        return None
    document: Any = {"readOnly": True} if text == "readOnly" else {}
    if text.startswith("{"):
        try:
            document = json.loads(text, object_pairs_hook=_once)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PolicyError(f"{_WHERE} is not JSON: {error}") from error
    elif text and text not in PRESETS:
        raise PolicyError(
            f"{_WHERE} is {text[:40]!r}: write one of {', '.join(PRESETS)}, "
            'a JSON object such as {"databases": ["cms"]}, or a file of the bundle ending in .json'
        )
    return _rules(document, database, staging)


def _rules(document: Mapping[str, Any], database: str, staging: str) -> Rules:
    for name in document:
        if name not in _FIELDS:
            raise PolicyError(f"{_WHERE} has an unknown field {name!r}: write {', '.join(_FIELDS)}")
    databases = _databases(document, database)
    allow, deny, system = _collections(document, databases)
    java_script = _flag(document, "javaScript")
    commands, extra = _commands(document, java_script)
    stages, denied_stages = _names_of(document, "stages", names.STAGES, java_script)
    operators, denied_operators = _names_of(document, "operators", names.OPERATORS, java_script)
    if java_script:
        operators |= names.JAVASCRIPT - denied_operators
    staging_database, _, staging_collection = staging.partition(".")
    return Rules(
        databases=databases,
        allow=allow,
        deny=deny,
        system=system,
        staging=(staging_database, staging_collection),
        read_only=_flag(document, "readOnly"),
        commands=commands,
        extra_commands=extra,
        stages=stages,
        operators=operators,
        denied_operators=denied_operators,
        java_script=java_script,
        restricts_views=bool(
            allow is not None or deny.exact or deny.prefixes or denied_stages or denied_operators
        ),
        max_time_ms=_positive(document, "maxTimeMS"),
        max_batch_size=_positive(document, "maxBatchSize"),
        max_reply_bytes=_positive(document, "maxReplyBytes"),
    )


def _databases(document: Mapping[str, Any], database: str) -> frozenset[str]:
    if "databases" not in document:
        # "mongodb://…/admin" names where the user is kept, not what callers may read.
        named = database and database.lower() not in SYSTEM_DATABASES
        return frozenset({database}) if named else frozenset()
    found = _strings(document, "databases", '["cms"]')
    for name in found:
        if name != EVERY and (not name or _BAD_DATABASE.search(name)):
            raise PolicyError(f'{_WHERE}: databases has {name!r}: write names, or "*" for all')
    return frozenset(found)


def _collections(
    document: Mapping[str, Any], databases: frozenset[str]
) -> tuple[Mapping[str, Patterns] | None, Patterns, frozenset[str]]:
    lists = _allow_deny(document, "collections", '{"allow": ["page*"], "deny": ["secrets"]}')
    for pattern in (*lists["allow"], *lists["deny"]):
        if not pattern or "*" in pattern[:-1] or "\x00" in pattern:
            raise PolicyError(
                f"{_WHERE}: collections has {pattern!r}: write a name, database.name, or prefix*"
            )
    deny = _patterns(lists["deny"])
    if "allow" not in document.get("collections", {}):
        return None, deny, frozenset()
    by_database: dict[str, list[str]] = {}
    for pattern in lists["allow"]:
        first, separator, rest = pattern.partition(".")
        qualified = separator and rest and first in databases
        by_database.setdefault(first if qualified else "", []).append(
            rest if qualified else pattern
        )
    system = {
        pattern
        for pattern in lists["allow"]
        if pattern.startswith("system.") or ".system." in pattern
    }
    allow = {key: _patterns(patterns) for key, patterns in by_database.items()}
    return allow, deny, frozenset(system)


def _patterns(patterns: list[str]) -> Patterns:
    return Patterns(
        frozenset(p for p in patterns if not p.endswith("*")),
        tuple(p[:-1] for p in patterns if p.endswith("*")),
    )


def _commands(
    document: Mapping[str, Any], java_script: bool
) -> tuple[frozenset[str], frozenset[str]]:
    lists = _allow_deny(document, "commands", '{"allow": ["dropDatabase"], "deny": ["drop"]}')
    allowed = {name for name, command in COMMANDS.items() if command.by_default}
    if java_script:
        allowed.add("mapReduce")
    extra: set[str] = set()
    for name in lists["allow"]:
        canonical = ALIASES.get(name, name)
        if not _COMMAND.fullmatch(name) or canonical in NEVER_ALLOWED:
            raise PolicyError(
                f"{_WHERE}: commands.allow has {name!r}: write commands other than "
                f"{', '.join(sorted(NEVER_ALLOWED))}"
            )
        if canonical == "mapReduce" and not java_script:
            raise PolicyError(f'{_WHERE}: mapReduce runs JavaScript: write "javaScript": true')
        (allowed if canonical in COMMANDS else extra).add(canonical)
    for name in lists["deny"]:
        canonical = ALIASES.get(name, name)
        if canonical not in COMMANDS and canonical not in extra:
            raise PolicyError(
                f"{_WHERE}: commands.deny has {name!r}, which nothing allows: write one of "
                f"{', '.join(sorted(allowed))}"
            )
        allowed.discard(canonical)
        extra.discard(canonical)
    return frozenset(allowed), frozenset(extra)


def _names_of(
    document: Mapping[str, Any], key: str, known: frozenset[bytes], java_script: bool
) -> tuple[frozenset[bytes], frozenset[bytes]]:
    lists = _allow_deny(document, key, '{"deny": ["$lookup"]}')
    for name in (*lists["allow"], *lists["deny"]):
        if not _OPERATOR.fullmatch(name) or name.encode() in names.NEVER:
            raise PolicyError(f"{_WHERE}: {key} has {name!r}: write names such as $lookup")
    allow = {name.encode() for name in lists["allow"]}
    deny = frozenset(name.encode() for name in lists["deny"])
    if key == "operators":
        wrong = allow & (
            names.NAMESPACE_STAGES | (frozenset() if java_script else names.JAVASCRIPT)
        )
        for operator in sorted(wrong):
            raise PolicyError(
                f"{_WHERE}: operators.allow has {operator.decode()}: JavaScript is allowed by "
                '"javaScript": true, stages by "stages"'
            )
    return frozenset((known | allow) - deny), deny


def _allow_deny(document: Mapping[str, Any], key: str, example: str) -> dict[str, list[str]]:
    value = document.get(key, {})
    if not isinstance(value, dict) or not value.keys() <= {"allow", "deny"}:
        raise PolicyError(f"{_WHERE}: {key} is an object of allow and deny: write {example}")
    return {
        name: _strings(value, name, example, where=f"{key}.{name}") if name in value else []
        for name in ("allow", "deny")
    }


def _strings(
    document: Mapping[str, Any], key: str, example: str, *, where: str | None = None
) -> list[str]:
    value = document[key]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise PolicyError(f"{_WHERE}: {where or key} is a list of names: write {example}")
    return value


def _flag(document: Mapping[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise PolicyError(f"{_WHERE}: {key} is true or false, not {value!r}")
    return value


def _positive(document: Mapping[str, Any], key: str) -> int | None:
    value = document.get(key)
    if key not in document:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _INT32_MAX:
        raise PolicyError(f"{_WHERE}: {key} is a whole number above 0, not {value!r}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PolicyError(f"{_WHERE} has a field twice: {', '.join(name for name, _ in pairs)}")
    return found
