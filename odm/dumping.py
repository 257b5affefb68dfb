"""What is sent of documents, filters and updates: what Beanie's ``Encoder`` makes of them, faster.

For every value, Beanie goes through a list of types with ``isinstance``, and for every field of
every document it asks for its alias and whether it is left out. The answers are the same for all
values of a type; here they are looked up by the type. Whatever is out of the ordinary (links,
inheritance, unions, ``bson_encoders``, lazily parsed documents, an ``__iter__`` of the class's own)
is left to Beanie, and so is everything once somebody has added to Beanie's table of encoders.

This module knows neither queries nor connections.
"""

from __future__ import annotations

import datetime
import weakref
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, TypeAlias, cast

import beanie
import bson
from beanie.odm.utils.dump import get_dict
from beanie.odm.utils.encoder import BSON_SCALAR_TYPES, DEFAULT_CUSTOM_ENCODERS, Encoder
from beanie.odm.utils.relations import resolve_query_paths
from lazy_model.nao import NAO  # type: ignore[import-untyped]  # it ships no types
from pydantic import BaseModel, RootModel

_Way: TypeAlias = Callable[[Any, Encoder], Any]
_Names: TypeAlias = dict[str, str | None]

SCALARS = frozenset(
    {
        *BSON_SCALAR_TYPES,
        bool,
        bson.Int64,
        beanie.PydanticObjectId,
        datetime.datetime,
    }
)
"""Types, not their subclasses, whose values are sent as they are."""

_FILTER = Encoder()
_ALL = Encoder(to_db=True)
_WITHOUT_NULLS = Encoder(to_db=True, keep_nulls=False)

_ENCODERS = len(DEFAULT_CUSTOM_ENCODERS)
"""So many know how Beanie encodes; with more of them, which may be for anything, Beanie does."""

_pydantics_iter = BaseModel.__iter__
_ways: weakref.WeakKeyDictionary[type, _Way] = weakref.WeakKeyDictionary()
_documents: weakref.WeakKeyDictionary[type, Content] = weakref.WeakKeyDictionary()


