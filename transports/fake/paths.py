"""Dotted paths: how ``"a.b.0"`` is walked through documents and arrays.

There are two ways. A *query* walks into every element of an array and also takes a number as an
index (`any_value`, `first_index`). An *expression* maps over arrays and knows no index
(`expression_value`). Updates walk their own way, see `transports.fake.update_tree`.

Spec: https://www.mongodb.com/docs/manual/core/document/#dot-notation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from transports.fake.values import MISSING, Document

Parts = tuple[str, ...]
Test = Callable[[Any], bool]


def split(path: str) -> Parts:
    """Return the parts of a path: ``"a.b"`` → ``("a", "b")``."""
    return tuple(path.split("."))


def array_index(part: str) -> int:
    """Return the index that a part of a path means in an array; -1 if it is none.

    ``"01"`` is no index: the server only takes the number's own digits.
    """
    if part.isdigit() and part.isascii() and (part == "0" or part[0] != "0"):
        return int(part)
    return -1


def any_value(document: Document, parts: Parts, test: Test, expand: bool, at: int = 0) -> bool:
    """Tell whether a value at the path passes the test.

    The test sees, in this order: the value of each branch, the elements of an array at the path's
    end (if ``expand``) before the array itself, and `MISSING` for a branch that ends early.
    A scalar in an array that the path goes through is no branch.
    """
    last = len(parts) - 1
    node = document
    while True:
        value = node.get(parts[at], MISSING)
        kind = type(value)
        if kind is list:
            if at < last:
                return _any_in_array(value, parts, test, expand, at + 1)
            if expand:
                for element in value:
                    if test(element):
                        return True
            return test(value)
        if at == last:
            return test(value)
        if kind is not dict:
            return test(MISSING)
        node = value
        at += 1


def _any_in_array(array: list[Any], parts: Parts, test: Test, expand: bool, at: int) -> bool:
    if parts[at:] == ("",):
        # The server takes "a." for "a" where a is an array.
        return (expand and any(test(element) for element in array)) or test(array)
    return any(
        _element_passes(array, i, parts, test, expand, at) for i in _branches(array, parts, at)
    )


def _branches(array: list[Any], parts: Parts, at: int) -> Iterator[int]:
    """Yield the positions of an array that the rest of a path can go through."""
    index = array_index(parts[at])
    for position, element in enumerate(array):
        if type(element) is dict or position == index:
            yield position


def _element_passes(
    array: list[Any], position: int, parts: Parts, test: Test, expand: bool, at: int
) -> bool:
    element = array[position]
    if type(element) is dict and any_value(element, parts, test, expand, at):
        return True
    if position != array_index(parts[at]):
        return False
    if at == len(parts) - 1:
        return test(element)
    if type(element) is dict:
        return any_value(element, parts, test, expand, at + 1)
    if type(element) is list:
        return _any_in_array(element, parts, test, expand, at + 1)
    return False


def first_index(
    document: Document, parts: Parts, test: Test, expand: bool, at: int = 0
) -> int | None:
    """Return which element of the outermost array on the path passes the test first.

    An element that the path names by its number does not count: the array inside it may.

    Returns:
        None if nothing passes, -1 if what passes is in no array.
    """
    node: Any = document
    last = len(parts) - 1
    while True:
        value = node.get(parts[at], MISSING)
        if type(value) is list:
            if at < last and parts[at + 1 :] != ("",):
                return _first_in_array(value, parts, test, expand, at + 1)
            if expand:
                for position, element in enumerate(value):
                    if test(element):
                        return position
            return -1 if test(value) else None
        if at == last:
            return -1 if test(value) else None
        if type(value) is not dict:
            return -1 if test(MISSING) else None
        node = value
        at += 1


def _first_in_array(
    array: list[Any], parts: Parts, test: Test, expand: bool, at: int
) -> int | None:
    for position in _branches(array, parts, at):
        element = array[position]
        if type(element) is dict and any_value(element, parts, test, expand, at):
            return position
        if position != array_index(parts[at]):
            continue
        found: int | None = None
        if at == len(parts) - 1:
            found = -1 if test(element) else None
        elif type(element) is dict:
            found = first_index(element, parts, test, expand, at + 1)
        elif type(element) is list:
            found = _first_in_array(element, parts, test, expand, at + 1)
        if found is not None:
            return found
    return None


def all_values(document: Document, parts: Parts, expand: bool) -> list[Any]:
    """Return every value at the path that a query would see; `MISSING` for branches that end."""
    found: list[Any] = []

    def collect(value: Any) -> bool:
        found.append(value)
        return False

    any_value(document, parts, collect, expand)
    return found


def expression_value(document: Any, parts: Parts) -> Any:
    """Return the value of ``"$a.b"``: arrays on the way are mapped, what is missing is left out."""
    value = document
    for at, part in enumerate(parts):
        kind = type(value)
        if kind is dict:
            value = value.get(part, MISSING)
        elif kind is list:
            rest = parts[at:]
            mapped = [expression_value(element, rest) for element in value if type(element) is dict]
            return [element for element in mapped if element is not MISSING]
        else:
            return MISSING
    return value


def put(document: Any, parts: Parts, value: Any) -> Document:
    """Return a document with the value at a path; documents on the way are made as needed."""
    result: Document = dict(document) if type(document) is dict else {}
    name = parts[0]
    if len(parts) > 1:
        result[name] = put(result.get(name), parts[1:], value)
    elif value is MISSING:
        result.pop(name, None)
    else:
        result[name] = value
    return result
