"""The parts a compiled filter is made of.

A `Leaf` tests one value and does not know where the value is; put on a path it becomes a `Node`,
which tests a document and can say which array element matched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transports.fake.paths import Parts, Test, any_value, first_index
from transports.fake.values import MISSING, Document

Variables = dict[str, Any]
Locate = Callable[[Document, Variables, bool], int | None]
NO_ARRAY = -1


@dataclass(frozen=True, slots=True)
class Node:
    """A predicate of documents.

    Attributes:
        test: tells whether the document matches.
        locate: None if it does not, else the matching element of the outermost array or -1;
            the last argument says whether ``$and`` asks its members as they are written (find's
            projection) or as the server sorts them (updates).
    """

    test: Callable[[Document, Variables], bool]
    locate: Locate


@dataclass(frozen=True, slots=True)
class Leaf:
    """A predicate of one value at the end of a path.

    Attributes:
        test: of a value or `MISSING`.
        expand: elements of an array at the path's end are tested too.
        locate: for an operator that looks into the array itself (``$elemMatch``): which element
            matches, None if none does.
    """

    test: Test
    expand: bool = True
    locate: Callable[[Any], int | None] | None = None

    def on(self, path: Parts) -> Node:
        """Return the predicate of a document's values at the path."""
        if self.locate is not None:
            return _array_node(path, self.test, self.locate)
        if len(path) == 1:
            return _field_node(path[0], self.test, self.expand)
        return _path_node(path, self.test, self.expand)

    def on_value(self) -> Test:
        """Return the predicate of an array's element, in ``$elemMatch``."""
        return self.test


@dataclass(frozen=True, slots=True)
class Group:
    """Several predicates of the same value: all hold, or (negated) not all hold."""

    members: Sequence[Leaf | Group]
    negated: bool = False

    def on(self, path: Parts) -> Node:
        """Return the predicate of a document's values at the path; each member walks anew."""
        nodes = [member.on(path) for member in self.members]
        return negation(nodes) if self.negated else conjunction(nodes)

    def on_value(self) -> Test:
        """Return the predicate of an array's element, in ``$elemMatch``."""
        tests = [member.on_value() for member in self.members]
        if self.negated:
            return lambda value: not all(test(value) for test in tests)
        if len(tests) == 1:
            return tests[0]
        return lambda value: all(test(value) for test in tests)


def _field_node(name: str, test: Test, expand: bool) -> Node:
    def matches(document: Document, variables: Variables) -> bool:
        value = document.get(name, MISSING)
        if expand and type(value) is list:
            for element in value:
                if test(element):
                    return True
        return test(value)

    parts = (name,)
    return Node(
        matches, lambda document, variables, as_written: first_index(document, parts, test, expand)
    )


def _path_node(path: Parts, test: Test, expand: bool) -> Node:
    return Node(
        lambda document, variables: any_value(document, path, test, expand),
        lambda document, variables, as_written: first_index(document, path, test, expand),
    )


def _array_node(path: Parts, test: Test, inside: Callable[[Any], int | None]) -> Node:
    def locate(document: Document, variables: Variables, as_written: bool) -> int | None:
        found: list[int | None] = []

        def remember(value: Any) -> bool:
            index = inside(value)
            found.append(index)
            return index is not None

        outer = first_index(document, path, remember, False)
        return found[-1] if outer == NO_ARRAY else outer

    return Node(lambda document, variables: any_value(document, path, test, False), locate)


def conjunction(nodes: Sequence[Node], ranks: Sequence[Any] = ()) -> Node:
    """``$and``: the last member that matched through an array names the element.

    ``ranks`` orders the members for that, where it is not the order of the nodes.
    """
    if len(nodes) == 1:
        return nodes[0]
    written = [node.locate for node in nodes]
    order = sorted(range(len(nodes)), key=lambda position: ranks[position]) if ranks else ()
    in_order = [nodes[position].locate for position in order] or written
    tests = [nodes[position].test for position in order] or [node.test for node in nodes]

    def matches(document: Document, variables: Variables) -> bool:
        return all(test(document, variables) for test in tests)

    def locate(document: Document, variables: Variables, as_written: bool) -> int | None:
        index = NO_ARRAY
        for find in written if as_written else in_order:
            found = find(document, variables, as_written)
            if found is None:
                return None
            if found != NO_ARRAY:
                index = found
        return index

    return Node(matches, locate)


def disjunction(nodes: Sequence[Node]) -> Node:
    """``$or``: the first member that matches names the element."""
    tests = [node.test for node in nodes]
    locates = [node.locate for node in nodes]

    def locate(document: Document, variables: Variables, as_written: bool) -> int | None:
        for find in locates:
            found = find(document, variables, as_written)
            if found is not None:
                return found
        return None

    return Node(
        lambda document, variables: any(test(document, variables) for test in tests), locate
    )


def negation(nodes: Sequence[Node]) -> Node:
    """``$not``: not all of the nodes match."""
    return predicate(_negated(conjunction(nodes).test))


def _negated(
    test: Callable[[Document, Variables], bool],
) -> Callable[[Document, Variables], bool]:
    return lambda document, variables: not test(document, variables)


def predicate(test: Callable[[Document, Variables], bool]) -> Node:
    """Return a node that matches through no array."""
    return Node(
        test,
        lambda document, variables, as_written: NO_ARRAY if test(document, variables) else None,
    )
