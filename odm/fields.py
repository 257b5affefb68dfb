"""Links that stay on the connection their document came from.

A `Link` of Beanie's fetches through its document class, so through whatever connection that class
means at the time. This one remembers. `BackLink` holds nothing to fetch and is Beanie's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, Union, get_args, get_origin

import beanie
from bson import DBRef

from odm.binding import Home, Scope, current_home, current_scope, entered

_T = TypeVar("_T")


class Link(beanie.Link[_T]):
    """A reference to a document of another collection, stored as a DBRef."""

    def __init__(self, ref: DBRef, document_class: type[_T]) -> None:
        super().__init__(ref, document_class)
        self._home: Home = current_home()

    async def fetch(self, fetch_links: bool = False) -> _T | Link[_T]:
        """Return the document; the link itself if the document is no longer there."""
        with entered(_scope_of(self)):
            found: _T | Link[_T] = await super().fetch(fetch_links)  # type: ignore[assignment]
            return found

    def to_ref(self) -> DBRef:
        """Return the reference as it is stored."""
        return self.ref

    def to_dict(self) -> dict[str, str]:
        """Return the reference as it is in JSON: ``{"id": …, "collection": …}``."""
        return {"id": str(self.ref.id), "collection": self.ref.collection}

    def __repr__(self) -> str:
        return f"Link({self.ref.collection}, {self.ref.id!r})"

    @classmethod
    async def fetch_list(cls, links: Iterable[Any], fetch_links: bool = False) -> list[Any]:
        """Return the documents of many links, in one query; documents among them are kept."""
        links = list(links)
        first = next((link for link in links if isinstance(link, Link)), None)
        with entered(_scope_of(first) if first is not None else None):
            return list(await super().fetch_list(links, fetch_links))


def _scope_of(link: Link[Any]) -> Scope | None:
    scope = current_scope()
    if scope is not None and scope.forced:
        return None
    binder = link._home.binder(link.document_class)
    return None if binder is None else binder.scope


def with_beanie_links(annotation: Any) -> Any:
    """Return *annotation* with our links replaced by Beanie's, which it recognises by identity."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Link:
        return beanie.Link[args]  # type: ignore[valid-type]  # a value here, not a type
    if origin is list:
        return list[with_beanie_links(args[0])]  # type: ignore[misc]  # as above
    if type(None) in args:
        return Union[tuple(with_beanie_links(arg) for arg in args)]  # noqa: UP007 - of a tuple
    return annotation
