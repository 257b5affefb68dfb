"""What a query knows of a document beside its fields, for ``$meta``: scores and distances.

It travels in the document itself, under a name that no stored field can have, and is taken out
before anybody sees it. Only a query that asks for it carries it.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/meta/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.paths import Parts, put
from transports.fake.values import MISSING, Document

KEY: Final = "\0meta"
KINDS: Final = frozenset(
    {
        "geoNearDistance",
        "geoNearPoint",
        "indexKey",
        "randVal",
        "recordId",
        "searchHighlights",
        "searchScore",
        "sortKey",
        "textScore",
    }
)
_NEEDED: Final = {
    "textScore": "text score",
    "geoNearDistance": "$geoNear distance",
    "geoNearPoint": "$geoNear point",
}
_NOT_AVAILABLE: Final = 40218


def attached(document: Document, metadata: Document) -> Document:
    """Return a copy of a document with its metadata."""
    return {**document, KEY: metadata}


def kept(before: Document, after: Document) -> Document:
    """Return what a stage made of a document, with the metadata it had before."""
    return {**after, KEY: before[KEY]} if KEY in before else after


def value(document: Document, kind: str) -> Any:
    """Return one kind of a document's metadata, `MISSING` if there is none."""
    return document.get(KEY, {}).get(kind, MISSING)


def shown(document: Document, parts: Parts, metadatum: Any) -> Document:
    """Return a document with a piece of metadata at a path, if there is any."""
    return document if metadatum is MISSING else put(document, parts, metadatum)


def stripped(documents: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents without metadata, however deep a stage has put it."""
    return (_stripped(document) for document in documents)


def _stripped(node: Any) -> Any:
    if type(node) is dict:
        return {name: _stripped(inner) for name, inner in node.items() if name != KEY}
    if type(node) is list:
        return [_stripped(element) for element in node]
    return node


def kinds_in(spec: Any) -> set[str]:
    """Return the kinds of metadata that a projection, sort or pipeline asks for."""
    found: set[str] = set()
    waiting = [spec]
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            kind = node.get("$meta")
            if len(node) == 1 and type(kind) is str:
                found.add(kind)
            waiting += node.values()
        elif type(node) is list:
            waiting += node
    return found


def check_available(kinds: set[str], available: frozenset[str]) -> None:
    """Refuse what only a text search or ``$geoNear`` knows, where there is none.

    Raises:
        CommandFailure: 40218.
    """
    for kind, name in _NEEDED.items():
        if kind in kinds and kind not in available:
            raise CommandFailure(
                _NOT_AVAILABLE,
                f"query requires {name} metadata, but it is not available",
            )
