"""The query language: a filter document, compiled once, asked of many documents.

`TOP_LEVEL` and `matcher_operators.FIELD_OPERATORS` are the tables of operators.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bson import DatetimeMS, Regex

from transports.fake.collation import Collation
from transports.fake.errors import (
    BAD_VALUE,
    FAILED_TO_PARSE,
    QUERY_FEATURE_NOT_ALLOWED,
    CommandFailure,
    unsupported,
)
from transports.fake.expressions import compile_expression
from transports.fake.expressions.scope import folding
from transports.fake.geo.operators import NEAR, Near, read_near
from transports.fake.matcher_node import (
    Group,
    Node,
    Variables,
    conjunction,
    disjunction,
    negation,
    predicate,
)
from transports.fake.matcher_operators import (
    Context,
    bad_value,
    compile_condition,
    is_operators,
    truthy,
    whole_number,
)
from transports.fake.matcher_schema import compile_schema
from transports.fake.paths import array_index, split
from transports.fake.text.query import read_text
from transports.fake.text.search import TextSearch
from transports.fake.values import Document, hash_key, is_number

NOT_SINGLE_VALUE_FIELD: Final = 54


@dataclass(frozen=True, slots=True)
class Match:
    """How a document matched.

    Attributes:
        array_index: the element of the outermost array that matched: what the positional ``$``
            stands for in an update; None if the filter matched through no array.
        written_index: the same for find's positional projection, which takes the parts of the
            filter in the order they are written, not as the server sorts them.
    """

    array_index: int | None = None
    written_index: int | None = None


_NO_INDEX: Final = Match()


class Matcher:
    """A compiled filter.

    Attributes:
        query: the filter as it was given.
        predicate: ``(document, variables) -> bool``, for variables that differ between runs.
        near: its ``$near``, which an index has to answer and which orders the documents.
        text: its ``$text``, which has to be run before any document is asked.
    """

    def __init__(
        self,
        query: Mapping[str, Any],
        node: Node,
        variables: Variables,
        binary: bool,
        near: Near | None = None,
        text: TextSearch | None = None,
    ) -> None:
        self.query = query
        self.near = near
        self.text = text
        self.predicate = node.test
        self._locate = node.locate
        self._variables = variables
        self._binary = binary

    def __call__(self, document: Document) -> bool:
        """Tell whether the document matches."""
        return self.predicate(document, self._variables)

    def match(self, document: Document) -> Match | None:
        """Return how the document matches; None if it does not."""
        index = self._locate(document, self._variables, False)
        if index is None:
            return None
        if index < 0:
            return _NO_INDEX
        return Match(index, self._locate(document, self._variables, True))

    def equalities(self, *, only_id: bool = False) -> dict[str, Any]:
        """Return path → value of the equalities that seed an upserted document.

        Args:
            only_id: the document will be a replacement, which only takes its ``_id`` from here.

        Raises:
            CommandFailure: 54 if two of them speak of the same path or of a path inside another.
        """
        found: dict[str, Any] = {}
        if never_matches(self.query):
            return found
        # The server sorts a filter's parts, and so the fields of what it inserts.
        for path, value in sorted(_equalities(self.query), key=lambda pair: pair[0]):
            if only_id and split(path)[0] != "_id":
                continue
            for other in found:
                if path == other or path.startswith(other + "."):
                    raise CommandFailure(
                        NOT_SINGLE_VALUE_FIELD,
                        f"cannot infer query fields to set, path '{other}' is matched twice",
                    )
                if other.startswith(path + "."):
                    raise CommandFailure(
                        NOT_SINGLE_VALUE_FIELD,
                        "cannot infer query fields to set, both paths "
                        f"'{path}' and '{other}' are matched",
                    )
            found[path] = value
        return found

    def index_bounds(self) -> dict[str, list[Any]]:
        """Return path → candidate values: every matching document has one of them there.

        "There" includes, as in an index, any element of an array on the path. A path is only
        listed if an index lookup (by `hash_key`, null standing for missing) loses nothing: no
        arrays, documents only as a whole, no regular expressions, no numbers in the path. Under
        a collation nothing but numbers, dates, ids and the like is listed.
        """
        found: dict[str, list[Any]] = {}
        for path, values in _candidates(self.query):
            if any(array_index(part) >= 0 for part in split(path)):
                continue
            if not self._binary and any(type(v) in (str, dict) for v in values):
                continue
            if path not in found or len(values) < len(found[path]):
                found[path] = values
        return found


def is_id_query(query: Mapping[str, Any]) -> bool:
    """Tell whether a filter asks for one ``_id`` and nothing else, which the server looks up."""
    if list(query) != ["_id"]:
        return False
    key = query["_id"]
    if type(key) is dict:
        return not next(iter(key), "").startswith("$")
    return key is not None and type(key) not in (list, Regex)


def never_matches(query: Mapping[str, Any]) -> bool:
    """Tell whether the server sees that nothing can match, and forgets the equalities."""
    return any(
        any(never_matches(member) for member in value)
        if name == "$and"
        else all(never_matches(member) for member in value)
        if name == "$or"
        else is_operators(value) and value.get("$all") == []
        for name, value in query.items()
    )


def _equalities(query: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in query.items():
        if name == "$and" or (name == "$or" and len(value) == 1):
            for member in value:
                yield from _equalities(member)
        elif name.startswith("$"):
            continue
        elif not is_operators(value):
            if type(value) is not Regex:
                yield name, value
        else:
            yield from ((name, constant) for constant in _operator_equalities(value))


def _operator_equalities(operators: Mapping[str, Any]) -> Iterable[Any]:
    if "$eq" in operators:
        yield operators["$eq"]
    one_of = operators.get("$in", ())
    if len({hash_key(value) for value in one_of}) == 1 and type(one_of[0]) is not Regex:
        yield one_of[0]
    for constant in operators.get("$all", ()):
        if type(constant) is not Regex and not is_operators(constant):
            yield constant


def _candidates(query: Mapping[str, Any]) -> Iterable[tuple[str, list[Any]]]:
    for name, value in query.items():
        if name == "$and":
            for member in value:
                yield from _candidates(member)
            continue
        if name.startswith("$"):
            continue
        operators = value if is_operators(value) else {"$eq": value}
        for operator, operand in operators.items():
            values = _operator_candidates(operator, operand)
            if values is not None and not any(type(v) in (list, Regex) for v in values):
                yield name, values


def _operator_candidates(operator: str, operand: Any) -> list[Any] | None:
    if operator == "$eq":
        return [operand]
    if operator == "$in":
        return list(operand)
    if operator == "$all" and operand and not is_operators(operand[0]):
        return [operand[0]]
    return None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a filter is compiled with.

    Attributes:
        collation: how strings compare.
        names: variables that ``$expr`` may use.
        nested: inside ``$elemMatch``, where ``$expr`` and ``$text`` are refused.
        banned: operators that the place of the filter does not allow.
        alternative: inside ``$or`` or ``$nor``, where ``$near`` is refused.
        near: every ``$near`` met.
        text: every ``$text`` met.
        context: the same for the operators of fields.
    """

    collation: Collation | None
    names: frozenset[str] = frozenset()
    nested: bool = False
    banned: frozenset[str] = frozenset()
    alternative: bool = False
    near: list[Near] = field(default_factory=list)
    text: list[TextSearch] = field(default_factory=list)
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", Context(self.collation, self._element_test))

    def _element_test(self, query: Mapping[str, Any]) -> Callable[[Any], bool]:
        inner = Scope(self.collation, self.names, nested=True, banned=self.banned)
        test = compile_node(query, inner).test
        return lambda value: test(value, {})


