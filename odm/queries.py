"""Beanie's queries, each bound to the connection it was built on.

A query remembers its connection when it is made and enters its scope for the time of every step
that reaches the database or makes another query, and for no longer: between two steps of an
iteration the caller's own scope is in force.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, overload

from beanie.odm.cache import LRUCache
from beanie.odm.queries import aggregation, delete, find, update
from beanie.odm.queries.update import UpdateResponse
from beanie.odm.utils.projection import get_projection
from pydantic import BaseModel
from pymongo import ReturnDocument
from pymongo.errors import InvalidOperation

from odm.arguments import checked_count, checked_projection
from odm.binding import Binder, Scope, captured, current_scope, entered, in_scope
from odm.cursors import BATCH, LIST_BATCH, LongLists, RawStream
from odm.dumping import encoded_filter
from odm.projections import Projection, projection_of
from odm.reading import Read, ReadAll, list_reader, read_encoded, reader
from odm.sorting import Sort, sort_order

if TYPE_CHECKING:
    from odm.plain import Plain

_PAGE = 100
"""So few documents are asked for as one is: whole, where bytes are cheap (`odm.plain`)."""

_long_lists = LongLists()
_long_aggregations = LongLists()

_T = TypeVar("_T", bound=BaseModel)
_M = TypeVar("_M", bound=BaseModel)
_A = TypeVar("_A")
_Q = TypeVar("_Q", bound="type[ConnectionQuery]")


class ConnectionQuery:
    """What all queries have in common: the connection they were built on."""

    document_model: Any
    takes_itself: ClassVar[frozenset[str]] = frozenset()
    """The steps that a class takes in the connection's scope by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        model = kwargs["document_model"] if "document_model" in kwargs else args[0]
        self._binder: Binder | None = captured(model)
        super().__init__(*args, **kwargs)

    def _connection_scope(self) -> Scope | None:
        # Built before anything was connected: the first step decides.
        if self._binder is None:
            self._binder = captured(self.document_model)
        if self._binder is None:
            return None
        scope = current_scope()
        # Already there: the scope may say more than the connection (forced, a subject).
        if scope is not None and scope.binder is self._binder:
            return None
        return self._binder.scope


