"""Operator updates as a tree of paths.

Every path of an update is a branch; its leaf is a `Modifier`. A document is walked once, children
in the server's order (numbers by value, names alphabetically), and copied only along the branches
that change.

Source: https://www.mongodb.com/docs/manual/reference/operator/update/#update-operators-behavior
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any, Final

from transports.fake.errors import IMMUTABLE_FIELD, PATH_NOT_VIABLE, CommandFailure
from transports.fake.update_modifiers import Modifier, identical
from transports.fake.update_paths import bad_value, check_stored_name, conflict, filter_name
from transports.fake.values import MISSING, Document, bson_type

_MOST_PADDING: Final = 1_500_000


@dataclass(slots=True)
class Branch:
    """A place in the tree that other places are under.

    Attributes:
        children: name, index, ``$``, ``$[]`` or ``$[id]`` → what is under it.
        in_order: the children's names as they are applied.
    """

    children: dict[str, Branch | Modifier] = field(default_factory=dict)
    _in_order: list[str] | None = None

    @property
    def in_order(self) -> list[str]:
        """The children's names in the order the server applies them."""
        if self._in_order is None:
            self._in_order = sorted(self.children, key=cmp_to_key(_compare_names))
        return self._in_order


Node = Branch | Modifier


def _concerns(node: Node, inserting: bool) -> bool:
    """Tell whether anything at or under a place is for this document."""
    if isinstance(node, Branch):
        return any(_concerns(child, inserting) for child in node.children.values())
    return inserting or not node.inserts_only


def _compare_names(left: str, right: str) -> int:
    if left.isdigit() and right.isdigit() and int(left) != int(right):
        return -1 if int(left) < int(right) else 1
    return -1 if left < right else int(left > right)


def insert(root: Branch, parts: tuple[str, ...], modifier: Modifier) -> None:
    """Add a path to the tree.

    Raises:
        CommandFailure: 40 if an operator already writes there, above it or below it.
    """
    node = root
    path = ".".join(parts)
    for depth, part in enumerate(parts[:-1]):
        child = node.children.get(part)
        if child is None:
            child = node.children[part] = Branch()
        elif not isinstance(child, Branch):
            raise conflict(path, ".".join(parts[: depth + 1]))
        _check_kinds(node, path, parts[:depth])
        node = child
    if parts[-1] in node.children:
        raise conflict(path, path)
    node.children[parts[-1]] = modifier
    _check_kinds(node, path, parts[:-1])


def _check_kinds(node: Branch, path: str, above: tuple[str, ...]) -> None:
    """Raise if array filters and plain names meet in one place."""
    filters = [filter_name(name) is not None for name in node.children]
    if any(filters) and not all(filters):
        raise conflict(path, ".".join(above))