def _members(name: str, operand: Any, scope: Scope) -> list[Node]:
    if type(operand) is not list:
        raise bad_value(f"{name} must be an array")
    if not operand:
        raise bad_value(f"{name} must be a nonempty array")
    for member in operand:
        if type(member) is not dict:
            raise bad_value("$or/$and/$nor entries need to be full objects")
    return [compile_node(member, scope) for member in operand]


def and_(operand: Any, scope: Scope) -> Node:
    """``$and``: https://www.mongodb.com/docs/manual/reference/operator/query/and/."""
    return conjunction(_members("$and", operand, scope))


def or_(operand: Any, scope: Scope) -> Node:
    """``$or``: https://www.mongodb.com/docs/manual/reference/operator/query/or/."""
    return disjunction(_members("$or", operand, replace(scope, alternative=True)))


def nor(operand: Any, scope: Scope) -> Node:
    """``$nor``: https://www.mongodb.com/docs/manual/reference/operator/query/nor/."""
    inner = replace(scope, alternative=True, text=[])
    members = _members("$nor", operand, inner)
    if inner.text:
        raise bad_value("text expression not allowed in nor")
    return negation([disjunction(members)])


def expr(operand: Any, scope: Scope) -> Node:
    """``$expr``: https://www.mongodb.com/docs/manual/reference/operator/query/expr/."""
    if scope.nested:
        raise bad_value("$expr can only be applied to the top-level document")
    expression = compile_expression(operand, variables=scope.names, collation=scope.collation)
    return predicate(lambda document, variables: truthy(expression(document, variables)))


