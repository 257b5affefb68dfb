"""``count`` and ``distinct``.

Spec: https://www.mongodb.com/docs/manual/reference/command/count/,
https://www.mongodb.com/docs/manual/reference/command/distinct/
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final

from transports.fake.commands.registry import command, non_negative, whole
from transports.fake.errors import CommandFailure
from transports.fake.expressions.names import check_path
from transports.fake.matcher import compile_filter
from transports.fake.namespaces import collection_name
from transports.fake.operation import Operation
from transports.fake.paths import array_index
from transports.fake.plan import candidates, check_text_index
from transports.fake.sizes import check_distinct
from transports.fake.storage import CollectionView
from transports.fake.values import MISSING, Document, hash_key, sort_key
from transports.fake.views import read_view

_NULL_BYTE: Final = 31032


@command(
    "count",
    fields={
        "query": "object",
        "limit": "number",
        "skip": "number",
        "hint": "string or object",
        "collation": "object",
        "fields": "object",
        "queryOptions": "object",
        "encryptionInformation": "object",
    },
    read_concerns=("local", "majority", "linearizable", "available"),
)
def run_count(operation: Operation) -> Document:
    """Count documents: ``{"n": 3}``."""
    command = operation.command
    name = collection_name(operation.database, command["count"])
    skip = non_negative("skip", command.get("skip") or 0)
    limit = abs(whole(command.get("limit") or 0))
    count = _count(operation, name, command.get("query") or {})
    count = max(count - skip, 0)
    reply: Document = {"n": min(count, limit) if limit else count}
    return _as_from_view(operation.find(name), reply)


def _as_from_view(view: CollectionView | None, reply: Document) -> Document:
    """Return the reply; over a view the server runs a pipeline and says ``ok`` as an int."""
    if view is not None and (view.collection.is_view or view.collection.is_timeseries):
        reply["ok"] = 1
    return reply


def _count(operation: Operation, name: str, query: Document) -> int:
    view = operation.find(name)
    collation = operation.collation(view)
    check_text_index(view, query)
    matcher = compile_filter(query, collation=collation, now=operation.now)
    if view is None:
        return 0
    collection = view.collection
    if collection.is_view:
        return len(read_view(operation, collection, [{"$match": query}] if query else []))
    hint = operation.command.get("hint")
    if not query and not hint:
        return len(collection.records)
    return sum(
        1
        for _, document in operation.in_time(
            candidates(view, matcher, collation=collation, hint=hint)
        )
        if matcher(document)
    )


@command(
    "distinct",
    fields={
        "key": "string",
        "query": "object",
        "collation": "object",
        "encryptionInformation": "object",
    },
    required=("key",),
    read_concerns=("local", "majority", "linearizable", "available", "snapshot"),
    in_transaction=True,
    api_v1=False,
)
def run_distinct(operation: Operation) -> Document:
    """Return the different values of a field: ``{"values": […]}``."""
    command = operation.command
    name = collection_name(operation.database, command["distinct"])
    key, query = command["key"], command.get("query") or {}
    view = operation.find(name)
    collation = operation.collation(view)
    check_text_index(view, query)
    matcher = compile_filter(query, collation=collation, now=operation.now)
    if "\0" in key:
        raise CommandFailure(_NULL_BYTE, "Key field cannot contain an embedded null byte")
    check_path(key.removesuffix(".$"))
    documents: Iterable[Document] = ()
    if view is not None and view.collection.is_view:
        documents = read_view(operation, view.collection, [{"$match": query}] if query else [])
    elif view is not None:
        found = operation.in_time(candidates(view, matcher, collation=collation))
        documents = [document for _, document in found if matcher(document)]
    values: dict[Hashable, Any] = {}
    parts = tuple(key.split("."))
    for document in documents:
        for value in _values(document, parts):
            values.setdefault(hash_key(value, collation), value)
    found_values = sorted(values.values(), key=lambda value: sort_key(value, collation))
    check_distinct(operation.server.store.received, found_values)
    return _as_from_view(view, {"values": found_values})


def _values(node: Any, parts: tuple[str, ...]) -> Iterator[Any]:
    """Yield the values at a path, going into arrays on the way and at its end."""
    for depth, part in enumerate(parts):
        if type(node) is dict and len(parts) > depth + 1 and ".".join(parts[depth:]) in node:
            node = node[".".join(parts[depth:])]
            break
        if type(node) is list:
            index = array_index(part)
            if 0 <= index < len(node):
                yield from _values(node[index], parts[depth + 1 :])
            for element in node:
                if type(element) is dict:
                    yield from _values(element, parts[depth:])
            return
        node = node.get(part, MISSING) if type(node) is dict else MISSING
    if type(node) is list:
        yield from node
    elif node is not MISSING:
        yield node