@dataclass(frozen=True, slots=True)
class Application:
    """One application of the tree to one document.

    Attributes:
        array_index: what the positional ``$`` stands for.
        filters: identifier → test of an array element.
        inserting: the document is an upserted one.
        key: the document's ``_id``, for messages.
    """

    array_index: int | None
    filters: dict[str, Callable[[Any], bool]]
    inserting: bool
    key: Any

    def apply(self, node: Node, value: Any, path: str) -> Any:
        """Return the value after the node's changes; itself, by identity, if there are none."""
        if isinstance(node, Modifier):
            if node.inserts_only and not self.inserting:
                return value
            return node.change(value, path, self.key)
        if any(filter_name(name) is not None for name in node.children):
            return self._filtered(node, value, path)
        if type(value) is dict:
            return self._document(node, value, path)
        if type(value) is list:
            return self._array(node, value, path)
        if value is MISSING:
            return self._document(node, {}, path) or MISSING
        return self._scalar(node, value, path)

    def _children(self, node: Branch, value: Any, path: str) -> Iterator[tuple[str, Node]]:
        """Yield the children with ``$`` resolved to its index."""
        positional = node.children.get("$")
        if positional is None:
            return ((name, node.children[name]) for name in node.in_order)
        if self.array_index is None:
            raise bad_value("The positional operator did not find the match needed from the query.")
        resolved = {name: child for name, child in node.children.items() if name != "$"}
        index = str(self.array_index)
        if index in resolved:
            positional = merged(resolved[index], positional, f"{path}.{index}")
        resolved[index] = positional
        ordered = Branch(resolved)
        return ((name, resolved[name]) for name in ordered.in_order)

    def _document(self, node: Branch, document: Document, path: str) -> Document:
        result = document
        for name, child in self._children(node, document, path):
            old = document.get(name, MISSING)
            new = self.apply(child, old, f"{path}.{name}" if path else name)
            if new is old:
                continue
            if not path:
                self._check_top(name, old, new)
            if result is document:
                result = dict(document)
            if new is MISSING:
                del result[name]
            else:
                result[name] = new
        return result

    def _check_top(self, name: str, old: Any, new: Any) -> None:
        if name == "_id" and old is not MISSING and not identical(new, old):
            raise CommandFailure(
                IMMUTABLE_FIELD,
                "Performing an update on the path '_id' would modify the immutable field '_id'",
            )
        if not self.inserting and new is not MISSING:
            check_stored_name(name, name)

    def _array(self, node: Branch, array: list[Any], path: str) -> list[Any]:
        result = array
        for name, child in self._children(node, array, path):
            # Unlike a query, an update takes "01" for 1.
            index = int(name) if name.isdigit() else -1
            if index < 0:
                self._check_unreachable(child, name, path, array)
                continue
            old = array[index] if index < len(array) else MISSING
            new = self.apply(child, old, f"{path}.{name}")
            if new is old:
                continue
            if result is array:
                result = list(array)
            if index >= len(result):
                if index - len(result) > _MOST_PADDING:
                    raise CommandFailure(2, f"can't backfill more than {_MOST_PADDING} elements")
                result += [None] * (index - len(result) + 1)
            result[index] = None if new is MISSING else new
        return result

    def _scalar(self, node: Branch, value: Any, path: str) -> Any:
        for name, child in self._children(node, value, path):
            self._check_unreachable(child, name, path, value)
        return value

    def _check_unreachable(self, node: Node, name: str, path: str, value: Any) -> None:
        """Raise what a place below a value that has no such place raises, if anything."""
        if isinstance(node, Modifier):
            if (self.inserting or not node.inserts_only) and not node.removes:
                raise self._not_viable(name, path, value)
            return
        for inner in node.in_order:
            if filter_name(inner) is not None:
                raise self._absent(f"{path}.{name}" if path else name)
            below = node.children[inner]
            self._check_unreachable(below, name, path, value)

    def _absent(self, path: str) -> CommandFailure:
        return bad_value(
            f"The path '{path}' must exist in the document in order to apply array updates."
        )

    def _not_viable(self, name: str, path: str, value: Any) -> CommandFailure:
        return CommandFailure(
            PATH_NOT_VIABLE,
            f"Cannot create field '{name}' in element {{{path.rpartition('.')[2]}: {value!r}}}",
        )

    def _filtered(self, node: Branch, array: Any, path: str) -> Any:
        if array is MISSING:
            raise self._absent(path)
        if type(array) is not list:
            raise bad_value(
                f"Cannot apply array updates to non-array element {path.rpartition('.')[2]}: "
                f"{array!r} ({bson_type(array)[1]})"
            )
        result = array
        for index, old in enumerate(array):
            child = self._child_for(node, old, f"{path}.{index}")
            if child is None:
                continue
            new = self.apply(child, old, f"{path}.{index}")
            if new is not old:
                if result is array:
                    result = list(array)
                result[index] = None if new is MISSING else new
        return result

    def _child_for(self, node: Branch, element: Any, path: str) -> Node | None:
        chosen: Node | None = None
        for name in node.in_order:
            identifier = filter_name(name) or ""
            if not identifier or self.filters[identifier](element):
                child = node.children[name]
                chosen = child if chosen is None else merged(chosen, child, path)
        return chosen


def _removes(node: Node) -> bool:
    """Tell whether everything under a place only removes."""
    if isinstance(node, Branch):
        return all(_removes(child) for child in node.children.values())
    return node.removes


def merged(left: Node, right: Node, path: str) -> Node:
    """Return what two nodes do to the same place.

    Raises:
        CommandFailure: 40 if both write it.
    """
    if not isinstance(left, Branch) or not isinstance(right, Branch):
        raise conflict(path, path)
    children = dict(left.children)
    for name, child in right.children.items():
        own = children.get(name)
        children[name] = child if own is None else merged(own, child, f"{path}.{name}")
    return Branch(children)
