"""Accumulators: from operator name to something that takes values and gives a result.

`ACCUMULATORS` is the table; ``$group``, ``$bucket`` and ``$setWindowFields`` use it.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#accumulators---group---bucket---bucketauto---setwindowfields-
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from transports.fake.collation import Collation
from transports.fake.errors import TYPE_MISMATCH, CommandFailure, unsupported
from transports.fake.expressions import Expression, Variables
from transports.fake.expressions.arrays import check_n
from transports.fake.expressions.numbers import Sum
from transports.fake.expressions.scope import Constant, is_nullish, named_arguments
from transports.fake.expressions.summaries import Deviation, average_of
from transports.fake.paths import split
from transports.fake.sort import compile_sort, path_key
from transports.fake.stages.context import Context
from transports.fake.values import MISSING, NUMBER_TYPES, Document, bson_type, hash_key, sort_key


class Accumulator(Protocol):
    """A running result."""

    def add(self, value: Any) -> None:
        """Take one value, or `MISSING`."""
        ...

    def result(self) -> Any:
        """Return the result so far."""
        ...


@dataclass(frozen=True, slots=True)
class Accumulation:
    """A compiled accumulator.

    Attributes:
        expression: what it takes of each document.
        start: makes the running result of one group, given the group's ``_id``.
    """

    expression: Expression
    start: Callable[[Any, Variables], Accumulator]


class Total:
    """``$sum``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sum/."""

    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum = Sum()

    def add(self, value: Any) -> None:
        """Take a number; anything else is ignored."""
        if type(value) in NUMBER_TYPES:
            self._sum.add(value)

    def result(self) -> Any:
        """Return the sum."""
        return self._sum.result()


class Average:
    """``$avg``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/avg/."""

    __slots__ = ("_count", "_sum")

    def __init__(self) -> None:
        self._sum = Sum()
        self._count = 0

    def add(self, value: Any) -> None:
        """Take a number; anything else is ignored."""
        if type(value) in NUMBER_TYPES:
            self._sum.add(value)
            self._count += 1

    def result(self) -> Any:
        """Return the average; null of nothing."""
        return average_of(self._sum, self._count)


class Extreme:
    """``$min`` and ``$max``.

    Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation/max/
    """

    __slots__ = ("_collation", "_greatest", "_key", "_latest", "_value")

    def __init__(self, collation: Collation | None, greatest: bool, latest: bool = False) -> None:
        self._collation = collation
        self._greatest = greatest
        self._latest = latest  # of equal values of several types, as the other engine has it
        self._value: Any = None
        self._key: tuple[int, Any] | None = None

    def add(self, value: Any) -> None:
        """Take a value; null and missing are ignored."""
        if is_nullish(value):
            return
        key = sort_key(value, self._collation)
        if (
            self._key is None
            or (key > self._key if self._greatest else key < self._key)
            or (self._latest and key == self._key)
        ):
            self._key, self._value = key, value

    def result(self) -> Any:
        """Return the extreme value; null of nothing."""
        return self._value


class First:
    """``$first``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/first/."""

    __slots__ = ("_seen", "_value")

    def __init__(self) -> None:
        self._seen = False
        self._value: Any = None

    def add(self, value: Any) -> None:
        """Take a value."""
        if not self._seen:
            self._seen, self._value = True, value

    def result(self) -> Any:
        """Return the first value; null if it was missing."""
        return None if self._value is MISSING else self._value


class Last:
    """``$last``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/last/."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value: Any = None

    def add(self, value: Any) -> None:
        """Take a value."""
        self._value = value

    def result(self) -> Any:
        """Return the last value; null if it was missing."""
        return None if self._value is MISSING else self._value


class Push:
    """``$push``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/push/."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Take a value; missing is ignored."""
        if value is not MISSING:
            self._values.append(value)

    def result(self) -> Any:
        """Return the values in order."""
        return list(self._values)


class AddToSet:
    """``$addToSet``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/addToSet/."""

    __slots__ = ("_collation", "_values")

    def __init__(self, collation: Collation | None) -> None:
        self._collation = collation
        self._values: dict[Hashable, Any] = {}

    def add(self, value: Any) -> None:
        """Take a value; missing is ignored."""
        if value is not MISSING:
            self._values.setdefault(hash_key(value, self._collation), value)

    def result(self) -> Any:
        """Return the different values; a server gives them in no order."""
        return list(self._values.values())


