"""Checking what a stage is given: names of options, their types, names of collections.

The server's generated parsers check so: an unknown name, then a wrong type, in the order they are
written; null is as good as absent; then what is missing.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transports.fake.errors import INVALID_NAMESPACE, TYPE_MISMATCH, CommandFailure
from transports.fake.values import Document, bson_type

ANY: Final = ""
STRINGS: Final = "strings"
_NUMBERS: Final = frozenset({"int", "long", "double", "decimal"})
_EXPECTED: Final = {
    "object": "type 'object'",
    "string": "type 'string'",
    "array": "type 'array'",
    "bool": "type 'bool'",
    "number": "types '[long, int, decimal, double']",
    STRINGS: "type 'array'",
}


def checked_options(
    struct: str, given: Any, kinds: Mapping[str, str], required: tuple[str, ...] = ()
) -> Document:
    """Return the options that are given and not null.

    Args:
        struct: what the server's messages call the document, e.g. ``"$densify.range"``.
        given: the document.
        kinds: option → the type it must have: an alias, ``number``, `STRINGS` or `ANY`.
        required: options that must be there.

    Raises:
        CommandFailure: 14, 40415, 40414; 10065 for null instead of an array.
    """
    if type(given) is not dict:
        raise _wrong(struct, given, "object")
    options: Document = {}
    for name, value in given.items():
        if name not in kinds:
            raise CommandFailure(40415, f"BSON field '{struct}.{name}' is an unknown field.")
        kind = kinds[name]
        if value is None and kind != ANY:
            if kind in ("array", STRINGS):
                raise CommandFailure(10065, f"invalid parameter: expected an object ({name})")
            continue
        _check_kind(f"{struct}.{name}", value, kind)
        if kind == STRINGS:
            value = [element for element in value if element is not None]
        options[name] = value
    for name in required:
        if name not in options:
            raise CommandFailure(
                40414, f"BSON field '{struct}.{name}' is missing but a required field"
            )
    return options


def _check_kind(path: str, value: Any, kind: str) -> None:
    found = bson_type(value)[1]
    if kind == "number":
        if found not in _NUMBERS:
            raise _wrong(path, value, kind)
    elif kind == STRINGS:
        if found != "array":
            raise _wrong(path, value, kind)
        for index, element in enumerate(value):
            if type(element) is not str and element is not None:
                raise _wrong(f"{path}.{index}", element, "string")
    elif kind != ANY and found != kind:
        raise _wrong(path, value, kind)


def _wrong(path: str, value: Any, kind: str) -> CommandFailure:
    return CommandFailure(
        TYPE_MISMATCH,
        f"BSON field '{path}' is the wrong type '{bson_type(value)[1]}', expected "
        f"{_EXPECTED[kind]}",
    )


def check_collection(name: str, empty: str) -> None:
    """Refuse what cannot be the name of a collection.

    Args:
        name: the name.
        empty: the message for no name at all.

    Raises:
        CommandFailure: 73 InvalidNamespace.
    """
    if not name:
        raise CommandFailure(INVALID_NAMESPACE, empty)
    if "\0" in name:
        raise CommandFailure(INVALID_NAMESPACE, "namespaces cannot have embedded null characters")
    if name.startswith("."):
        raise CommandFailure(INVALID_NAMESPACE, f"Collection names cannot start with '.': {name}")
