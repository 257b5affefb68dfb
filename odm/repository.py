"""Repositories: one document class on one connection, in the application's words.

Derive a class and add the queries of the domain::

    class PageRepository(Repository[Page]):
        async def published(self) -> list[Page]:
            return await self.find({"status": "published"}, sort="-published_at").to_list()

    pages = PageRepository(db)

A repository holds no state but its connection. The verb tells what comes back: `get` raises where
there is nothing, `find_one` and `first` return None, `find` returns a query that has not run yet.
Filters are Beanie's expressions (``Page.views > 10``) or MongoDB's own mappings.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast, overload

import beanie
from beanie import PydanticObjectId
from beanie.odm.operators.update.general import SetRevisionId
from beanie.odm.queries.update import UpdateResponse
from pydantic import BaseModel
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from odm import paging, writing
from odm.arguments import (
    checked_count,
    checked_documents,
    checked_field,
    checked_filters,
    checked_id,
    checked_pipeline,
    checked_projection,
    checked_token,
)
from odm.binding import in_scope
from odm.bulk import Bulk
from odm.collecting import collector_paused
from odm.cursors import RawStream
from odm.document import Document
from odm.dumping import encoded, encoded_filter, encoded_id
from odm.errors import DocumentNotFound
from odm.paging import KeysetPage, Page
from odm.plain import plain
from odm.queries import FindMany
from odm.reading import list_reader, reader
from odm.repository_base import Filter, RepositoryBase, id_of
from odm.sorting import Sort, sort_order
from odm.watching import Watch

_T = TypeVar("_T", bound=Document)
_M = TypeVar("_M", bound=BaseModel)


class Repository(RepositoryBase[_T]):
    """The documents of class ``T`` on one connection.

    Args:
        connection: the connection, on which the class must be bound.
        model: the document class; a subclass of ``Repository[Page]`` knows it already.

    Raises:
        TypeError: there is no telling which document class is meant.
        NotConnected: it is not bound on this connection.
    """

    # Reading

    async def get(self, id: Any, *, fetch_links: bool = False) -> _T:
        """Return the document with this id (text will do where it can be read as one).

        Raises:
            DocumentNotFound: there is none.
            ValueError: it is no id of this class.
        """
        known, connection = plain(self._model), self._connection
        wanted = known.checked_id(id)
        found: Any
        if known.finds and not fetch_links:
            collection = connection.collection(self._model)
            fields = known.projection if connection.spares_bytes else known.asked
            found = await collection.find_one({"_id": encoded_id(wanted)}, fields)
            if found is not None:
                return cast("_T", in_scope(connection.scope, known.read_one, found))
        else:
            with self._scope():
                found = await self._model.get(wanted, fetch_links=fetch_links, with_children=True)
        if found is None:
            raise DocumentNotFound(self._model.__name__, id)
        return cast("_T", found)

    async def find_one(
        self, *filters: Filter, sort: Sort | None = None, fetch_links: bool = False
    ) -> _T | None:
        """Return a document that matches, the first in *sort*'s order, or None."""
        if sort is not None:
            return await self.first(*filters, sort=sort, fetch_links=fetch_links)
        filters = checked_filters(filters)
        known, connection = plain(self._model), self._connection
        if known.finds and not fetch_links:
            collection = connection.collection(self._model)
            fields = known.projection if connection.spares_bytes else known.asked
            raw = await collection.find_one(encoded_filter(filters), fields)
            return None if raw is None else in_scope(connection.scope, known.read_one, raw)
        with self._scope():
            found: _T | None = await self._model.find_one(*filters, fetch_links=fetch_links)
        return found

    @overload
    def find(
        self,
        *filters: Filter,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
        fetch_links: bool = False,
        into: None = None,
        with_children: bool = False,
    ) -> FindMany[_T]: ...
    @overload
    def find(
        self,
        *filters: Filter,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
        fetch_links: bool = False,
        into: type[_M],
        with_children: bool = False,
    ) -> FindMany[_M]: ...
    def find(
        self,
        *filters: Filter,
        sort: Sort | None = None,
        skip: int | None = None,
        limit: int | None = None,
        fetch_links: bool = False,
        into: type[Any] | None = None,
        with_children: bool = False,
    ) -> FindMany[Any]:
        """Return a query: ``.to_list()``, ``async for``, ``.count()``, ``.first_or_none()``, ….

        Args:
            filters: all must hold; none means every document.
            sort: ``"-field"``, ``["category", "-title"]``, ``[("title", 1)]``.
            skip: how many documents to pass over.
            limit: how many documents at most.
            fetch_links: replace links by their documents (a ``$lookup``).
            into: a model with fewer fields: only those are fetched.
            with_children: documents of derived classes too (inheritance).
        """
        if fetch_links or with_children:
            options = {"fetch_links": fetch_links, "with_children": with_children}
            query = self._find(filters, sort=sort, **options)
        else:
            query = self._find(filters, sort=sort)
        if skip is not None:
            checked_count("skip", skip)
            query.skip_number = skip
        if limit is not None:
            checked_count("limit", limit)
            query.limit_number = limit
        return query if into is None else query.project(into)

    async def first(
        self, *filters: Filter, sort: Sort | None = None, fetch_links: bool = False
    ) -> _T | None:
        """Return the first document that matches, in *sort*'s order, or None."""
        options = {"fetch_links": True} if fetch_links else {}
        return await self._find(filters, sort=sort, **options).first_or_none()

    async def exists(self, *filters: Filter) -> bool:
        """Return whether any document matches."""
        return await self._find(filters).exists()

    async def count(self, *filters: Filter) -> int:
        """Return how many documents match."""
        if not plain(self._model).lists:
            return await self._find(filters).count()
        filter = encoded_filter(checked_filters(filters))
        found = await self._connection.collection(self._model).count_documents(filter)
        return cast("int", found)

    async def distinct(self, field: str, *filters: Filter) -> list[Any]:
        """Return the different values of a field among the documents that match."""
        return await self._find(filters).distinct(checked_field("distinct", field))

    @overload
    async def aggregate(
        self, pipeline: Sequence[Mapping[str, Any]], *, into: None = None
    ) -> list[dict[str, Any]]: ...
    @overload
    async def aggregate(
        self, pipeline: Sequence[Mapping[str, Any]], *, into: type[_M]
    ) -> list[_M]: ...
    async def aggregate(
        self, pipeline: Sequence[Mapping[str, Any]], *, into: type[Any] | None = None
    ) -> list[Any]:
        """Run an aggregation and return its documents, as instances of *into* where it is given.

        Of an inheritance tree the documents of this class and of those derived from it come in.
        """
        stages = checked_pipeline("aggregate", pipeline)
        checked_projection(into)
        documents = self._find((), with_children=True)
        query = documents.aggregate(stages, projection_model=cast("Any", into))
        return await query.to_list()

    async def stream(
        self, *filters: Filter, sort: Sort | None = None, batch_size: int | None = None
    ) -> AsyncGenerator[_T, None]:
        """Yield the documents that match, however many, holding one batch at a time.

        Args:
            filters: all must hold.
            sort: as in `find`.
            batch_size: documents per batch; 1,000 by default, or 16 MB if that is less.
        """
        options = {}
        if batch_size is not None:
            checked_count("batch_size", batch_size)
            options["batch_size"] = batch_size
        query = self._find(filters, sort=sort, **options)
        stream = RawStream(await query.get_cursor(), options)
        read, scope = reader(self._model), self._connection.scope
        try:
            async for raw in stream:
                yield in_scope(scope, read, raw)
                while stream.ready:
                    yield in_scope(scope, read, stream.ready.popleft())
        finally:
            await stream.aclose()

    # Pages

    async def page(
        self, *filters: Filter, sort: Sort | None = None, size: int = 20, number: int = 1
    ) -> Page[_T]:
        """Return a page by its number, counted from 1, with the number of all documents.

        ``_id`` is added to *sort*, so that no document appears on two pages.

        Raises:
            ValueError: *number* or *size* is below 1.
        """
        checked_count("number", number, least=1)
        checked_count("size", size, least=1)
        order = paging.with_id(sort_order(sort, id_alias=True))
        skip = (number - 1) * size
        items = await self._find(filters, sort=order).skip(skip).limit(size).to_list()
        # A page that is not full is the last, which tells the total.
        if 0 < len(items) < size or (number == 1 and not items):
            total = skip + len(items)
        else:
            total = await self.count(*filters)
        return Page(items=items, total=total, number=number, size=size)

    async def page_after(
        self, token: str | None = None, *filters: Filter, sort: Sort | None = None, size: int = 20
    ) -> KeysetPage[_T]:
        """Return the page that follows the one whose ``next`` is *token*; None for the first.

        The order is *sort*, then ``_id``; with an index on both, every page costs the same.

        Raises:
            InvalidPageToken: it is damaged, or of another collection or order.
            ValueError: *size* is below 1, or there is an array in a field that is sorted by.
        """
        checked_token(token)
        checked_count("size", size, least=1)
        order = paging.with_id(sort_order(sort, id_alias=True))
        name, options = self._model.get_collection_name(), self.collection.codec_options
        if token is not None:
            values = paging.decode_token(token, order, name, options)
            filters = (*filters, paging.after(order, values))
        query = self._find(filters, sort=order).limit(size + 1)
        cursor: Any = await query.get_cursor()
        found = await cursor.to_list()
        paging.check_sort_values(found, order)
        following = None
        if len(found) > size:
            following = paging.encode_token(found[size - 1], order, name, options)
        with self._scope():
            items: list[_T] = list_reader(self._model)(found[:size])
        return KeysetPage(items=items, next=following)

    # Writing

    async def add(self, document: _T) -> _T:
        """Insert a new document and return it, with its id.

        Raises:
            DuplicateKeyError: a unique index has its like already (PyMongo).
            TypeError: it is not of this repository's class.
        """
        self._check(document)
        known = plain(type(document))
        if known.inserts:
            await self._insert(known, document)
            return document
        with self._document_scope(document):
            return await document.insert()

    async def add_many(self, documents: Iterable[_T], *, ordered: bool = True) -> list[_T]:
        """Insert new documents in one go and return them, with their ids.

        As with Beanie's ``insert_many``, event actions (``before_event``) are not run.

        Args:
            documents: of this repository's class, or derived from it.
            ordered: stop at the first that is refused; else insert all that can be.

        Raises:
            BulkWriteError: some were refused (PyMongo); those inserted have their ids.
        """
        documents = checked_documents("add_many", documents)
        for document in documents:
            self._check(document)
        if not documents:
            return []
        with self._scope():
            with collector_paused():
                contents = [writing.new_content(document) for document in documents]
                insertions = dict(enumerate(zip(documents, contents, strict=True)))
            count = len(contents)
            with writing.settled(insertions, self._connection, count=count, ordered=ordered):
                await writing.insert_many(self.collection, contents, ordered=ordered)
        return documents

    async def save(self, document: _T) -> _T:
        """Insert the document, or overwrite the one with its id, and return it.

        Raises:
            RevisionIdWasChanged: somebody saved it since it was loaded (Beanie, ``use_revision``).
        """
        self._check(document)
        known = plain(type(document))
        if known.saves:
            id = id_of(document)
            if id is None:
                id = PydanticObjectId()
            changes = {"$set": known.new_content(document)}
            await self._write(known, document, id, changes, upsert=True)
            return document
        with self._document_scope(document):
            return await document.save()

    async def upsert(self, document: _T, *filters: Filter) -> _T:
        """Replace the document that matches, or insert this one; return it, with its id.

        Without filters it is the document's own id that must match. Two at a time may both
        insert, as with the server's own upsert, unless a unique index forbids it. When it fails,
        the document has the id and the revision that it had before.
        """
        with self._document_scope(document), writing.restored_on_failure(document):
            if not filters and document.id is None:
                return await document.insert()
            if await self._replace_match(document, filters):
                return document
            try:
                return await document.insert()
            except DuplicateKeyError:
                # Somebody was faster, or the filters are narrower than the unique index.
                if not await self._replace_match(document, filters):
                    raise
        return document

    async def _replace_match(self, document: _T, filters: tuple[Filter, ...]) -> bool:
        query = self._find(filters or ({"_id": document.id},))
        match = await self.collection.find_one(query.get_filter_query(), {"_id": 1})
        if match is None:
            return False
        try:
            with writing.restored_on_failure(document):
                document.id = checked_id(self._model, match["_id"])
                if self._model.get_settings().use_revision:
                    document.revision_id = writing.new_revision()
                await document.replace(ignore_revision=True)
        except beanie.exceptions.DocumentNotFound:
            return False  # it went while we looked
        return True

    async def update(self, document_or_id: _T | Any, changes: Mapping[str, Any]) -> _T:
        """Change one document and return it as it is afterwards.

        A document that is given is brought up to date and returned; its revision is compared and
        its event actions are run. Of an id a new object is returned.

        Args:
            document_or_id: a document of this repository's class, or an id.
            changes: update operators, for example ``{"$set": {"title": "Hi"}, "$inc": {"n": 1}}``.

        Raises:
            DocumentNotFound: it is not there.
            RevisionIdWasChanged: somebody saved it since it was loaded (Beanie, ``use_revision``).
        """
        expression = writing.checked_changes(changes)
        id = self._id_of(document_or_id)
        found: Any
        if self._is_document(document_or_id):
            known = plain(type(document_or_id))
            if known.updates:
                changes = encoded(expression)
                there = await self._write(known, document_or_id, id, changes, upsert=False)
            else:
                there = await self._update_document(document_or_id, expression)
            found = document_or_id if there else None
        else:
            found = await self._update_by_id(id, expression)
        if found is None:
            raise DocumentNotFound(self._model.__name__, id)
        return cast("_T", found)

    async def _update_document(self, document: _T, changes: Mapping[str, Any]) -> bool:
        with self._document_scope(document):
            try:
                await document.update(changes)
            except beanie.exceptions.DocumentNotFound:
                return False
        return True

    async def _update_by_id(self, id: Any, changes: dict[str, Any]) -> Any:
        known, connection = plain(self._model), self._connection
        if known.finds:
            if known.settings.use_revision:
                changes = writing.with_new_revision(changes)
            found = await connection.collection(self._model).find_one_and_update(
                {"_id": encoded_id(id)}, encoded(changes), return_document=ReturnDocument.AFTER
            )
            return None if found is None else in_scope(connection.scope, known.read, found)
        with self._scope():
            arguments: list[Any] = [changes]
            if known.settings.use_revision:
                arguments.append(_revision())
            query: Any = self._model.find_one({"_id": id}, with_children=True)
            return await query.update(*arguments, response_type=UpdateResponse.NEW_DOCUMENT)

    async def update_many(self, *filters: Filter, changes: Mapping[str, Any]) -> int:
        """Change all documents that match and return how many were modified.

        Raises:
            TypeError: there is no filter; ``{}`` is the one that all documents match.
        """
        self._require_filter("update_many", filters, "{}, changes=…")
        expression = writing.update_expression(self._model, changes)
        result: Any = await self._find(filters).update(expression)
        return int(result.modified_count)

    async def delete(self, document_or_id: _T | Any) -> None:
        """Delete one document; a `DocumentWithSoftDelete` is only marked.

        The event actions of a document that is given are run.

        Raises:
            DocumentNotFound: it is not there.
        """
        id = self._id_of(document_or_id)
        soft = issubclass(self._model, beanie.DocumentWithSoftDelete)
        if soft and not self._is_document(document_or_id):
            document_or_id = await self.get(id)
        if self._is_document(document_or_id):
            with self._document_scope(cast("_T", document_or_id)):
                result = await document_or_id.delete()
        elif plain(self._model).finds:
            result = await self.collection.delete_one({"_id": encoded_id(id)})
        else:
            with self._scope():
                result = await self._model.find_one({"_id": id}, with_children=True).delete()
        if result is not None and not result.deleted_count:
            raise DocumentNotFound(self._model.__name__, id)

    async def delete_many(self, *filters: Filter) -> int:
        """Delete all documents that match, for good, and return how many there were.

        Raises:
            TypeError: there is no filter; ``{}`` is the one that all documents match.
        """
        self._require_filter("delete_many", filters, "{}")
        result: Any = await self._find(filters).delete()
        return int(result.deleted_count)

    # Blocks

    def bulk(self, *, ordered: bool = True) -> Bulk[_T]:
        """Return a block that collects writes and sends them in one when it ends.

        ::

            async with pages.bulk() as batch:
                batch.add(Page(title="Hello"))
                batch.update(other, {"$inc": {"views": 1}})
            print(batch.result.inserted_count)
        """
        return Bulk(self, ordered=ordered)

    def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]] | None = None,
        *,
        resume_after: Mapping[str, Any] | None = None,
        full_document: str | None = "updateLookup",
    ) -> Watch[_T]:
        """Return the collection's changes: ``async with … as changes: async for change in …``.

        Args:
            pipeline: stages that choose and shape the events.
            resume_after: the `Change.resume_token` to go on behind.
            full_document: ``"updateLookup"`` brings the whole document with an update.
        """
        options = {"resume_after": resume_after, "full_document": full_document}
        given = {name: value for name, value in options.items() if value is not None}
        return Watch(
            self._connection, self._model, checked_pipeline("watch", pipeline or ()), given
        )

    def transaction(self, **options: Any) -> AbstractAsyncContextManager[AsyncClientSession]:
        """Return a transaction of the connection; see `Connection.transaction`."""
        return self._connection.transaction(**options)


def _revision() -> Any:
    operator: Any = SetRevisionId
    return operator(writing.new_revision())
