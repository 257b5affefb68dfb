"""A filter as ``explain`` shows it: its conditions in the server's normal form and order.

Only conditions whose form is known are shown; every other is refused.

Spec: https://www.mongodb.com/docs/manual/reference/explain-results/#mongodb-data-explain.queryPlanner.parsedQuery
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from transports.fake.errors import unsupported
from transports.fake.values import Document, equal, sort_key

# The server sorts conditions by these, then by path.
_ORDER: Final = ("$eq", "$lte", "$lt", "$gt", "$gte", "$regex", "$exists", "$in", "$not")
_PLAIN: Final = frozenset({"$eq", "$lte", "$lt", "$gt", "$gte"})


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition on one path.

    Attributes:
        path: dotted.
        operator: ``$eq``, ``$lt``, ``$in``, …
        operand: its operand; for ``$in`` sorted, each value once.
        negated: it stands in a ``$not``.
    """

    path: str
    operator: str
    operand: Any
    negated: bool = False

    def shown(self) -> Document:
        """Return the condition as the server prints it."""
        condition = {self.operator: self.operand}
        return {self.path: {"$not": condition} if self.negated else condition}

    @property
    def rank(self) -> tuple[int, str]:
        """What conditions are sorted by."""
        return (_ORDER.index("$not" if self.negated else self.operator), self.path)


def predicates_of(query: Document) -> list[Predicate]:
    """Return the conditions of a filter, in the server's order.

    Raises:
        CommandFailure: 238 for an operator whose form is not known.
    """
    found: list[Predicate] = []
    for name, condition in query.items():
        if name == "$and" and type(condition) is list:
            for part in condition:
                found += predicates_of(part)
        elif name == "$comment":
            continue
        elif name.startswith("$"):
            raise unsupported(f"explain of a filter with {name}")
        else:
            found += _on(name, condition)
    return sorted(found, key=lambda predicate: predicate.rank)


def parsed_query(predicates: list[Predicate]) -> Document:
    """Return conditions as one filter document."""
    if len(predicates) == 1:
        return predicates[0].shown()
    return {"$and": [predicate.shown() for predicate in predicates]} if predicates else {}


def _on(path: str, condition: Any) -> list[Predicate]:
    if type(condition) is not dict or not next(iter(condition), "").startswith("$"):
        return [_normal(path, "$eq", condition, False)]
    return [_normal(path, name, operand, False) for name, operand in condition.items()]


def _normal(path: str, name: str, operand: Any, negated: bool) -> Predicate:
    if name in _PLAIN:
        return Predicate(path, name, operand, negated)
    if name == "$ne":
        return _normal(path, "$eq", operand, not negated)
    if name == "$nin":
        return _normal(path, "$in", operand, not negated)
    if name == "$exists":
        exists = bool(operand)
        return Predicate(path, "$exists", True, negated == exists)
    if name == "$not" and type(operand) is dict and len(operand) == 1:
        inner, value = next(iter(operand.items()))
        return _normal(path, inner, value, not negated)
    if name == "$regex" and type(operand) is str:
        return Predicate(path, "$regex", operand, negated)
    if name == "$in" and operand and all(type(value) not in (dict, list) for value in operand):
        return _in(path, operand, negated)
    raise unsupported(f"explain of a filter with {name}")


def _in(path: str, values: list[Any], negated: bool) -> Predicate:
    different: list[Any] = []
    for value in sorted(values, key=sort_key):
        if not different or not equal(different[-1], value):
            different.append(value)
    if len(different) == 1:
        return Predicate(path, "$eq", different[0], negated)
    return Predicate(path, "$in", different, negated)
