"""What a repository is before it reads or writes: a class, a connection, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, cast

import beanie
from beanie import PydanticObjectId
from pydantic import BaseModel
from pymongo import ReturnDocument

from odm.arguments import checked_filters, checked_id
from odm.binding import Binder, entered, in_scope
from odm.document import Document
from odm.dumping import SCALARS, encoded_id
from odm.operations import document_scope
from odm.plain import Plain, plain
from odm.queries import FindMany
from odm.sorting import sort_order
from odm.updating import take_over_plainly

if TYPE_CHECKING:
    from odm.connection import Connection

_T = TypeVar("_T", bound=Document)

Filter: TypeAlias = Mapping[Any, Any] | bool
"""A Beanie expression (which a type checker takes for a bool) or a MongoDB filter."""


_attribute: Any = object.__getattribute__  # past that of lazy_model, which is written in Python


def id_of(document: Any) -> Any:
    """Return ``document.id``."""
    id = _attribute(document, "__dict__").get("id", NotImplemented)
    return id if type(id) in SCALARS else document.id  # lazily parsed, perhaps


class RepositoryBase(Generic[_T]):
    """The part of `odm.repository.Repository` that its methods stand on."""

    _declared_model: ClassVar[type[Document] | None] = None

    def __init__(self, connection: Connection, model: type[_T] | None = None) -> None:
        self._connection = connection
        self._model = self._checked_model(model)
        given: object = connection
        if not isinstance(given, Binder):
            name = self._model.__name__
            raise TypeError(
                f"a repository takes a connection, not a {type(given).__name__}: write"
                f" 'async with connect(url, models=[{name}]) as db: Repository(db, {name})'"
            )
        connection.binding(self._model)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            origin = getattr(base, "__origin__", None)
            if isinstance(origin, type) and issubclass(origin, RepositoryBase):
                model = base.__args__[0]
                if isinstance(model, type) and issubclass(model, beanie.Document):
                    cls._declared_model = cast("type[Document]", model)

    def _checked_model(self, model: Any) -> type[_T]:
        name = type(self).__name__
        found = model if model is not None else self._declared_model
        if found is None:
            raise TypeError(
                f"{name} does not say whose repository it is: write {name}(db, Page)"
                f" (Python does not tell what stands in the brackets of {name}[Page](db)),"
                f" or 'class PageRepository({name}[Page])' and PageRepository(db)"
            )
        if not isinstance(found, type) or not issubclass(found, Document):
            raise TypeError(f"{found!r} is no document class: derive it from odm.Document")
        declared = self._declared_model
        if declared is not None and not issubclass(found, declared):
            raise TypeError(f"{name} is the repository of {declared.__name__}, not {found!r}")
        return cast("type[_T]", found)

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self._connection

    @property
    def model(self) -> type[_T]:
        """The document class."""
        return self._model

    @property
    def collection(self) -> Any:
        """The driver's collection, in the transaction that is running, if any.

        Raises:
            NotConnected: the connection is closed.
        """
        return self._connection.collection(self._model)

    def _scope(self) -> entered:
        # Fail where the call is made, not where its query is awaited.
        self._connection.binding(self._model)
        return entered(self._connection.scope)

    def _document_scope(self, document: _T) -> entered:
        self._check(document)
        self._connection.binding(self._model)
        return entered(document_scope(self._connection, document))

    def _check(self, document: Any) -> None:
        if not isinstance(document, self._model):
            raise TypeError(
                f"this is the repository of {self._model.__name__}, not of"
                f" {type(document).__name__}: write db.repository({type(document).__name__})"
                if isinstance(document, beanie.Document)
                else f"expected a {self._model.__name__}, got {document!r}"
            )

    def _is_document(self, document_or_id: Any) -> bool:
        kind = type(document_or_id)
        if kind is not self._model:
            # An id is hardly ever asked: pydantic's classes answer in Python.
            if kind in SCALARS or not isinstance(document_or_id, BaseModel):
                return False
            self._check(document_or_id)
        return True

    def _id_of(self, document_or_id: Any) -> Any:
        known = plain(self._model)
        if not self._is_document(document_or_id):
            return known.checked_id(document_or_id)
        id = id_of(document_or_id)
        if id is None:
            raise ValueError(f"this {self._model.__name__} has no id: add it first")
        return known.checked_id(id)

    def _require_filter(self, method: str, filters: tuple[Filter, ...], all_of_them: str) -> None:
        # Filters may come from a list that happens to be empty: everything must be asked for.
        if not filters:
            raise TypeError(
                f"{method}() without a filter would reach every {self._model.__name__}:"
                f" if that is meant, write {method}({all_of_them})"
            )

    def _find(self, filters: tuple[Filter, ...], sort: Any = None, **options: Any) -> FindMany[_T]:
        order = [] if sort is None else sort_order(sort, id_alias=True)
        connection, model = self._connection, self._model
        connection.binding(model)
        given = checked_filters(filters)
        known = plain(model)
        if known.lists and not options:
            return known.query(connection, given, order)
        with entered(connection.scope):
            sorting: Any = order or None
            found: Any = model.find_many(*given, sort=sorting, **options)
            return cast("FindMany[_T]", found)

    async def _insert(self, known: Plain, document: _T) -> None:
        connection = self._connection
        content = known.new_content(document)
        if known.makes_ids and "_id" not in content:
            # As the driver would, which makes an ObjectId, of which we would make another.
            content["_id"] = PydanticObjectId()
        await connection.collection(known.model).insert_one(content)
        id = content["_id"]
        if type(id) is not PydanticObjectId or not known.makes_ids:
            id = checked_id(known.model, id)
        _attribute(document, "__dict__")["id"] = id
        _attribute(document, "__pydantic_fields_set__").add("id")
        _attribute(document, "__pydantic_private__")["_odm_home"] = connection.home

    async def _write(
        self, known: Plain, document: _T, id: Any, changes: Mapping[str, Any], *, upsert: bool
    ) -> bool:
        """Change a document, and return whether it was there; bring it up to date."""
        connection = self._connection
        found = await connection.collection(known.model).find_one_and_update(
            {"_id": encoded_id(id)}, changes, upsert=upsert, return_document=ReturnDocument.AFTER
        )
        if found is None:
            return False
        take_over_plainly(document, in_scope(connection.scope, known.read, found))
        _attribute(document, "__pydantic_private__")["_odm_home"] = connection.home
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._model.__name__} on {self._connection!r}>"
