"""The table of commands: name, fields, what may come with it, handler.

A family's module declares its commands with `command`; the interpreter looks them up in
`COMMANDS`. Unknown and wrongly typed fields are refused here, in the server's words.

Spec: https://www.mongodb.com/docs/manual/reference/command/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.operation import Operation, Waiting
from transports.fake.values import Document, bson_type

Handler = Callable[[Operation], "Document | Waiting"]

UNKNOWN_FIELD: Final = 40415
MISSING_FIELD: Final = 40414
OUT_OF_RANGE: Final = 51024

_GENERIC_FIELDS: Final = frozenset(
    {
        "$db",
        "$clusterTime",
        "$readPreference",
        "$queryOptions",
        "$audit",
        "$client",
        "$configServerState",
        "$configTime",
        "$topologyTime",
        "$tenant",
        "apiDeprecationErrors",
        "apiStrict",
        "apiVersion",
        "autocommit",
        "comment",
        "help",
        "lsid",
        "maxTimeMS",
        "maxTimeMSOpOnly",
        "readConcern",
        "rawData",
        "serialization_context",
        "startTransaction",
        "stmtId",
        "stmtIds",
        "txnNumber",
        "writeConcern",
    }
)

_NUMBERS: Final = frozenset({"int", "long", "double", "decimal"})
_KINDS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "object": (frozenset({"object"}), "type 'object'"),
    "array": (frozenset({"array"}), "type 'array'"),
    "string": (frozenset({"string"}), "type 'string'"),
    "bool": (frozenset({"bool"}), "type 'bool'"),
    "long": (frozenset({"long"}), "type 'long'"),
    "number": (_NUMBERS, "types '[long, int, decimal, double']"),
    "flag": (_NUMBERS | {"bool"}, "types '[bool, long, int, decimal, double']"),
    "string or object": (frozenset({"string", "object"}), "types '[string, object']"),
    "update": (frozenset({"object", "array"}), "types '[array, object']"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        struct: what the server calls it in messages about fields.
        kinds: field → kind (a key of the table of kinds, ``""`` for anything).
        required: fields without which it is refused.
        admin_only: whether it runs on ``admin`` only.
        takes_write_concern: whether ``writeConcern`` is accepted.
        read_concerns: the levels of ``readConcern`` that are accepted.
        in_transaction: whether it may be part of a transaction.
        retryable: whether it may carry a ``txnNumber`` outside of a transaction.
        api_v1: whether API version 1 has it.
        any_field: whether its fields are names of things, which cannot be listed.
    """

    name: str
    handler: Handler
    struct: str
    kinds: Mapping[str, str]
    fields: frozenset[str]
    required: tuple[str, ...] = ()
    admin_only: bool = False
    takes_write_concern: bool = False
    read_concerns: frozenset[str] = frozenset()
    in_transaction: bool = False
    retryable: bool = False
    api_v1: bool = True
    any_field: bool = False

    def check(self, command: Document) -> None:
        """Refuse unknown fields, wrong types and missing fields.

        Raises:
            CommandFailure: 40415, 14, 40414.
        """
        if not self.any_field and not command.keys() <= self.fields:
            unknown = next(name for name in command if name not in self.fields)
            raise CommandFailure(
                UNKNOWN_FIELD, f"BSON field '{self.struct}.{unknown}' is an unknown field."
            )
        check_kinds(self.struct, command, self.kinds)
        for name in self.required:
            if name not in command:
                raise missing_field(f"{self.struct}.{name}")


COMMANDS: Final[dict[str, Command]] = {}
"""Every command under each of its names."""


def command(
    name: str,
    *aliases: str,
    fields: Mapping[str, str] | None = None,
    struct: str | None = None,
    required: tuple[str, ...] = (),
    read_concerns: tuple[str, ...] = (),
    **options: bool,
) -> Callable[[Handler], Handler]:
    """Register a handler; see `Command` for the options."""

    def register(handler: Handler) -> Handler:
        kinds = {field: kind for field, kind in (fields or {}).items() if kind}
        for alias in (name, *aliases):
            COMMANDS[alias] = Command(
                name=name,
                handler=handler,
                struct=struct or name,
                kinds=kinds,
                fields=_GENERIC_FIELDS | frozenset(fields or ()) | {alias},
                required=required,
                read_concerns=frozenset(read_concerns),
                **options,
            )
        return handler

    return register


def check_kinds(struct: str, document: Document, kinds: Mapping[str, str]) -> None:
    """Refuse values of the wrong type; null counts as absent, as the server's parsers have it.

    Raises:
        CommandFailure: 14 TypeMismatch.
    """
    for name, value in document.items():
        kind = kinds.get(name)
        if kind is None:
            continue
        allowed, expected = _KINDS[kind]
        found = bson_type(value)[1]
        if found not in allowed and value is not None:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"BSON field '{struct}.{name}' is the wrong type '{found}', expected {expected}",
            )


def check_fields(
    struct: str, document: Any, kinds: Mapping[str, str], required: tuple[str, ...] = ()
) -> None:
    """Check an embedded document like a command: unknown, wrongly typed and missing fields.

    Raises:
        CommandFailure: 40415, 14, 40414.
    """
    if type(document) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f"BSON field '{struct}' is the wrong type '{bson_type(document)[1]}', "
            "expected type 'object'",
        )
    for name in document:
        if name not in kinds:
            raise CommandFailure(
                UNKNOWN_FIELD, f"BSON field '{struct}.{name}' is an unknown field."
            )
    check_kinds(struct, document, {name: kind for name, kind in kinds.items() if kind})
    for name in required:
        if name not in document:
            raise missing_field(f"{struct}.{name}")


def missing_field(path: str) -> CommandFailure:
    """Return the refusal of a command that lacks a required field."""
    return CommandFailure(MISSING_FIELD, f"BSON field '{path}' is missing but a required field")


def non_negative(name: str, value: Any) -> int:
    """Return a count as a whole number.

    Raises:
        CommandFailure: 51024 if it is negative.
    """
    number = whole(value)
    if number < 0:
        raise CommandFailure(
            OUT_OF_RANGE, f"BSON field '{name}' value must be >= 0, actual value '{number}'"
        )
    return number


def whole(value: Any) -> int:
    """Return a number of any BSON type, truncated."""
    if hasattr(value, "to_decimal"):
        return int(value.to_decimal())
    return int(value)
