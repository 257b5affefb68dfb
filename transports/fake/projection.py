"""Projection of find and findAndModify: inclusion, exclusion, array operators, expressions.

Spec: https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#projection
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bson import DatetimeMS

from transports.fake import metadata
from transports.fake.collation import Collation
from transports.fake.errors import CommandFailure, unsupported
from transports.fake.expressions import Expression, Variables, compile_expression
from transports.fake.expressions.names import check_path
from transports.fake.expressions.scope import folding
from transports.fake.matcher import SPECIAL_FEATURES, Match, compile_filter
from transports.fake.paths import Parts
from transports.fake.stages.fields import Parser, Projection, flag, is_flag, leaves
from transports.fake.values import MISSING, NUMBER_TYPES, Document, is_nan

Change = Callable[[Any, Match | None], Any]


def _is_slice(value: Any) -> bool:
    if type(value) is not dict or list(value) != ["$slice"]:
        return False
    operand = value["$slice"]
    if type(operand) is list:
        numbers = len(operand) == 2 and all(type(n) in NUMBER_TYPES for n in operand)
        return numbers and _int(operand[1]) > 0
    return type(operand) in NUMBER_TYPES


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
    parser = _Parser(names, collation)
    with folding():
        projection = parser.parse(spec)
    changes = parser.changes

    def project(document: Document, match: Match | None) -> Document:
        result = projection(document, variables)
        for parts, change in changes:
            result = _changed(result, parts, change, match)
        for parts, kind in parser.metadata:
            result = metadata.shown(result, parts, metadata.value(document, kind))
        return result

    return project


class _Parser(Parser):
    """A projection of find: what a stage takes, and the array operators.

    Attributes:
        changes: what is done to the tree's result, path by path.
        metadata: which metadata goes where.
    """

    def __init__(self, names: frozenset[str], collation: Collation | None) -> None:
        def compile_value(value: Any) -> Expression:
            return compile_expression(value, variables=names, collation=collation)

        super().__init__(compile_value)
        self.collation = collation
        self.changes: list[tuple[Parts, Change]] = []
        self.metadata: list[tuple[Parts, str]] = []
        self._slices: list[tuple[int, Parts]] = []
        self._matches: list[tuple[int, Parts, Expression]] = []
        self._positional = False

    def parse(self, spec: Mapping[str, Any]) -> Projection:
        """Return the tree; `changes` then has what follows it."""
        for parts, value in leaves(spec, parts_of=self.parts_of, enter=self.enter):
            self.add(parts, value)
        if self.including is None:
            self.including = self.default_kind()
        late: list[tuple[int, Parts, Expression | None]] = list(self._matches)
        late += [(place, parts, None) for place, parts in self._slices]
        for place, parts, expression in sorted(late, key=lambda entry: -entry[0]):
            if self.including:
                self.entries.insert(place, (parts, expression))
            elif expression is not None:
                self.changes.append((parts, _on_field(parts[0], expression)))
        return self.finished(self.including)

    def default_kind(self) -> bool:
        """Tell whether ``_id`` and array operators alone include; ``$slice`` keeps the rest."""
        return self.id_flag is True or bool(self._matches and not self._slices)

    def parts_of(self, name: str) -> Parts:
        """Take a name apart; the last part may be the positional ``$``."""
        bare = name.removesuffix(".$")
        if ".$." in bare:
            raise CommandFailure(
                31394,
                "As of 4.4, it's illegal to specify positional operator in the middle of a path.",
            )
        return check_path(bare) if bare == name else (*check_path(bare), "$")

    def add(self, parts: Parts, value: Any) -> None:
        """Take the next field."""
        if parts[-1] == "$":
            self._add_positional(parts[:-1], value)
        else:
            super().add(parts, value)

    def operator(self, parts: Parts, value: Document) -> None:
        """Take a field with an operator: of arrays, or of expressions."""
        if _is_slice(value) and self._add_slice(parts, value["$slice"]):
            return
        if list(value) == ["$elemMatch"]:
            self._elem_match(parts, value["$elemMatch"])
        elif "$meta" in value:
            if value["$meta"] not in metadata.KINDS:
                raise CommandFailure(17308, f"Unsupported argument to $meta: {value['$meta']}")
            if value["$meta"] == "sortKey":
                raise unsupported("the projection {$meta: 'sortKey'}")
            self.claim(parts)
            self.metadata.append((parts, value["$meta"]))
        else:
            super().operator(parts, value)

    def _add_slice(self, parts: Parts, operand: Any) -> bool:
        try:
            self.claim(parts)
        except CommandFailure:
            return False  # then it is an expression's $slice to the server
        self._slices.append((len(self.entries), parts))
        self.changes.append((parts, _slicer(operand)))
        return True

    def _add_positional(self, parts: Parts, value: Any) -> None:
        if not is_flag(value):
            raise CommandFailure(16410, "FieldPath field names may not start with '$'.")
        if self._positional:
            raise CommandFailure(
                31276, "Cannot specify more than one positional projection per query."
            )
        if self._matches:
            raise CommandFailure(31256, "Cannot specify positional operator and $elemMatch.")
        self.claim(parts)
        if not flag(value):
            raise CommandFailure(31395, "positional projection cannot be used with exclusion")
        self.decide(parts, including=True)
        self._positional = True
        self.entries.append((parts, None))
        self.changes.append((parts, _matched_element))

    def _elem_match(self, parts: Parts, operand: Any) -> None:
        if type(operand) is not dict:
            raise CommandFailure(
                31274, "elemMatch: Invalid argument, object required, but got another type"
            )
        if self._positional:
            raise CommandFailure(31255, "Cannot specify positional operator and $elemMatch.")
        if len(parts) > 1:
            raise CommandFailure(31275, "Cannot use $elemMatch projection on a nested field.")
        matcher = compile_filter(
            {"a": {"$elemMatch": operand}}, collation=self.collation, banned=SPECIAL_FEATURES
        )
        name = parts[0]

        def first(document: Document, variables: Variables) -> Any:
            value = document.get(name, MISSING)
            if type(value) is not list:
                return MISSING
            match = matcher.match({"a": value})
            if match is None or match.array_index is None:
                return MISSING
            return [value[match.array_index]]

        self.claim(parts)
        self._matches.append((len(self.entries), parts, first))


def _on_field(name: str, expression: Expression) -> Change:
    return lambda value, match: expression({name: value}, {})


def _int(value: Any) -> int:
    return 0 if is_nan(value) else int(float(str(value)))


def _slicer(operand: Any) -> Change:
    if type(operand) is list:
        skip, count = (_int(n) for n in operand)
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
