"""Whether a value is what a test expects: the special operators and the flexible numbers.

Spec: unified test format, "Evaluating Matches"
https://github.com/mongodb/specifications/blob/master/source/unified-test-format/unified-test-format.md
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bson import (
    Binary,
    Code,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from bson.son import SON

MISSING: Any = object()
"""The value of a key that is not there."""


class Mismatch(AssertionError):
    """The actual value is not the expected one; the message says where."""


class Lookup(Protocol):
    """The entities that a test's values may refer to."""

    def __getitem__(self, name: str) -> Any: ...

    def lsid(self, session: str) -> Mapping[str, Any]: ...


def match(expected: Any, actual: Any, entities: Lookup, *, path: str = "") -> None:
    """Compare as root-level documents are: keys that are not expected are let pass.

    The documents of a root-level array are root-level themselves.

    Raises:
        Mismatch: they differ.
    """
    if isinstance(expected, list) and isinstance(actual, Sequence):
        _same_length(expected, actual, path)
        for number, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
            _Matcher(entities).match(wanted, got, f"{path}[{number}]", root=True)
        return
    _Matcher(entities).match(expected, actual, path, root=True)


class _Matcher:
    def __init__(self, entities: Lookup) -> None:
        self._entities = entities
        self._operators: Mapping[str, Callable[[Any, Any, str, bool], None]] = {
            "$$exists": self._exists,
            "$$type": self._type,
            "$$matchesEntity": self._matches_entity,
            "$$matchesHexBytes": self._matches_hex_bytes,
            "$$unsetOrMatches": self._unset_or_matches,
            "$$sessionLsid": self._session_lsid,
            "$$lte": self._lte,
            "$$matchAsDocument": self._match_as_document,
            "$$matchAsRoot": self._match_as_root,
        }

    def match(self, expected: Any, actual: Any, path: str, root: bool = False) -> None:
        if isinstance(expected, Mapping) and len(expected) == 1:
            ((name, operand),) = expected.items()
            if name.startswith("$$"):
                self._operators[name](operand, actual, path, root)
                return
        if actual is MISSING:
            raise Mismatch(f"{path}: expected {expected!r}, but it is not there")
        if isinstance(expected, Mapping):
            self._match_documents(expected, actual, path, root)
        elif isinstance(expected, list):
            if not isinstance(actual, Sequence) or isinstance(actual, str | bytes):
                raise Mismatch(f"{path}: expected an array, got {actual!r}")
            _same_length(expected, actual, path)
            for number, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
                self.match(wanted, got, f"{path}[{number}]")
        elif not _equal(expected, _without_eq(actual)):
            raise Mismatch(f"{path}: expected {expected!r}, got {actual!r}")

    def _match_documents(
        self, expected: Mapping[str, Any], actual: Any, path: str, root: bool
    ) -> None:
        if not isinstance(actual, Mapping):
            raise Mismatch(f"{path}: expected a document, got {actual!r}")
        for key, value in expected.items():
            self.match(value, actual.get(key, MISSING), f"{path}.{key}")
        extra = [key for key in actual if key not in expected]
        if extra and not root:
            raise Mismatch(f"{path}: unexpected {extra} in {actual!r}")

    def _exists(self, operand: bool, actual: Any, path: str, root: bool) -> None:
        if operand is (actual is MISSING):
            raise Mismatch(f"{path}: expected it {'' if operand else 'not '}to exist: {actual!r}")

    def _type(self, operand: str | list[str], actual: Any, path: str, root: bool) -> None:
        names = [operand] if isinstance(operand, str) else operand
        if not any(_TYPES[name](actual) for name in names):
            raise Mismatch(f"{path}: expected the type {operand}, got {actual!r}")

    def _matches_entity(self, operand: str, actual: Any, path: str, root: bool) -> None:
        self.match(self._entities[operand], actual, path, root)

    def _matches_hex_bytes(self, operand: str, actual: Any, path: str, root: bool) -> None:
        if actual != bytes.fromhex(operand):
            raise Mismatch(f"{path}: expected the bytes {operand}, got {actual!r}")

    def _unset_or_matches(self, operand: Any, actual: Any, path: str, root: bool) -> None:
        if actual is not MISSING and actual is not None:
            self.match(operand, actual, path, root)

    def _session_lsid(self, operand: str, actual: Any, path: str, root: bool) -> None:
        self.match(dict(self._entities.lsid(operand)), actual, path)

    def _lte(self, operand: Any, actual: Any, path: str, root: bool) -> None:
        if not _is_number(actual) or actual > operand:
            raise Mismatch(f"{path}: expected at most {operand!r}, got {actual!r}")

    def _match_as_document(self, operand: Any, actual: Any, path: str, root: bool) -> None:
        if not isinstance(actual, str):
            raise Mismatch(f"{path}: expected extended JSON, got {actual!r}")
        self.match(operand, json_util.loads(actual), path, root)

    def _match_as_root(self, operand: Any, actual: Any, path: str, root: bool) -> None:
        self.match(operand, actual, path, root=True)


def _same_length(expected: Sequence[Any], actual: Sequence[Any], path: str) -> None:
    if len(expected) != len(actual):
        raise Mismatch(f"{path}: expected {len(expected)} elements, got {len(actual)}: {actual!r}")


def _without_eq(actual: Any) -> Any:
    """``{"$eq": x}`` as ``x``: the same query, and how the driver's GridFS writes it since 4.17."""
    if isinstance(actual, Mapping) and list(actual) == ["$eq"]:
        return actual["$eq"]
    return actual


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(expected: Any, actual: Any) -> bool:
    if _is_number(expected) and _is_number(actual):
        return bool(expected == actual)  # int, long and double of one value are the same here
    if isinstance(expected, bytes) and isinstance(actual, bytes):
        return bytes(expected) == bytes(actual) and _subtype(expected) == _subtype(actual)
    return type(expected) is type(actual) and bool(expected == actual)


def _subtype(value: bytes) -> int:
    return value.subtype if isinstance(value, Binary) else 0


def _of(*types: type) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
    )


def _is_int32(value: Any) -> bool:
    return _of(int)(value) and not isinstance(value, Int64) and -(2**31) <= value < 2**31


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "double": _of(float),
    "string": _of(str),
    "object": _of(dict, SON),
    "array": _of(list),
    "binData": _of(bytes),
    "objectId": _of(ObjectId),
    "bool": _of(bool),
    "date": _of(datetime.datetime),
    "null": lambda value: value is None,
    "regex": _of(Regex),
    "javascript": _of(Code),
    "int": _is_int32,
    # The driver decodes a long as an int where the document does not need Int64's type.
    "long": _of(int),
    "timestamp": _of(Timestamp),
    "decimal": _of(Decimal128),
    "minKey": _of(MinKey),
    "maxKey": _of(MaxKey),
    "number": _of(int, float, Decimal128),
}
