"""Array expressions.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#array-expression-operators
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.numbers import coerced_long, whole32, whole64
from transports.fake.expressions.ordering import compile_value_order
from transports.fake.expressions.scope import (
    Constant,
    Expression,
    Operator,
    Scope,
    Variables,
    arguments,
    check_count,
    fixed,
    folded,
    folding,
    is_nullish,
    named_arguments,
    refuse_constant,
    variadic,
)
from transports.fake.values import MISSING, NUMBER_TYPES, Document, equal, sort_key


def element_at(array: Any, index: Any) -> Any:
    """``$arrayElemAt``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/arrayElemAt/."""
    if is_nullish(array) or is_nullish(index):
        return None
    if type(array) is not list:
        raise CommandFailure(
            28689, f"$arrayElemAt's first argument must be an array, but is {type_name(array)}"
        )
    if type(index) not in NUMBER_TYPES:
        raise CommandFailure(
            28690,
            f"$arrayElemAt's second argument must be a numeric value, but is {type_name(index)}",
        )
    position = whole32(index)
    if position is None:
        raise CommandFailure(
            28691,
            f"$arrayElemAt's second argument must be representable as a 32-bit integer: {index}",
        )
    if -len(array) <= position < len(array):
        return array[position]
    return MISSING


def _end(name: str, position: int) -> Callable[[Any], Any]:
    def end(array: Any) -> Any:
        if is_nullish(array):
            return None
        if type(array) is not list:
            raise CommandFailure(
                28689, f"{name}'s argument must be an array, but is {type_name(array)}"
            )
        return array[position] if array else MISSING

    end.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return end


def array_to_object(value: Any) -> Any:
    """``$arrayToObject``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/arrayToObject/."""
    if is_nullish(value):
        return None
    if type(value) is not list:
        raise CommandFailure(
            40386, f"$arrayToObject requires an array input, found: {type_name(value)}"
        )
    built: Document = {}
    for element in value:
        name, member = _pair(element, type(value[0]) is list)
        if "\0" in name:
            raise CommandFailure(4940400, "Key field cannot contain an embedded null byte")
        built[name] = member
    return built


def _pair(element: Any, lists: bool) -> tuple[str, Any]:
    if lists:
        if type(element) is not list:
            raise CommandFailure(
                40396,
                f"$arrayToObject requires a consistent input format. Found: {type_name(element)}",
            )
        if len(element) != 2:
            raise CommandFailure(
                40397,
                "$arrayToObject requires an array of size 2 arrays,found array of size: "
                f"{len(element)}",
            )
        name, member = element
        if type(name) is not str:
            raise CommandFailure(
                40395,
                "$arrayToObject requires an array of key-value pairs, where the key must be of "
                f"type string. Found key type: {type_name(name)}",
            )
        return name, member
    if type(element) is not dict:
        code = 40391 if type(element) is list else 40398
        raise CommandFailure(
            code, f"Unrecognised input type format for $arrayToObject: {type_name(element)}"
        )
    if len(element) != 2:
        raise CommandFailure(
            40392,
            "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of "
            f"keys:{len(element)}",
        )
    if "k" not in element or "v" not in element:
        raise CommandFailure(40393, "$arrayToObject requires an object with keys 'k' and 'v'.")
    if type(element["k"]) is not str:
        raise CommandFailure(
            40394,
            "$arrayToObject requires an object with keys 'k' and 'v', where the value of 'k' "
            "must be of type string.",
        )
    return element["k"], element["v"]


def concat_arrays(values: Iterable[Any]) -> Any:
    """``$concatArrays``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/concatArrays/."""
    joined: list[Any] = []
    for value in values:
        if is_nullish(value):
            return None
        if type(value) is not list:
            raise CommandFailure(
                28664, f"$concatArrays only supports arrays, not {type_name(value)}"
            )
        joined += value
    return joined


def in_(operand: Any, scope: Scope) -> Expression:
    """``$in``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/in/."""
    given = arguments(operand)
    check_count("$in", len(given), 2, 2)
    value, array = (scope.compile(argument) for argument in given)
    collation = scope.collation

    def test(document: Document, variables: Variables) -> bool:
        sought = value(document, variables)
        elements = array(document, variables)
        if type(elements) is not list:
            raise CommandFailure(
                40081, f"$in requires an array as a second argument, found: {type_name(elements)}"
            )
        return any(equal(sought, element, collation) for element in elements)

    return folded(test, [value, array])


def index_of_array(operand: Any, scope: Scope) -> Expression:
    """``$indexOfArray``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/indexOfArray/."""
    given = arguments(operand)
    check_count("$indexOfArray", len(given), 2, 4)
    parts = [scope.compile(argument) for argument in given]
    collation = scope.collation
    if type(parts[0]) is Constant and not all(type(part) is Constant for part in parts):
        _check_searched(parts[0].value)

    def find(document: Document, variables: Variables) -> Any:
        array, sought, *bounds = [part(document, variables) for part in parts]
        if is_nullish(array):
            return None
        if type(array) is not list:
            raise CommandFailure(
                40090,
                f"$indexOfArray requires an array as a first argument, found: {type_name(array)}",
            )
        limits = [
            _bound(bound, what) for bound, what in zip(bounds, ("starting", "ending"), strict=False)
        ]
        start = limits[0] if limits else 0
        end = min(limits[1], len(array)) if len(limits) > 1 else len(array)
        for index in range(start, end):
            if equal(array[index], sought, collation):
                return index
        return -1

    return folded(find, parts)


def _check_searched(array: Any) -> None:
    """Refuse a constant that is no array, which the server would index."""
    if type(array) is not list and not is_nullish(array):
        refuse_constant(
            CommandFailure(
                50809,
                "First operand of $indexOfArray must be an array. First argument is of type: "
                f"{type_name(array)}",
            )
        )


def _bound(value: Any, what: str) -> int:
    number = whole32(value)
    if number is None:
        raise CommandFailure(
            40096,
            f"$indexOfArray requires an integral {what} index, found a value of type: "
            f"{type_name(value)}",
        )
    if number < 0:
        raise CommandFailure(
            40097, f"$indexOfArray requires a nonnegative {what} index, found: {number}"
        )
    return number


def is_array(value: Any) -> bool:
    """``$isArray``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/isArray/."""
    return type(value) is list


def size(value: Any) -> int:
    """``$size``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/size/."""
    if type(value) is not list:
        raise CommandFailure(
            17124, f"The argument to $size must be an array, but was of type: {type_name(value)}"
        )
    return len(value)


def reverse_array(value: Any) -> Any:
    """``$reverseArray``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/reverseArray/."""
    if is_nullish(value):
        return None
    if type(value) is not list:
        raise CommandFailure(
            34435,
            f"The argument to $reverseArray must be an array, but was of type: {type_name(value)}",
        )
    return value[::-1]


def range_(start: Any, end: Any, step: Any = 1) -> list[int]:
    """``$range``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/range/."""
    numbers = []
    for value, what, code in (
        (start, "starting", 34443),
        (end, "ending", 34445),
        (step, "step", 34447),
    ):
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                code,
                f"$range requires a numeric {what} value, found value of type: {type_name(value)}",
            )
        number = whole32(value)
        if number is None:
            raise CommandFailure(
                code + 1,
                f"$range requires a {what} value that can be represented as a 32-bit integer, "
                f"found value: {value}",
            )
        numbers.append(number)
    if numbers[2] == 0:
        raise CommandFailure(34449, "$range requires a non-zero step value")
    return list(range(*numbers))


def slice_(array: Any, position: Any, count: Any = MISSING) -> Any:
    """``$slice``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/slice/."""
    if is_nullish(array) or is_nullish(position) or count is None:
        return None
    if type(array) is not list:
        raise CommandFailure(
            28724, f"First argument to $slice must be an array, but is of type: {type_name(array)}"
        )
    first = _slice_number(position, "Second", 28725)
    if count is MISSING:
        if first >= 0:
            return array[:first]
        return array[first:]
    length = _slice_number(count, "Third", 28727)
    if length <= 0:
        raise CommandFailure(28729, f"Third argument to $slice must be positive: {length}")
    start = max(len(array) + first, 0) if first < 0 else first
    return array[start : start + length]


def _slice_number(value: Any, which: str, code: int) -> int:
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(
            code, f"{which} argument to $slice must be numeric, but is of type: {type_name(value)}"
        )
    number = whole32(value)
    if number is None:
        raise CommandFailure(
            code + 1,
            f"{which} argument to $slice can't be represented as a 32-bit integer: {value}",
        )
    return number


def _slice(operand: Any, scope: Scope) -> Expression:
    given = arguments(operand)
    check_count("$slice", len(given), 2, 3)
    parts = [scope.compile(argument) for argument in given]

    def cut(document: Document, variables: Variables) -> Any:
        values = [part(document, variables) for part in parts]
        if len(values) == 3 and values[2] is MISSING:
            return None
        return slice_(*values)

    return folded(cut, parts)


def zip_(operand: Any, scope: Scope) -> Expression:
    """``$zip``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/zip/."""
    given = named_arguments(
        "$zip",
        operand,
        {},
        ("inputs", "useLongestLength", "defaults"),
        not_an_object=34460,
        unknown=34464,
    )
    if type(given.get("inputs", [])) is not list:
        raise CommandFailure(34461, "inputs must be an array of expressions")
    if not given.get("inputs"):
        raise CommandFailure(34465, "$zip requires at least one input array")
    longest = given.get("useLongestLength", False)
    if type(longest) is not bool:
        raise CommandFailure(34463, "useLongestLength must be a bool")
    defaults = given.get("defaults", [])
    if type(defaults) is not list:
        raise CommandFailure(34462, "defaults must be an array of expressions")
    if defaults and not longest:
        raise CommandFailure(34466, "cannot specify defaults unless useLongestLength is true")
    if defaults and len(defaults) != len(given["inputs"]):
        raise CommandFailure(34467, "defaults and inputs must have the same length")
    sources = [scope.compile(source) for source in given["inputs"]]
    fills = [scope.compile(default) for default in defaults] or [Constant(None)] * len(sources)

    def zipped(document: Document, variables: Variables) -> Any:
        arrays = []
        for source in sources:
            array = source(document, variables)
            if is_nullish(array):
                return None
            if type(array) is not list:
                raise CommandFailure(
                    34468, f"$zip found a non-array expression in input: {array!r}"
                )
            arrays.append(array)
        filled = [fill(document, variables) for fill in fills]
        length = (max if longest else min)(len(array) for array in arrays)
        return [
            [
                array[i] if i < len(array) else (None if fill is MISSING else fill)
                for array, fill in zip(arrays, filled, strict=True)
            ]
            for i in range(length)
        ]

    return zipped


def sort_array(operand: Any, scope: Scope) -> Expression:
    """``$sortArray``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sortArray/."""
    given = named_arguments(
        "$sortArray",
        operand,
        {"input": 2942502, "sortBy": 2942503},
        not_an_object=2942500,
        unknown=2942501,
    )
    source = scope.compile(given["input"])
    order = _sort_order(given["sortBy"], scope)

    def sort(document: Document, variables: Variables) -> Any:
        value = source(document, variables)
        if is_nullish(value):
            return None
        if type(value) is not list:
            raise CommandFailure(
                2942504,
                "The input argument to $sortArray must be an array, but was of type: "
                f"{type_name(value)}",
            )
        return order(value)

    return folded(sort, [source])


def _sort_order(spec: Any, scope: Scope) -> Callable[[list[Any]], list[Any]]:
    if type(spec) is dict:
        if not spec or any(whole32(way) not in (1, -1) for way in spec.values()):
            raise CommandFailure(
                2942505, "The $sort pattern is empty or has an element that is neither 1 nor -1"
            )
    elif type(spec) not in NUMBER_TYPES:
        raise CommandFailure(
            2942507, "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1}"
        )
    elif whole32(spec) not in (1, -1):
        raise CommandFailure(2942506, "The $sort element value must be either 1 or -1")
    return compile_value_order(spec, scope.collation)


def _n_of(name: str, choose: Callable[[list[Any], int, Scope], list[Any]]) -> Operator:
    def operator(operand: Any, scope: Scope) -> Expression:
        given = named_arguments(
            name,
            operand,
            {"n": 5787906, "input": 5787907},
            not_an_object=5787801 if name in ("$firstN", "$lastN") else 5787900,
            unknown=5787901,
        )
        with folding(fails=False):  # the server folds nothing in here
            source, count = scope.compile(given["input"]), scope.compile(given["n"])

        def chosen(document: Document, variables: Variables) -> Any:
            n = check_n(name, count(document, variables))
            value = source(document, variables)
            if type(value) is not list:
                raise CommandFailure(5788200, "Input must be an array")
            return choose(value, n, scope)

        return chosen

    operator.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}-array-element/."
    return operator


def check_n(name: str, value: Any) -> int:
    """Return the ``n`` of ``$firstN`` and its relatives, or raise."""
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(
            5787902, f"Value for 'n' must be of integral type, but found {value!r}"
        )
    coerced_long(value)
    number = whole64(value)
    if number is None:
        raise CommandFailure(
            5787903, f"Value for 'n' must be of integral type, but found {value!r}"
        )
    if number <= 0:
        raise CommandFailure(5787908, f"'n' must be greater than 0, found {number}")
    return number


def _ranked(values: list[Any], n: int, scope: Scope, reverse: bool) -> list[Any]:
    present = [value for value in values if not is_nullish(value)]
    ordered = sorted(present, key=lambda value: sort_key(value, scope.collation), reverse=reverse)
    return ordered[:n]


ARRAYS: Final[dict[str, Operator]] = {
    "$arrayElemAt": fixed("$arrayElemAt", element_at, 2),
    "$arrayToObject": fixed("$arrayToObject", array_to_object, 1),
    "$concatArrays": variadic(concat_arrays),
    "$first": fixed("$first", _end("$first", 0), 1),
    "$firstN": _n_of("$firstN", lambda values, n, scope: values[:n]),
    "$in": in_,
    "$indexOfArray": index_of_array,
    "$isArray": fixed("$isArray", is_array, 1),
    "$last": fixed("$last", _end("$last", -1), 1),
    "$lastN": _n_of("$lastN", lambda values, n, scope: values[-n:]),
    "$maxN": _n_of("$maxN", lambda values, n, scope: _ranked(values, n, scope, True)),
    "$minN": _n_of("$minN", lambda values, n, scope: _ranked(values, n, scope, False)),
    "$range": fixed("$range", range_, 2, 3),
    "$reverseArray": fixed("$reverseArray", reverse_array, 1),
    "$size": fixed("$size", size, 1),
    "$slice": _slice,
    "$sortArray": sort_array,
    "$zip": zip_,
}