def encoded(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a filter or an update as it is sent, for a class without encoders of its own."""
    found = _plainly(mapping)
    if found is not None:
        return found
    if len(DEFAULT_CUSTOM_ENCODERS) != _ENCODERS:
        return cast("dict[str, Any]", Encoder().encode(mapping))
    return cast("dict[str, Any]", _dump(mapping, _FILTER))


def _plainly(mapping: Any) -> dict[str, Any] | None:
    """Return a copy of a mapping all of which is sent as it is; None: something in it may not.

    Most filters and updates are like that, and need not be asked for links, nor gone through twice.
    """
    if type(mapping) is not dict or len(DEFAULT_CUSTOM_ENCODERS) != _ENCODERS:
        return None
    found: dict[str, Any] = {}
    for name, value in mapping.items():
        kind = type(value)
        if type(name) is not str:
            return None
        if kind in SCALARS:
            found[name] = value
        elif kind is list and SCALARS.issuperset(map(type, value)):
            found[name] = value[:]
        elif (inner := _plainly(value)) is not None:
            found[name] = inner
        else:
            return None
    return found


def encoded_id(id: Any) -> Any:
    """Return an id as it is sent, for a class without encoders of its own."""
    return id if type(id) in SCALARS else encoded({"_id": id})["_id"]


def encoded_filter(filters: Sequence[Any]) -> dict[str, Any]:
    """Return the filter that documents pass which pass all *filters*, as it is sent.

    For a class without encoders of its own; links may be inside of its nested models.
    """
    if not filters:
        return {}
    if len(filters) == 1 and (found := _plainly(filters[0])) is not None:
        return found
    paths: Any = [resolve_query_paths(given, cast("Any", None), False) for given in filters]
    return encoded(paths[0] if len(paths) == 1 else {"$and": paths})


def content(document: Any, *, keep_nulls: bool) -> dict[str, Any]:
    """Return what is stored of a document: Beanie's ``get_dict(document, to_db=True)``."""
    model = type(document)
    known = _documents.get(model)
    settings = model.get_settings()
    if (
        known is None
        or known.validator is not model.__pydantic_validator__
        or known.use_revision is not settings.use_revision
    ):
        known = _documents[model] = Content(model, settings)
    return known.of(document, keep_nulls=keep_nulls)


class Content:
    """What is stored of the documents of a class.

    Attributes:
        validator: of the class, from which this was made: another one, another content.
        use_revision: whether the revision is stored.
        names: of the fields, and the names under which they are stored, None for those that are
            not; None instead of all: Beanie's business.
    """

    __slots__ = ("names", "use_revision", "validator")

    def __init__(self, model: Any, settings: Any) -> None:
        self.validator = model.__pydantic_validator__
        self.use_revision = settings.use_revision
        self.names: _Names | None = None
        if not (
            settings.union_doc is not None
            or model._class_id
            or settings.bson_encoders
            or model.get_link_fields()
            or model.__iter__ is not _pydantics_iter
        ):
            self.names = _names(model)
            if settings.use_revision and "revision_id" in self.names:
                self.names["revision_id"] = "revision_id"

    def of(self, document: Any, *, keep_nulls: bool) -> dict[str, Any]:
        """Return what is stored of a document of the class."""
        found = None
        if self.names is not None and len(DEFAULT_CUSTOM_ENCODERS) == _ENCODERS:
            found = _fields(self.names, document, _ALL if keep_nulls else _WITHOUT_NULLS)
        if found is None:
            return cast("dict[str, Any]", get_dict(document, to_db=True, keep_nulls=keep_nulls))
        return found


def _fields(names: _Names, document: Any, encoder: Encoder) -> dict[str, Any] | None:
    values: dict[str, Any] = object.__getattribute__(document, "__dict__")
    if not names.keys() <= values.keys():
        return None  # a document of model_construct(), perhaps: Beanie complains
    found = {}
    for name, value in values.items():
        if value is None:
            if not encoder.keep_nulls:
                continue
        elif value is NAO:
            return None  # lazily parsed
        key = names[name] if name in names else _unknown(name)
        if key is not None and (value is not None or key != "_id"):
            found[key] = value if type(value) in SCALARS else _dump(value, encoder)
    if extra := document.__pydantic_extra__:
        _add_extra(found, extra, encoder)
    return found


def _unknown(name: str) -> str | None:
    # What a cached_property has left, for example.
    return None if name.startswith("_") else name


def _names(model: Any) -> _Names:
    return {
        name: None if info.exclude is True else info.alias or name
        for name, info in model.model_fields.items()
    }


def _add_extra(found: dict[str, Any], extra: Mapping[str, Any], encoder: Encoder) -> None:
    for name, value in extra.items():
        if value is not None or encoder.keep_nulls:
            found[name] = _dump(value, encoder)


def _dump(value: Any, encoder: Encoder) -> Any:
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is dict:
        return {
            name if type(name) is str else _name(name): item
            if type(item) in SCALARS
            else _dump(item, encoder)
            for name, item in value.items()
        }
    if kind is list:
        return [item if type(item) in SCALARS else _dump(item, encoder) for item in value]
    way = _ways.get(kind)
    if way is None:
        way = _ways[kind] = _way(kind)
    return way(value, encoder)


def _name(name: Any) -> Any:
    return name if isinstance(name, Enum) else str(name)


def _way(kind: type) -> _Way:
    """Return how Beanie's encoder treats values of a type, of which there is more than one."""
    if issubclass(kind, BSON_SCALAR_TYPES):
        return _as_it_is
    if kind in DEFAULT_CUSTOM_ENCODERS:
        return partial(_by_table, kind)
    for known in DEFAULT_CUSTOM_ENCODERS:
        if issubclass(kind, known):
            return partial(_by_table, known)
    if (
        issubclass(kind, BaseModel)
        and not issubclass(kind, RootModel | beanie.Document)
        and kind.__iter__ is _pydantics_iter
        and kind.__pydantic_complete__
    ):
        return partial(_model, kind.__pydantic_fields__, _names(kind))
    if issubclass(kind, Mapping) and not issubclass(kind, BaseModel):
        return _mapping
    return _beanies


def _as_it_is(value: Any, encoder: Encoder) -> Any:
    return value


def _by_table(known: type, value: Any, encoder: Encoder) -> Any:
    return DEFAULT_CUSTOM_ENCODERS[known](value)


def _beanies(value: Any, encoder: Encoder) -> Any:
    return encoder.encode(value)


def _mapping(value: Any, encoder: Encoder) -> Any:
    return {_name(name): _dump(item, encoder) for name, item in value.items()}


def _model(fields: Any, names: _Names, value: Any, encoder: Encoder) -> Any:
    if type(value).__pydantic_fields__ is not fields:  # built anew
        names = _names(type(value))
    found: dict[str, Any] = {}
    for name, item in value.__dict__.items():
        key = names[name] if name in names else _unknown(name)
        if key is not None and (item is not None or encoder.keep_nulls):
            found[key] = item if type(item) in SCALARS else _dump(item, encoder)
    if extra := value.__pydantic_extra__:
        _add_extra(found, extra, encoder)
    return found
