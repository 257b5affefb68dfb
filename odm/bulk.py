"""Many writes in one: collected in a block, sent when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from beanie.odm.utils.encoder import Encoder
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.results import BulkWriteResult

from odm import writing
from odm.binding import entered

if TYPE_CHECKING:
    from odm.document import Document
    from odm.repository_base import RepositoryBase

_T = TypeVar("_T", bound="Document")


class Bulk(Generic[_T]):
    """What ``repository.bulk()`` returns: ``async with … as batch: batch.add(page)``.

    One bulk write is sent when the block ends, none if an exception leaves it. Event actions
    (``before_event``) are not run. Documents that were added have their ids afterwards.
    """

    def __init__(self, repository: RepositoryBase[_T], *, ordered: bool) -> None:
        self._repository = repository
        self._ordered = ordered
        self._operations: list[Any] = []
        self._added: dict[int, tuple[_T, dict[str, Any]]] = {}
        self._result: BulkWriteResult | None = None

    def __len__(self) -> int:
        return len(self._operations)

    @property
    def result(self) -> BulkWriteResult | None:
        """What the server did; None before the block has ended, and if there was nothing to do."""
        return self._result

    def add(self, document: _T) -> None:
        """Insert a document.

        Raises:
            TypeError: it is not of the repository's class.
        """
        self._repository._check(document)
        content = writing.new_content(document)
        self._added[len(self._operations)] = (document, content)
        self._operations.append(InsertOne(content))

    def update(self, document_or_id: _T | Any, changes: Mapping[str, Any]) -> None:
        """Update one document: ``{"$set": {"title": "Hi"}}``.

        A document that is given stays as it is in memory, and its revision is not compared.

        Raises:
            ValueError: *changes* has no update operators.
        """
        model = self._repository.model
        expression = writing.update_expression(model, changes)
        encoder = Encoder(custom_encoders=model.get_settings().bson_encoders)
        self._operations.append(UpdateOne(self._by_id(document_or_id), encoder.encode(expression)))

    def delete(self, document_or_id: _T | Any) -> None:
        """Delete one document, for good even where `delete()` is soft."""
        self._operations.append(DeleteOne(self._by_id(document_or_id)))

    def _by_id(self, document_or_id: Any) -> dict[str, Any]:
        return {"_id": self._repository._id_of(document_or_id)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None and self._operations:
            await self._send()

    async def _send(self) -> None:
        connection, collection = self._repository.connection, self._repository.collection
        count = len(self._operations)
        with (
            entered(connection.scope),
            writing.settled(self._added, connection, count=count, ordered=self._ordered),
        ):
            self._result = await collection.bulk_write(self._operations, ordered=self._ordered)