def _coroutine(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def step(self: ConnectionQuery, *args: Any, **kwargs: Any) -> Any:
        with entered(self._connection_scope()):
            return await method(self, *args, **kwargs)

    return step


def _builder(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def step(self: ConnectionQuery, *args: Any, **kwargs: Any) -> Any:
        with entered(self._connection_scope()):
            return method(self, *args, **kwargs)

    return step


def _awaited(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def step(self: ConnectionQuery) -> Generator[Any, Any, Any]:
        with entered(self._connection_scope()):
            return (yield from method(self))

    return step


_STEPS: dict[str, Callable[..., Any]] = {
    "__await__": _awaited,
    "to_list": _coroutine,
    "get_cursor": _coroutine,
    "count": _coroutine,
    "exists": _coroutine,
    "distinct": _coroutine,
    "first_or_none": _coroutine,
    "replace_one": _coroutine,
    "update": _builder,
    "upsert": _builder,
    "delete": _builder,
    "aggregate": _builder,
    "build_aggregation_pipeline": _builder,
    "get_filter_query": _builder,
}
"""The methods of Beanie's queries that ask for a collection or build another query."""


def _on_connection(query: _Q) -> _Q:
    """Class decorator: take every step in the scope of the query's connection."""
    for name, step in _STEPS.items():
        if hasattr(query, name) and name not in query.takes_itself:
            setattr(query, name, step(getattr(query, name)))
    return query


class DocumentsQuery(ConnectionQuery):
    """What finds many documents: a list of them, or one after the other."""

    lazy_parse: bool
    pymongo_kwargs: dict[str, Any]

    if TYPE_CHECKING:  # what Beanie's queries have

        async def get_cursor(self) -> Any:
            """Return the driver's cursor; nothing has been sent for it yet, or the first batch."""

        def get_projection_model(self) -> Any:
            """Return the model that the documents become; None: they stay as they are."""

        def _get_cache(self) -> Any: ...
        def _set_cache(self, data: Any) -> None: ...

    _stream: RawStream | None = None
    _read: Read

    async def __anext__(self) -> Any:
        stream = self._stream
        if stream is None:
            with entered(self._connection_scope()):
                stream = RawStream(await self.get_cursor(), self.pymongo_kwargs)
            self._stream, self._read = stream, self._reader()
        raw = stream.ready.popleft() if stream.ready else await self._fetched(stream)
        binder = self._binder
        return self._read(raw) if binder is None else in_scope(binder.scope, self._read, raw)

    async def _fetched(self, stream: RawStream) -> Any:
        with entered(self._connection_scope()):
            return await anext(stream)

    async def to_list(self, length: int | None = None) -> list[Any]:
        """Return the documents, *length* of them at most."""
        return await self._list(length)

    async def _list(self, length: int | None) -> list[Any]:
        found = self._get_cache()
        if found is None:
            cursor = await self.get_cursor()
            found = await cursor.to_list(length)
            self._set_cache(found)
        return self._list_reader()(list(found))  # what is found may be kept in the cache

    def _reader(self) -> Read:
        model = self.get_projection_model()
        return _as_it_is if model is None else reader(model, lazy=self.lazy_parse)

    def _list_reader(self) -> ReadAll:
        model = self.get_projection_model()
        return _as_it_is if model is None else list_reader(model, lazy=self.lazy_parse)


def _as_it_is(raw: Any) -> Any:
    return raw


def _projection(query: Any) -> Projection:
    # Beanie's caches tell models apart by the projections that it would make of them.
    if query.document_model.get_settings().use_cache:
        return cast("Projection", get_projection(query.projection_model))
    return projection_of(query.projection_model)


@_on_connection
class AggregationQuery(DocumentsQuery, aggregation.AggregationQuery[_A]):
    """An aggregation: ``to_list()`` or ``async for``."""

    def __aiter__(self) -> AsyncIterator[_A]:
        return self

    async def _list(self, length: int | None) -> list[Any]:
        model = self.document_model
        if length is not None or model.get_settings().use_cache:
            return await super()._list(length)
        if _long_aggregations.expected(model, 0):
            found = await self._long_list()
        else:
            found = await super()._list(None)
        _long_aggregations.learn(model, len(found))
        return found

    async def _long_list(self) -> list[Any]:
        collection = self.document_model.get_pymongo_collection()
        options = collection.codec_options
        if options.document_class is not dict:
            return await super()._list(None)
        pipeline = self.get_aggregation_pipeline()
        try:
            cursor = await collection.aggregate_raw_batches(
                pipeline, session=self.session, **self.pymongo_kwargs
            )
        except InvalidOperation:  # not where the driver encrypts
            return await super()._list(None)
        return read_encoded(self._list_reader(), await cursor.to_list(), options)


@_on_connection
class UpdateMany(ConnectionQuery, update.UpdateMany):
    """An update of many documents; await it."""


@_on_connection
class UpdateOne(ConnectionQuery, update.UpdateOne):
    """An update of one document; await it."""

    async def _update(self) -> Any:
        if self.bulk_writer or self.response_type is UpdateResponse.UPDATE_RESULT:
            result = await super()._update()  # type: ignore[no-untyped-call]  # of Beanie
        else:
            result = await self._update_and_read()
        scope = current_scope()
        if result is None and self.bulk_writer is None and scope is not None:
            _note_missed(scope, self.find_query)
        return result

    async def _update_and_read(self) -> Any:
        before = self.response_type is UpdateResponse.OLD_DOCUMENT
        found = await self.document_model.get_pymongo_collection().find_one_and_update(
            self.find_query,
            self.update_query,
            session=self.session,
            return_document=ReturnDocument.BEFORE if before else ReturnDocument.AFTER,
            **self.pymongo_kwargs,
        )
        return None if found is None else reader(self.document_model)(found)


def _note_missed(scope: Scope, find_query: Any) -> None:
    """Tell a document's own update that its document is gone: Beanie would merge a None."""
    subject = scope.subject
    if subject is not None and find_query.get("_id") == subject.id:
        scope.missed = True


@_on_connection
class DeleteMany(ConnectionQuery, delete.DeleteMany):
    """A deletion of many documents; await it."""


@_on_connection
class DeleteOne(ConnectionQuery, delete.DeleteOne):
    """A deletion of one document; await it."""


@_on_connection
class FindMany(DocumentsQuery, find.FindMany[_T]):
    """A search: nothing is sent until ``to_list()``, ``async for``, ``count()``, ….

    ``sort``, ``skip``, ``limit``, ``find`` and ``project`` change the query and return it.
    """

    UpdateQueryType = UpdateMany
    DeleteQueryType = DeleteMany
    AggregationQueryType = AggregationQuery

    takes_itself = frozenset({"to_list", "get_filter_query"})
    known: Plain | None = None
    """What is known of the class, if the query was made from it."""

    async def to_list(self, length: int | None = None) -> list[_T]:
        """Return the documents, *length* of them at most."""
        model, binder, limit = self.document_model, self._binder, self.limit_number
        if self.fetch_links or (self.known is None and model.get_settings().use_cache):
            with entered(self._connection_scope()):
                return await super().to_list(length)
        scope: Scope | None
        if binder is not None:
            collection, scope = binder.collection(model), binder.scope
        else:
            collection = model.get_pymongo_collection()
            scope = self._connection_scope() or current_scope()
        read: ReadAll = self._list_reader()
        if 0 < limit <= _PAGE or length is not None:
            found = await self._found(collection.find).to_list(length)
            return cast("list[_T]", in_scope(scope, read, found))
        cursor = self._raw_cursor(collection) if _long_lists.expected(model, limit) else None
        if cursor is None:
            cursor = self._found(collection.find, batch_size=self._list_batch())
        else:
            read = partial(read_encoded, read, options=collection.codec_options)
        documents: list[_T] = in_scope(scope, read, await cursor.to_list())
        if not limit:
            _long_lists.learn(model, len(documents))
        return documents

    def _list_batch(self) -> int:
        """Return the size of the batches of a list: one for all of it, if that is not too many."""
        limit, binder = self.limit_number, self._binder
        if 0 < limit <= BATCH:
            return limit
        # Where bytes are dear, the server's own batches of 16 MB are the fewest.
        return 0 if binder is None or binder.spares_bytes else LIST_BATCH

    def __aiter__(self) -> AsyncIterator[_T]:
        return self

    def get_filter_query(self) -> dict[str, Any]:
        """Return the filter as it is sent."""
        if self.known is None and (self.encoders or self.document_model.get_link_fields()):
            with entered(self._connection_scope()):
                return super().get_filter_query()
        return encoded_filter(self.find_expressions)

    def _fields(self) -> Projection:
        known = self.known
        if known is None or known.model is not self.projection_model:
            return _projection(self)
        if 0 < self.limit_number <= _PAGE and self._binder and not self._binder.spares_bytes:
            return known.asked
        return known.projection

    def _reader(self) -> Read:
        known = self.known
        if known is None or known.model is not self.projection_model or self.lazy_parse:
            return super()._reader()
        return known.read_one if 0 < self.limit_number <= _PAGE else known.read

    def _list_reader(self) -> ReadAll:
        known = self.known
        if known is None or known.model is not self.projection_model or self.lazy_parse:
            return super()._list_reader()
        return known.read_page if 0 < self.limit_number <= _PAGE else known.read_all

    async def get_cursor(self) -> Any:
        """Return the driver's cursor; with links to fetch its first batch is there."""
        if self.fetch_links:
            return await super().get_cursor()
        return self._found(self.document_model.get_pymongo_collection().find)

    def _raw_cursor(self, collection: Any) -> Any:
        """Return a cursor whose batches come as BSON; None: only decoded ones are to be had."""
        if collection.codec_options.document_class is not dict:
            return None
        try:
            return self._found(collection.find_raw_batches)
        except InvalidOperation:  # the driver encrypts
            return None

    def _found(self, find: Callable[..., Any], **options: Any) -> Any:
        is_usual = self.known is not None
        return find(
            filter=encoded_filter(self.find_expressions) if is_usual else self.get_filter_query(),
            sort=self.sort_expressions,
            projection=self._fields(),
            skip=self.skip_number,
            limit=self.limit_number,
            session=self.session,
            **(self.pymongo_kwargs or options),
        )

    def sort(self, *args: Sort | None) -> FindMany[_T]:
        """Add to the sort order; see `odm.sorting.Sort`.

        Raises:
            ValueError: it cannot be understood; the message says what to write.
        """
        for sort in args:
            self.sort_expressions += sort_order(sort)
        return self

    def skip(self, n: int | None) -> FindMany[_T]:
        """Pass over so many documents.

        Raises:
            TypeError: *n* is no whole number.
            ValueError: *n* is negative.
        """
        if n is not None:
            checked_count("skip", n)
        super().skip(n)
        return self

    def limit(self, n: int | None) -> FindMany[_T]:
        """Return so many documents at most; 0 means all.

        Raises:
            TypeError: *n* is no whole number.
            ValueError: *n* is negative.
        """
        if n is not None:
            checked_count("limit", n)
        super().limit(n)
        return self

    @overload
    def project(self, projection_model: None) -> FindMany[_T]: ...
    @overload
    def project(self, projection_model: type[_M]) -> FindMany[_M]: ...
    def project(self, projection_model: Any) -> Any:
        """Return documents of another model, and fetch its fields only.

        Raises:
            TypeError: it is no class of pydantic's.
        """
        checked_projection(projection_model)
        super().project(projection_model)
        return self


@_on_connection
class FindOne(ConnectionQuery, find.FindOne[_T]):
    """A search for one document; await it for the document or None."""

    UpdateQueryType = UpdateOne
    DeleteQueryType = DeleteOne
    AggregationQueryType = AggregationQuery

    def __await__(self) -> Generator[Any, Any, Any]:
        found = yield from self._cached_or_found().__await__()
        if found is None or type(found) is self.projection_model:
            return found
        return reader(self.projection_model)(found)

    async def _find_one(self) -> Any:
        if self.fetch_links:
            return await super()._find_one()  # type: ignore[no-untyped-call]  # of Beanie
        return await self.document_model.get_pymongo_collection().find_one(
            filter=self.get_filter_query(),
            projection=_projection(self),
            session=self.session,
            **self.pymongo_kwargs,
        )

    async def _cached_or_found(self) -> Any:
        if self.ignore_cache or not self.document_model.get_settings().use_cache:
            return await self._find_one()
        key = LRUCache.create_key(  # type: ignore[no-untyped-call]  # of Beanie
            "FindOne",
            self.get_filter_query(),
            self.projection_model,
            self.session,
            self.fetch_links,
        )
        found = self.document_model._cache.get(key)
        if found is None:
            found = await self._find_one()
            self.document_model._cache.set(key, found)
        return found
