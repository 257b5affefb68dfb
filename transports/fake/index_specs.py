"""Index specifications: what may be asked for, and how it is stored.

Spec: https://www.mongodb.com/docs/manual/reference/command/createIndexes/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bson import Int64

from transports.fake.bson_text import render, render_document
from transports.fake.collation_spec import compile_collation
from transports.fake.errors import (
    BAD_VALUE,
    CANNOT_CREATE_INDEX,
    FAILED_TO_PARSE,
    TYPE_MISMATCH,
    CommandFailure,
)
from transports.fake.expressions.numbers import whole
from transports.fake.index_filters import check_partial, refused
from transports.fake.matcher import SPECIAL_FEATURES, compile_filter
from transports.fake.storage import Collection
from transports.fake.text.tokens import is_known
from transports.fake.values import Document, as_decimal, bson_type, is_number

_INVALID_OPTION: Final = 197
_PLUGINS: Final = frozenset({"2d", "2dsphere", "text", "hashed"})
_KNOWN: Final = frozenset(
    {
        "v",
        "key",
        "name",
        "ns",
        "unique",
        "sparse",
        "background",
        "expireAfterSeconds",
        "hidden",
        "partialFilterExpression",
        "collation",
        "storageEngine",
        "weights",
        "default_language",
        "language_override",
        "textIndexVersion",
        "2dsphereIndexVersion",
        "bits",
        "min",
        "max",
        "bucketSize",
        "dropDups",
        "wildcardProjection",
        "prepareUnique",
        "coarsestIndexedLevel",
        "finestIndexedLevel",
        "originalSpec",
        "clustered",
    }
)
_ORDER: Final = (
    *("v", "key", "name", "background", "unique", "hidden", "partialFilterExpression", "sparse"),
    *("storageEngine", "expireAfterSeconds", "collation", "weights", "default_language"),
    *("language_override", "textIndexVersion", "2dsphereIndexVersion", "bits", "min", "max"),
    *("bucketSize", "wildcardProjection"),
)
_FLAGS: Final = ("unique", "sparse", "background", "hidden")
_ID_OPTIONS: Final = frozenset({"v", "key", "name", "ns", "collation", "clustered"})
_MAX_EXPIRY: Final = 0x7FFFFFFF


def normalised(collection: Collection, spec: Any, place: int) -> Document:
    """Check one specification and return it as ``listIndexes`` shows it.

    Raises:
        CommandFailure: 67, 9, 197, 14, … as the server refuses it.
    """
    if type(spec) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f"BSON field 'createIndexes.indexes.{place}' is the wrong type "
            f"'{bson_type(spec)[1]}', expected type 'object'",
        )
    _check_shape(spec)
    if _is_id_key(spec["key"]):
        return _id_spec(collection, spec)
    _check_reserved_names(spec)
    _check_expiry(spec)
    check_partial(spec)
    _check_text(spec)
    return _stored(collection, spec)


def _is_id_key(key: Document) -> bool:
    """Tell whether the server takes a key for that of ``_id_``, be it a wrong one."""
    kind = key.get("_id")
    return list(key) == ["_id"] and is_number(kind) and abs(int(as_decimal(kind))) == 1


def _check_shape(spec: Document) -> None:
    """Check the fields one by one, in the order in which they are given, as the server does."""
    for field in spec:
        if field not in _KNOWN:
            raise refused(
                spec,
                f"The field '{field}' is not valid for an index specification. Specification: "
                f"{render_document(spec)}",
                _INVALID_OPTION,
            )
    for field, value in spec.items():
        if field in _FLAGS:
            _check_flag(spec, field)
        elif field in _CHECKS:
            _CHECKS[field](spec, value)
    for field in ("key", "name"):
        if field not in spec:
            raise refused(
                spec,
                f"The '{field}' field is a required property of an index specification",
                FAILED_TO_PARSE,
            )
    if spec["name"] == "":
        raise refused({**spec, "v": 2}, "index name cannot be empty")
    _check_wildcard(spec)


def _check_flag(spec: Document, flag: str) -> None:
    if flag == "hidden" and type(spec[flag]) is not bool:
        raise refused(
            spec,
            f"The field 'hidden' must be a bool, but got {bson_type(spec[flag])[1]}",
            TYPE_MISMATCH,
        )
    if type(spec[flag]) is not bool and not is_number(spec[flag]):
        raise refused(
            spec,
            f"The field '{flag} has value {flag}: {render(spec[flag])}, which is not "
            "convertible to bool",
            TYPE_MISMATCH,
        )


def _check_name(spec: Document, name: Any) -> None:
    if type(name) is not str:
        raise refused(
            spec,
            f"The field 'name' must be a string, but got {bson_type(name)[1]}",
            TYPE_MISMATCH,
        )


def _check_version(spec: Document, version: Any) -> None:
    if not is_number(version):
        raise refused(
            spec,
            f"The field 'v' must be a number, but got {bson_type(version)[1]}",
            TYPE_MISMATCH,
        )
    if whole(version) is None:
        raise refused(
            spec,
            f"Index version must be representable as a 32-bit integer, but got {render(version)}",
            BAD_VALUE,
        )
    if as_decimal(version) not in (1, 2):
        shown = render_document(spec)
        raise refused(
            spec,
            f"Invalid index specification {shown}; cannot create an index with v={render(version)}",
        )


def _check_collation(spec: Document, collation: Any) -> None:
    if type(collation) is not dict:
        raise refused(
            spec,
            f"The field 'collation' must be an object, but got {bson_type(collation)[1]}",
            TYPE_MISMATCH,
        )
    if not collation:
        raise refused(spec, "The field 'collation' cannot be an empty object.", BAD_VALUE)


def _check_key(spec: Document, key: Any) -> None:
    if type(key) is not dict:
        raise refused(
            spec,
            f"The field 'key' must be an object, but got {bson_type(key)[1]}",
            TYPE_MISMATCH,
        )
    if not key:
        raise refused(spec, "Index keys cannot be empty.")
    for field, kind in key.items():
        if type(kind) is str:
            if kind not in _PLUGINS:
                raise refused(spec, f"Unknown index plugin '{kind}'")
        elif not is_number(kind):
            raise refused(
                spec,
                f"Values in v:2 index key pattern cannot be of type {bson_type(kind)[1]}. Only "
                "numbers > 0, numbers < 0, and strings are allowed.",
            )
        elif not as_decimal(kind):
            raise refused(spec, "Values in the index key pattern cannot be 0.")
        parts = field.split(".")
        if any(not part for part in parts):
            raise refused(spec, "Index keys cannot contain an empty field.")
        wildcard = parts[-1] == "$**" and (is_number(kind) or kind == "text")
        if any(
            part.startswith("$") and part not in ("$id", "$ref", "$db")
            for part in (parts[:-1] if wildcard else parts)
        ):
            raise refused(
                spec, "Index key contains an illegal field name: field name starts with '$'."
            )


def _id_spec(collection: Collection, spec: Document) -> Document:
    for field in spec:
        if field not in _ID_OPTIONS:
            raise CommandFailure(
                _INVALID_OPTION,
                f"The field '{field}' is not valid for an _id index specification. Specification: "
                f"{render_document({**spec, 'v': 2})}",
            )
    if as_decimal(spec["key"]["_id"]) != 1:
        raise CommandFailure(
            BAD_VALUE,
            "The field 'key' for an _id index must be {_id: 1}, but got "
            f"{render_document(spec['key'])}",
        )
    own = compile_collation(spec.get("collation"))
    if "collation" in spec and own != collection.collation:
        shown = {"locale": "simple"} if own is None else own.spec
        held = {"locale": "simple"} if collection.collation is None else collection.collation.spec
        raise CommandFailure(
            BAD_VALUE,
            "The _id index must have the same collation as the collection. Index collation: "
            f"{render_document(shown)}, collection collation: {render_document(held)}",
        )
    index = collection.indexes.get("_id_")
    return dict(index.spec) if index is not None else {"v": 2, "key": {"_id": 1}, "name": "_id_"}


def _check_reserved_names(spec: Document) -> None:
    if spec["name"] == "_id_":
        raise CommandFailure(
            BAD_VALUE,
            "The index name '_id_' is reserved for the _id index, which must have key pattern "
            f"{{_id: 1}}, found key: {render_document(spec['key'])}",
        )
    if spec["name"] == "*":
        raise CommandFailure(BAD_VALUE, "The index name '*' is not valid.")


def _check_expiry(spec: Document) -> None:
    if "expireAfterSeconds" not in spec:
        return
    seconds = spec["expireAfterSeconds"]
    shown = f"Index spec: {render_document(spec)}"
    if not is_number(seconds):
        raise CommandFailure(
            CANNOT_CREATE_INDEX,
            "TTL index 'expireAfterSeconds' option must be numeric, but received a type of "
            f"'{bson_type(seconds)[1]}'. {shown}",
        )
    if float(seconds) < 0:
        raise CommandFailure(
            CANNOT_CREATE_INDEX,
            f"TTL index 'expireAfterSeconds' option cannot be less than 0. {shown}",
        )
    if float(seconds) > _MAX_EXPIRY:
        raise CommandFailure(
            CANNOT_CREATE_INDEX,
            "TTL index 'expireAfterSeconds' option must be within an acceptable range, try a "
            f"different number than {int(seconds)}. {shown}",
        )
    if len(spec["key"]) > 1:
        raise CommandFailure(
            CANNOT_CREATE_INDEX,
            f"TTL indexes are single-field indexes, compound indexes do not support TTL. {shown}",
        )


def _check_text(spec: Document) -> None:
    language = spec.get("default_language", "english")
    if "text" in spec["key"].values() and (type(language) is not str or not is_known(language)):
        raise refused({**spec, "v": 2}, "default_language is not valid")


def _check_wildcard(spec: Document) -> None:
    """Refuse what an index of ``$**`` cannot be."""
    key: Document = spec["key"]
    kinds = [kind for field, kind in key.items() if field.split(".")[-1] == "$**"]
    if not kinds or "text" in kinds:
        return
    if len(key) > 1:
        raise refused(spec, "wildcard indexes do not allow compounding")
    if type(kinds[0]) is not str and as_decimal(kinds[0]) < 0:
        raise refused(spec, "A numeric value in a $** index key pattern must be positive.")
    if as_decimal(spec.get("v", 2)) == 1:
        raise refused(
            spec,
            f"bad index key pattern {render_document(key)}: 'wildcard' index plugin is not allowed "
            "with index version v:1",
        )
    for option in ("sparse", "unique"):
        if spec.get(option):
            raise refused(
                {**spec, "v": 2}, f"Index type 'wildcard' does not support the {option} option"
            )
    if "expireAfterSeconds" in spec:
        raise refused({**spec, "v": 2}, "Index type 'wildcard' cannot be a TTL index")


def _check_filter(spec: Document, expression: Any) -> None:
    """Refuse a ``partialFilterExpression`` that is no filter."""
    if type(expression) is dict:
        try:
            compile_filter(expression, banned=SPECIAL_FEATURES)
        except CommandFailure as failure:
            raise refused(spec, failure.message, failure.code) from failure


def _stored(collection: Collection, spec: Document) -> Document:
    """Return the specification as the server stores it: version first, defaults filled in."""
    stored: Document = {"v": int(as_decimal(spec.get("v", 2)))}
    for field, value in spec.items():
        if field in ("v", "ns"):
            continue
        if field in _FLAGS:
            if value or field in ("sparse", "background"):
                stored[field] = bool(value)
            continue
        if field == "expireAfterSeconds":
            stored[field] = _integer(value)
            continue
        if field == "collation":
            collation = compile_collation(value)
            if collation is not None:
                stored[field] = collation.spec
            continue
        stored[field] = value
    if "collation" not in spec and "collation" in collection.options:
        stored["collation"] = collection.options["collation"]
    kinds = [kind for kind in spec["key"].values() if type(kind) is str]
    if "text" in kinds:
        stored = _stored_text(stored)
    if "2dsphere" in kinds:
        stored.setdefault("2dsphereIndexVersion", 3)
    return {field: stored[field] for field in sorted(stored, key=_place)}


def _place(field: str) -> int:
    """Return where the server shows a field of a specification."""
    return _ORDER.index(field) if field in _ORDER else len(_ORDER)


def _stored_text(stored: Document) -> Document:
    key: Document = {}
    weights: Document = dict(stored.get("weights") or {})
    for field, kind in stored["key"].items():
        if kind == "text":
            if "_fts" not in key:
                key |= {"_fts": "text", "_ftsx": 1}
            weights.setdefault(field, 1)
        else:
            key[field] = kind
    stored["key"] = key
    stored["weights"] = dict(sorted(weights.items()))
    stored.setdefault("default_language", "english")
    stored.setdefault("language_override", "language")
    stored.setdefault("textIndexVersion", 3)
    return stored


def _integer(value: Any) -> Any:
    if type(value) is float:
        return int(value)
    return value if type(value) in (int, Int64) else int(value.to_decimal())


_CHECKS: Final[Mapping[str, Callable[[Document, Any], None]]] = {
    "key": _check_key,
    "name": _check_name,
    "v": _check_version,
    "collation": _check_collation,
    "partialFilterExpression": _check_filter,
}
