"""Changes of a collection, as they happen, with documents of the model's type.

Spec: https://www.mongodb.com/docs/manual/reference/change-events/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import PyMongoError

from odm.binding import Binder, entered
from odm.reading import reader

_T = TypeVar("_T", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[_T]):
    """One change event.

    Attributes:
        operation: ``"insert"``, ``"update"``, ``"replace"``, ``"delete"``, ``"drop"``, …
        id: the ``_id`` of the document; None where the event is about no single document.
        document: the document as it is now, where the event carries it.
        updated_fields: of an update: path → new value.
        removed_fields: of an update: the paths of fields that are gone.
        resume_token: pass it to ``watch(resume_after=…)`` to go on behind this event.
    """

    operation: str
    id: Any
    document: _T | None
    updated_fields: Mapping[str, Any] = field(default_factory=dict)
    removed_fields: tuple[str, ...] = ()
    resume_token: Mapping[str, Any]


class Watch(Generic[_T]):
    """What ``repository.watch()`` returns: ``async with … as changes: async for change in …``.

    The stream is open, and nothing that happens later is missed, from ``async with`` on.
    """

    def __init__(
        self,
        binder: Binder,
        model: type[_T],
        pipeline: Sequence[Mapping[str, Any]],
        options: dict[str, Any],
    ) -> None:
        self._binder = binder
        self._model = model
        self._pipeline = [*_only_this_class(model), *pipeline]
        self._options = options
        self._stream: AsyncChangeStream[Any] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        collection = self._binder.binding(self._model).collection
        self._stream = await collection.watch(self._pipeline, **self._options)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream; an iteration that waits for it ends. Idempotent."""
        self._closed = True
        if self._stream is not None:
            await self._stream.close()

    @property
    def resume_token(self) -> Mapping[str, Any] | None:
        """The token behind the last event that was delivered, or behind the start."""
        return None if self._stream is None else self._stream.resume_token

    def __aiter__(self) -> AsyncIterator[Change[_T]]:
        return self

    async def __anext__(self) -> Change[_T]:
        if self._stream is None:
            raise RuntimeError("write 'async with repository.watch() as changes: …' first")
        try:
            event = await self._stream.next()
        except PyMongoError:
            if self._closed:  # the getMore that was waiting is told that its cursor was killed
                raise StopAsyncIteration from None
            raise
        return self._typed(event)

    def _typed(self, event: Mapping[str, Any]) -> Change[_T]:
        document = event.get("fullDocument")
        described = event.get("updateDescription") or {}
        with entered(self._binder.scope):
            parsed: Any = None if document is None else reader(self._model)(document)
        return Change(
            operation=event["operationType"],
            id=event.get("documentKey", {}).get("_id"),
            document=parsed,
            updated_fields=described.get("updatedFields", {}),
            removed_fields=tuple(described.get("removedFields", ())),
            resume_token=event["_id"],
        )


def _only_this_class(model: Any) -> list[dict[str, Any]]:
    """Return the stage that leaves out the siblings of a class that shares its collection."""
    class_id = model.get_settings().class_id
    if not getattr(model, "_inheritance_inited", False) or model._parent is None:
        return []
    classes = [model._class_id, *model._children]
    return [
        {
            "$match": {
                "$or": [
                    {f"fullDocument.{class_id}": {"$in": classes}},
                    {"fullDocument": {"$in": [None]}},
                ]
            }
        }
    ]
