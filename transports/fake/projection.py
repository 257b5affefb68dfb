"""Projection of find and findAndModify: inclusion, exclusion, array operators, expressions.

Spec: https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#projection
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bson import DatetimeMS

from transports.fake.collation import Collation
from transports.fake.errors import CommandFailure, unsupported
from transports.fake.expressions import Variables, compile_expression
from transports.fake.expressions.names import check_path
from transports.fake.matcher import Match, compile_filter
from transports.fake.paths import Parts
from transports.fake.stages.fields import (
    Level,
    Projection,
    check_operator,
    decide_kind,
    flag,
    is_flag,
    is_nested,
)
from transports.fake.values import MISSING, NUMBER_TYPES, Document, is_nan

_META = frozenset(
    {
        "textScore",
        "recordId",
        "indexKey",
        "geoNearDistance",
        "geoNearPoint",
        "sortKey",
        "searchScore",
    }
)
Change = Callable[[Any, Match | None], Any]
Leaves = list[tuple[Parts, Any]]


def _leaves(spec: Mapping[str, Any], prefix: Parts = ()) -> Leaves:
    found: Leaves = []
    for name, value in spec.items():
        if name.startswith("$"):
            raise CommandFailure(
                16410,
                "FieldPath field names may not start with '$'. Consider using $getField or "
                f"$setField. {name}",
            )
        bare = name.removesuffix(".$")
        if ".$." in bare:
            raise CommandFailure(
                31394,
                "As of 4.4, it's illegal to specify positional operator in the middle of a path.",
            )
        parts = (*prefix, *check_path(bare))
        if bare != name:
            parts = (*parts, "$")
        if is_nested(value):
            if not value:
                raise CommandFailure(
                    51270,
                    "An empty sub-projection is not a valid value. Found empty object at path "
                    f"{'.'.join(parts)}",
                )
            found += _leaves(value, parts)
        else:
            found.append((parts, value))
    return found


def _is_slice(value: Any) -> bool:
    if type(value) is not dict or list(value) != ["$slice"]:
        return False
    operand = value["$slice"]
    if type(operand) is list:
        return len(operand) == 2 and all(type(n) in NUMBER_TYPES for n in operand)
    return type(operand) in NUMBER_TYPES


def _is_elem_match(value: Any) -> bool:
    return type(value) is dict and list(value) == ["$elemMatch"]


def compile_projection(
    spec: Mapping[str, Any],
    *,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
) -> Callable[[Document, Match | None], Document]:
    """Compile a projection; the function never changes the document it is given.

    The second argument is how the document matched the filter (`Matcher.match`); only the
    positional ``"a.$": 1`` needs it.
    """
    if not spec:
        return lambda document, match: document
    variables: Variables = dict(let or {})
    names = frozenset(variables)
    if now is not None:
        variables["NOW"] = now
    builder = _Builder(spec, names, collation)
    projection, changes = builder.build()

    def project(document: Document, match: Match | None) -> Document:
        result = projection(document, variables)
        for parts, change in changes:
            result = _changed(result, parts, change, match)
        return result

    return project


class _Builder:
    """Sorts the leaves of one specification into what the tree does and what comes after."""

    def __init__(
        self, spec: Mapping[str, Any], names: frozenset[str], collation: Collation | None
    ) -> None:
        self.leaves = _leaves(spec)
        self.names = names
        self.collation = collation
        self.level = Level()
        self.changes: list[tuple[Parts, Change]] = []

    def build(self) -> tuple[Projection, list[tuple[Parts, Change]]]:
        """Return the tree, and the changes to arrays of its result."""
        deciding: Leaves = []
        for parts, value in self.leaves:
            if not _is_slice(value) and not _is_elem_match(value):
                deciding.append((parts, value))
        slices = any(_is_slice(value) for _, value in self.leaves)
        if all(parts == ("_id",) and is_flag(value) for parts, value in deciding):
            # Only array operators: $slice keeps the other fields, $elemMatch alone does not.
            including = bool(deciding) if len(deciding) == len(self.leaves) else not slices
            if len(deciding) == len(self.leaves):
                including = decide_kind(deciding)
        else:
            including = decide_kind(deciding)
        keep_id = True
        for parts, value in self.leaves:
            if parts == ("_id",) and is_flag(value):
                keep_id = flag(value)
            else:
                self._add(parts, value, including)
        if "_id" in self.level.children:
            if any(parts == ("_id",) for parts, _ in self.leaves):
                raise CommandFailure(31249, "Path collision at _id")
            keep_id = not including
        if keep_id == including and "_id" not in self.level.computed:
            self.level.named.add("_id")
        return Projection(self.level, including), self.changes

    def _add(self, parts: Parts, value: Any, including: bool) -> None:
        if parts[-1] == "$":
            self._positional(parts[:-1], including)
        elif _is_slice(value):
            if including:
                self.level.put(parts, None)
            self.changes.append((parts, _slicer(value["$slice"])))
        elif _is_elem_match(value):
            self._elem_match(parts, value["$elemMatch"], including)
        elif is_flag(value):
            self.level.put(parts, None)
        elif type(value) is dict and "$meta" in value:
            if value["$meta"] not in _META:
                raise CommandFailure(17308, f"Unsupported argument to $meta: {value['$meta']}")
            raise unsupported(f"the projection {{$meta: {value['$meta']!r}}}")
        elif not including:
            raise CommandFailure(
                31310, f"Cannot use an expression {'.'.join(parts)} in an exclusion projection"
            )
        else:
            check_operator(value)
            expression = compile_expression(value, variables=self.names, collation=self.collation)
            self.level.put(parts, expression)

    def _positional(self, parts: Parts, including: bool) -> None:
        if not including:
            raise CommandFailure(31395, "positional projection cannot be used with exclusion")
        if any(path[-1:] == ("$",) for path, _ in self.leaves if path[:-1] != parts):
            raise CommandFailure(
                31276, "Cannot specify more than one positional projection per query."
            )
        self.level.put(parts, None)
        self.changes.append((parts, _matched_element))

    def _elem_match(self, parts: Parts, operand: Any, including: bool) -> None:
        if type(operand) is not dict:
            raise CommandFailure(
                31274, "elemMatch: Invalid argument, object required, but got another type"
            )
        if len(parts) > 1:
            raise CommandFailure(31275, "Cannot use $elemMatch projection on a nested field.")
        matcher = compile_filter({"a": {"$elemMatch": operand}}, collation=self.collation)
        name = parts[0]

        def first(document: Document, variables: Variables) -> Any:
            value = document.get(name, MISSING)
            if type(value) is not list:
                return MISSING
            match = matcher.match({"a": value})
            if match is None or match.array_index is None:
                return MISSING
            return [value[match.array_index]]

        if including:
            self.level.put(parts, first)
        else:
            self.changes.append((parts, lambda value, match: first({name: value}, {})))


def _int(value: Any) -> int:
    return 0 if is_nan(value) else int(float(str(value)))


def _slicer(operand: Any) -> Change:
    if type(operand) is list:
        skip, count = (_int(n) for n in operand)
        if count <= 0:
            raise CommandFailure(
                28724, "First argument to $slice must be an array, but is of type: int"
            )
    else:
        skip, count = 0, _int(operand)

    def cut(value: Any, match: Match | None) -> Any:
        if type(value) is not list:
            return value
        if type(operand) is not list:
            return value[:count] if count >= 0 else value[count:]
        start = max(len(value) + skip, 0) if skip < 0 else skip
        return value[start : start + count]

    return cut


def _matched_element(value: Any, match: Match | None) -> Any:
    if type(value) is not list:
        return value
    if match is None or match.written_index is None:
        raise CommandFailure(
            51246,
            "Executor error during find command :: caused by :: positional operator '.$' couldn't "
            "find a matching element in the array",
        )
    if match.written_index >= len(value):
        raise CommandFailure(
            51247,
            "Executor error during find command :: caused by :: positional operator '.$' "
            "element mismatch",
        )
    return [value[match.written_index]]


def _changed(document: Document, parts: Parts, change: Change, match: Match | None) -> Document:
    """Return the document with one path changed; arrays on the way are walked through."""
    name = parts[0]
    if name not in document:
        return document
    value = document[name]
    if len(parts) == 1 or (change is _matched_element and type(value) is list):
        # The positional operator means the first array on the path.
        new = change(value, match)
    else:
        new = _changed_inside(value, parts[1:], change, match)
    if new is MISSING:
        return {other: kept for other, kept in document.items() if other != name}
    return document if new is value else {**document, name: new}


def _changed_inside(value: Any, parts: Parts, change: Change, match: Match | None) -> Any:
    if type(value) is dict:
        return _changed(value, parts, change, match)
    if type(value) is list:
        return [_changed_inside(element, parts, change, match) for element in value]
    return value
