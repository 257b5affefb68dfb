"""What must exist in a database for the models: time-series collections, views, indexes.

Everything a model needs on one connection, as `odm.initialise` is everything it needs on none.
Commands are as few as can be: two for the database, one ``createIndexes`` per collection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import beanie
from beanie.exceptions import MongoDBVersionError
from beanie.odm.cache import LRUCache
from beanie.odm.fields import IndexModelField
from beanie.odm.utils.typing import get_index_attributes
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from odm.binding import Binder, Binding, entered
from odm.initialise import initialise, register_names
from odm.metaclass import is_base

_TIMESERIES_SINCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaOptions:
    """What `prepare` may do.

    Attributes:
        create_indexes: create the indexes that the models declare.
        allow_index_dropping: drop the others, `_id`'s excepted.
        recreate_views: drop and create views that exist already.
    """

    create_indexes: bool = True
    allow_index_dropping: bool = False
    recreate_views: bool = False


async def prepare(
    binder: Binder, database: AsyncDatabase[Any], models: Sequence[Any], options: SchemaOptions
) -> None:
    """Bind classes of ours on a connection and create what they need in its database.

    Raises:
        MongoDBVersionError: a time-series collection on a server older than 5.0 (Beanie).
        OperationFailure: the server refuses a collection, a view or an index.
    """
    for model in models:
        register_names(model)
    for model in models:
        initialise(model)
    build_info, existing = await asyncio.gather(
        database.command({"buildInfo": 1}),
        database.list_collection_names(authorizedCollections=True, nameOnly=True),
    )
    major_version = int(build_info["version"].split(".")[0])
    documents = [model for model in _with_roots(models) if issubclass(model, beanie.Document)]
    views = [model for model in models if issubclass(model, beanie.View)]
    unions = [model for model in models if issubclass(model, beanie.UnionDoc)]
    for model in (*documents, *views, *unions):
        binder.bindings[model] = Binding(
            database[model.get_collection_name()], major_version, _cache(model)
        )
    await _create_timeseries(database, documents, existing, major_version)
    if options.create_indexes:
        await _create_indexes(database, documents, options)
    for view in views:
        await _create_view(database, view, existing, options)


async def run_custom_init(binder: Binder, models: Sequence[Any]) -> None:
    """Call ``custom_init()`` of the classes that have one (Beanie), on an open connection."""
    for model in models:
        if hasattr(model, "custom_init"):
            with entered(binder.scope):
                await model.custom_init()


def _with_roots(models: Iterable[Any]) -> list[Any]:
    """Return the models and the classes that stand above them in inheritance trees."""
    found: dict[Any, None] = {}
    for model in models:
        for base in reversed(model.__mro__):
            if getattr(base, "_inheritance_inited", False) and base not in found:
                found[base] = None
        found[model] = None
    return list(found)


def _cache(model: Any) -> LRUCache | None:
    settings = model.get_settings()
    if not settings.use_cache:
        return None
    return LRUCache(settings.cache_capacity, settings.cache_expiration_time)


async def _create_timeseries(
    database: AsyncDatabase[Any], documents: list[Any], existing: list[str], major_version: int
) -> None:
    for model in documents:
        settings = model.get_settings()
        if settings.timeseries is None:
            continue
        if major_version < _TIMESERIES_SINCE:
            raise MongoDBVersionError(
                f"{model.__name__} is a time series, which MongoDB has since 5.0:"
                f" this server is {major_version}"
            )
        if settings.name not in existing:
            await database.create_collection(**settings.timeseries.build_query(settings.name))
            existing.append(settings.name)


async def _create_indexes(
    database: AsyncDatabase[Any], documents: list[Any], options: SchemaOptions
) -> None:
    # Classes of one tree share a collection, so no class alone knows which indexes belong to it.
    wanted: dict[str, list[IndexModelField]] = {}
    for model in documents:
        indexes = wanted.setdefault(model.get_collection_name(), [])
        indexes += [index for index in declared_indexes(model) if index not in indexes]
    await asyncio.gather(
        *(_create_on(database[name], indexes, options) for name, indexes in wanted.items())
    )


async def _create_on(
    collection: Any, indexes: list[IndexModelField], options: SchemaOptions
) -> None:
    if options.allow_index_dropping:
        information = await collection.index_information()
        present = IndexModelField.from_pymongo_index_information(information)
        for index in IndexModelField.list_difference(present, indexes):
            await collection.drop_index(index.name)
    if indexes:
        await collection.create_indexes(IndexModelField.list_to_index_model(indexes))


def declared_indexes(model: Any) -> list[IndexModelField]:
    """Return the indexes of ``Indexed`` fields and of ``Settings.indexes``.

    Of two on the same keys the more deliberate one wins: ``Settings`` over a field, and with
    ``merge_indexes`` a subclass over its base.
    """
    fields = [
        IndexModelField(IndexModel([(field.alias or name, indexed[0])], **indexed[1]))
        for name, field in model.model_fields.items()
        if (indexed := get_index_attributes(field)) is not None
    ]
    settings = model.get_settings()
    if not settings.merge_indexes:
        return _override(fields, settings.indexes)
    for base in reversed(model.__mro__):
        if issubclass(base, beanie.Document) and base is not beanie.Document and not is_base(base):
            fields = _override(fields, base.get_settings().indexes)
    return fields


def _override(indexes: list[IndexModelField], by: list[IndexModelField]) -> list[IndexModelField]:
    overridden = [_keys(index) for index in by]
    return [index for index in indexes if _keys(index) not in overridden] + by


def _keys(index: IndexModelField) -> list[tuple[str, Any]]:
    return list(index.index.document["key"].items())


async def _create_view(
    database: AsyncDatabase[Any], view: Any, existing: list[str], options: SchemaOptions
) -> None:
    settings = view.get_settings()
    if settings.name in existing:
        if not options.recreate_views:
            return
        await database[settings.name].drop()
    await database.command(
        {"create": settings.name, "viewOn": settings.source, "pipeline": settings.pipeline}
    )