class StandardDeviation:
    """``$stdDevPop`` and ``$stdDevSamp``.

    Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation/stdDevPop/
    """

    __slots__ = ("_deviation", "_sample")

    def __init__(self, sample: bool) -> None:
        self._deviation = Deviation()
        self._sample = sample

    def add(self, value: Any) -> None:
        """Take a number; anything else is ignored."""
        if type(value) in NUMBER_TYPES:
            self._deviation.add(value)

    def result(self) -> Any:
        """Return the deviation; null of too few."""
        return self._deviation.result(sample=self._sample)


class MergeObjects:
    """``$mergeObjects``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/mergeObjects/."""

    __slots__ = ("_code", "_merged")

    def __init__(self, code: int = 40400) -> None:
        self._code = code
        self._merged: Document = {}

    def add(self, value: Any) -> None:
        """Take a document; null and missing are ignored."""
        if type(value) is dict:
            self._merged.update(value)
        elif not is_nullish(value):
            raise CommandFailure(
                self._code,
                f"$mergeObjects requires object inputs, but input {value!r} is of type "
                f"{bson_type(value)[1]}",
            )

    def result(self) -> Any:
        """Return the merged document."""
        return dict(self._merged)


class Several:
    """``$firstN``, ``$lastN``, ``$minN`` and ``$maxN``.

    Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation/firstN/
    """

    __slots__ = ("_choose", "_n", "_nulls", "_values")

    def __init__(
        self, n: int, choose: Callable[[list[Any], int], list[Any]], *, nulls: bool
    ) -> None:
        self._n = n
        self._choose = choose
        self._nulls = nulls
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Take a value."""
        if self._nulls:
            self._values.append(None if value is MISSING else value)
        elif not is_nullish(value):
            self._values.append(value)

    def result(self) -> Any:
        """Return up to ``n`` of the values."""
        return self._choose(self._values, self._n)


class Ranked:
    """``$top``, ``$topN``, ``$bottom`` and ``$bottomN``.

    Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation/topN/

    Attributes:
        slides: values leave again; then the latest of equal ones is last.
    """

    __slots__ = ("_bottom", "_n", "_order", "_pairs", "slides")

    def __init__(
        self, n: int | None, order: Callable[[list[Any]], list[Any]], *, bottom: bool
    ) -> None:
        self._n = n
        self._order = order
        self._bottom = bottom
        self._pairs: list[Any] = []
        self.slides = False

    def add(self, value: Any) -> None:
        """Take ``(document, output)``."""
        self._pairs.append(value)

    def result(self) -> Any:
        """Return the outputs of the first or last documents by the order."""
        count = 1 if self._n is None else self._n
        if not self._bottom:
            pairs = self._order(self._pairs)[:count]
        elif self.slides:
            pairs = self._order(self._pairs)[-count:]
        else:
            pairs = self._last(count)
        chosen = [None if output is MISSING else output for _, output in pairs]
        if self._n is None:
            return chosen[0] if chosen else None
        return chosen

    def _last(self, count: int) -> list[Any]:
        """Return the last by the order; one that equals the least kept does not replace it."""
        kept: list[Any] = []
        for pair in self._pairs:
            if len(kept) == count:
                if self._order([pair, kept[0]])[0] is pair:
                    continue
                kept = kept[1:]
            kept = self._order([*kept, pair])
        return kept


Compile = Callable[[str, Any, Context], Accumulation]


def _simple(start: Callable[[Context], Accumulator]) -> Compile:
    def compile_simple(name: str, operand: Any, context: Context) -> Accumulation:
        return Accumulation(context.expression(operand), lambda key, variables: start(context))

    return compile_simple


def _count(name: str, operand: Any, context: Context) -> Accumulation:
    """``$count``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/count-accumulator/."""
    if operand != {}:
        raise CommandFailure(TYPE_MISMATCH, "$count takes no arguments, i.e. $count:{}")
    return Accumulation(Constant(1), lambda key, variables: Total())


def _n_expression(name: str, expression: Expression) -> Callable[[Any, Variables], int]:
    def n(key: Any, variables: Variables) -> int:
        return check_n(name, expression(key if type(key) is dict else {}, variables))

    return n


def _several(
    choose: Callable[[Context], Callable[[list[Any], int], list[Any]]], nulls: bool
) -> Compile:
    def compile_several(name: str, operand: Any, context: Context) -> Accumulation:
        given = named_arguments(
            name,
            operand,
            {"n": 5787906, "input": 5787907},
            not_an_object=5787801 if name in ("$firstN", "$lastN") else 5787900,
            unknown=5787901,
        )
        n = _n_expression(name, context.expression(given["n"]))
        chosen = choose(context)
        return Accumulation(
            context.expression(given["input"]),
            lambda key, variables: Several(n(key, variables), chosen, nulls=nulls),
        )

    return compile_several


def _sorted(context: Context, reverse: bool) -> Callable[[list[Any], int], list[Any]]:
    collation = context.collation
    return lambda values, n: sorted(
        values, key=lambda value: sort_key(value, collation), reverse=reverse
    )[:n]


def _ranked(*, bottom: bool, several: bool) -> Compile:
    def compile_ranked(name: str, operand: Any, context: Context) -> Accumulation:
        required = {"n": 5788003} if several else {}
        required |= {"output": 5788004, "sortBy": 5788005}
        given = named_arguments(name, operand, required, not_an_object=5788001, unknown=5788002)
        order = _document_order(given["sortBy"], context)
        output = context.expression(given["output"])
        n = _n_expression(name, context.expression(given["n"])) if several else None
        return Accumulation(
            lambda document, variables: (document, output(document, variables)),
            lambda key, variables: Ranked(
                None if n is None else n(key, variables), order, bottom=bottom
            ),
        )

    return compile_ranked


def _document_order(spec: Any, context: Context) -> Callable[[list[Any]], list[Any]]:
    if type(spec) is list:  # to the server, a document whose names are numbers
        spec = {str(index): value for index, value in enumerate(spec)}
    if type(spec) is not dict:
        raise CommandFailure(10065, "invalid parameter: expected an object (sortBy)")
    compile_sort(spec)
    keys = [(split(path), way == -1) for path, way in spec.items()]

    def order(pairs: list[Any]) -> list[Any]:
        for parts, backwards in reversed(keys):
            pairs = sorted(
                pairs,
                key=lambda pair: path_key(pair[0], parts, backwards, context.collation),
                reverse=backwards,
            )
        return pairs

    return order


def _refused(name: str, operand: Any, context: Context) -> Accumulation:
    raise unsupported(f"the accumulator {name}")


ACCUMULATORS: Final[dict[str, Compile]] = {
    "$accumulator": _refused,
    "$addToSet": _simple(lambda context: AddToSet(context.collation)),
    "$avg": _simple(lambda context: Average()),
    "$bottom": _ranked(bottom=True, several=False),
    "$bottomN": _ranked(bottom=True, several=True),
    "$count": _count,
    "$first": _simple(lambda context: First()),
    "$firstN": _several(lambda context: lambda values, n: values[:n], True),
    "$last": _simple(lambda context: Last()),
    "$lastN": _several(lambda context: lambda values, n: values[-n:], True),
    "$max": _simple(lambda context: Extreme(context.collation, True, context.slots)),
    "$maxN": _several(lambda context: _sorted(context, True), False),
    "$mergeObjects": _simple(lambda context: MergeObjects(5911200 if context.slots else 40400)),
    "$min": _simple(lambda context: Extreme(context.collation, False, context.slots)),
    "$minN": _several(lambda context: _sorted(context, False), False),
    "$push": _simple(lambda context: Push()),
    "$stdDevPop": _simple(lambda context: StandardDeviation(False)),
    "$stdDevSamp": _simple(lambda context: StandardDeviation(True)),
    "$sum": _simple(lambda context: Total()),
    "$top": _ranked(bottom=False, several=False),
    "$topN": _ranked(bottom=False, several=True),
}


def compile_accumulator(
    field: str, spec: Any, context: Context, *, unary: bool = True
) -> Accumulation:
    """Compile ``{"$sum": …}`` for a field of ``$group``.

    Args:
        field: its name.
        spec: the accumulator.
        context: what it is compiled with.
        unary: whether an array of operands is refused; a window takes it for one.

    Raises:
        CommandFailure: 40234, 40238 for what is no accumulator, 15952 for an unknown one.
    """
    if type(spec) is not dict or not next(iter(spec), "").startswith("$"):
        raise CommandFailure(40234, f"The field '{field}' must be an accumulator object")
    if len(spec) != 1:
        raise CommandFailure(40238, f"The field '{field}' must specify one accumulator")
    name, operand = next(iter(spec.items()))
    compile_named = ACCUMULATORS.get(name)
    if type(operand) is list and unary:
        raise CommandFailure(40237, f"The {name} accumulator is a unary operator")
    if compile_named is None:
        raise CommandFailure(15952, f"unknown group operator '{name}'")
    return compile_named(name, operand, context)