def json_schema(operand: Any, scope: Scope) -> Node:
    """``$jsonSchema``: https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/."""
    test = compile_schema(operand)
    return predicate(lambda document, variables: test(document))


def text(operand: Any, scope: Scope) -> Node:
    """``$text``: https://www.mongodb.com/docs/manual/reference/operator/query/text/."""
    if scope.nested:
        raise bad_value("$text can only be applied to the top-level document")
    search = TextSearch(read_text(operand))
    if scope.text:
        raise bad_value("Too many text expressions")
    scope.text.append(search)
    return predicate(lambda document, variables: search.finds(document))


def sample_rate(operand: Any, scope: Scope) -> Node:
    """``$sampleRate``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sampleRate/."""
    if not is_number(operand):
        raise bad_value("argument to $sampleRate must be a numeric type")
    rate = float(str(operand))
    if not 0 <= rate <= 1:
        raise bad_value("numeric argument to $sampleRate must be in [0, 1]")
    return predicate(lambda document, variables: random.random() < rate)  # noqa: S311 - a sample


def _comment(operand: Any, scope: Scope) -> Node:
    return predicate(lambda document, variables: True)


def _always(name: str, result: bool) -> Callable[[Any, Scope], Node]:
    def always(operand: Any, scope: Scope) -> Node:
        if whole_number(operand, name) != 1:
            raise CommandFailure(FAILED_TO_PARSE, f"{name} must be an integer value of 1")
        return predicate(lambda document, variables: result)

    return always


def _refused(name: str) -> Callable[[Any, Scope], Node]:
    def refuse(operand: Any, scope: Scope) -> Node:
        raise unsupported(f"the query operator {name}")

    return refuse


_TOP_ONLY: Final = ("$expr", "$where")
_FEATURES: Final = ("$expr", "$jsonSchema")
SPECIAL_FEATURES: Final = frozenset({"$expr", "$jsonSchema", "$text", "$where"})
"""What an update's filters of arrays do not allow."""

UNSUPPORTED: Final = ("$where",)

TOP_LEVEL: Final[dict[str, Callable[[Any, Scope], Node]]] = {
    "$and": and_,
    "$or": or_,
    "$nor": nor,
    "$expr": expr,
    "$jsonSchema": json_schema,
    "$sampleRate": sample_rate,
    "$text": text,
    "$comment": _comment,
    "$alwaysTrue": _always("$alwaysTrue", True),
    "$alwaysFalse": _always("$alwaysFalse", False),
    **{name: _refused(name) for name in UNSUPPORTED},
}


# In which order the server, which sorts a filter's parts, asks them.
_ORDER: Final = {
    name: place
    for place, name in enumerate(
        [
            "$and",
            "$or",
            "$elemMatch",
            "$size",
            "$eq",
            "$lte",
            "$lt",
            "$gt",
            "$gte",
            "$regex",
            "$mod",
            "$exists",
            "$in",
            "$bitsAllSet",
            "$bitsAllClear",
            "$bitsAnySet",
            "$bitsAnyClear",
            "$not",
            "$ne",
            "$nin",
            "$nor",
            "$type",
        ]
    )
}


def compile_node(query: Mapping[str, Any], scope: Scope) -> Node:
    """Compile a filter document into a predicate of documents and variables."""
    nodes: list[Node] = []
    ranks: list[tuple[int, str]] = []
    for name, value in query.items():
        operator = TOP_LEVEL.get(name)
        if operator is not None:
            if name in scope.banned and not (scope.nested and name in _TOP_ONLY):
                raise CommandFailure(
                    QUERY_FEATURE_NOT_ALLOWED if name in _FEATURES else BAD_VALUE,
                    f"{name} is not allowed in this context",
                )
            nodes.append(operator(value, scope))
            ranks.append((_ORDER.get(name, len(_ORDER)), ""))
        elif name.startswith("$") and name not in ("$ref", "$id", "$db"):
            raise bad_value(
                f"unknown top level operator: {name}. If you have a field name that starts "
                "with a '$' symbol, consider using $getField or $setField."
            )
        else:
            for operator_name, node in _field(name, value, scope):
                nodes.append(node)
                ranks.append((_ORDER.get(operator_name, len(_ORDER)), name))
    return conjunction(nodes, ranks)


def _field(name: str, value: Any, scope: Scope) -> list[tuple[str, Node]]:
    path = split(name)
    if is_operators(value) and not value.keys().isdisjoint(NEAR):
        return [("$near", _near(name, value, scope))]
    conditions = compile_condition(value, scope.context)
    operators = value if is_operators(value) else {"$eq": value}
    names = [_sorted_as(operator, operators) for operator in operators if operator != "$options"]
    return [
        (operator, Group([condition]).on(path))
        for operator, condition in zip(names, conditions, strict=True)
    ]


def _near(name: str, operators: Mapping[str, Any], scope: Scope) -> Node:
    """``$near``: https://www.mongodb.com/docs/manual/reference/operator/query/near/."""
    near = read_near(name, next(key for key in operators if key in NEAR), operators)
    if scope.alternative or scope.nested:
        raise bad_value("geo $near must be top-level expr")
    if scope.near:
        raise bad_value("Too many geoNear expressions")
    scope.near.append(near)
    return predicate(lambda document, variables: near.distance(document) is not None)


def _sorted_as(operator: str, operators: Mapping[str, Any]) -> str:
    """Return the operator that the server makes of it before it sorts."""
    return "$eq" if operator == "$in" and len(operators["$in"]) == 1 else operator


def compile_filter(
    query: Mapping[str, Any],
    *,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
    names: Iterable[str] = (),
    banned: frozenset[str] = frozenset(),
) -> Matcher:
    """Compile a filter document.

    Args:
        query: the filter, e.g. ``{"a.b": {"$gt": 1}}``.
        collation: how strings compare.
        let: variables (already evaluated) that ``$expr`` sees as ``$$name``.
        now: what ``$$NOW`` is.
        names: variables whose values are only known when `Matcher.predicate` is called.
        banned: operators that are not allowed here, e.g. `SPECIAL_FEATURES`.

    Raises:
        CommandFailure: as a server refuses the filter (2 BadValue, …).
    """
    variables = dict(let or {})
    scope = Scope(collation, frozenset(variables).union(names), banned=banned)
    if now is not None:
        variables["NOW"] = now
    with folding():
        node = compile_node(query, scope)
    near = scope.near[0] if scope.near else None
    search = scope.text[0] if scope.text else None
    return Matcher(query, node, variables, collation is None, near, search)
