"""What is known of a document class once and for all, so that point operations need not ask.

Beanie's methods ask a class the same questions on every call: for its settings, links, ancestors,
event actions. A `Plain` has the answers, and says which operations are one command of the driver's
and nothing else. Whatever is special to a class, or overridden in it, is left to Beanie.

This module knows neither connections nor repositories.
"""

from __future__ import annotations

from typing import Any

from beanie import PydanticObjectId
from beanie.odm.actions import ActionDirections, ActionRegistry, EventTypes
from beanie.odm.settings.document import DocumentSettings
from beanie.odm.utils.typing import extract_id_class
from bson import ObjectId

from odm.arguments import checked_id
from odm.document import Document
from odm.dumping import Content
from odm.metaclass import Epoch
from odm.projections import Projection, names_known, projection_of
from odm.queries import ConnectionQuery, FindMany
from odm.reading import Read, ReadAll, list_reader, reader
from odm.updating import is_plain, sets_plainly, updates_plainly

_KEPT = "__odm_plain__"
_QUERY_LISTS = {"find_expressions", "sort_expressions", "pymongo_kwargs"}


class Plain:
    """The answers for one class.

    Attributes:
        model: the class.
        settings: of the class.
        epoch: of the answers: in another one they may be others.
        projection: which fields are fetched.
        asked: the same for one document, or a page, where bytes are cheap: None, to spare the
            server the work, until one has come with fields that the class does not have.
        read: makes a document, in the scope of a connection, and ``read_all`` many.
        read_one: the same of one that may have come whole, and ``read_page`` of a page of them.
        finds: one document is found by the filter given, changed and deleted by its id.
        lists: many are found by the filters given.
        makes_ids: new documents get a `PydanticObjectId` unless they have an id.
        inserts: a document is inserted, and nothing happens before or after.
        updates: a document is changed, and nothing happens before or after.
        saves: the same of ``save()``.
    """

    __slots__ = (
        "_content",
        "_id_class",
        "_names",
        "_query",
        "asked",
        "epoch",
        "finds",
        "inserts",
        "lists",
        "makes_ids",
        "model",
        "projection",
        "read",
        "read_all",
        "read_one",
        "read_page",
        "saves",
        "settings",
        "updates",
    )

    def __init__(self, model: Any) -> None:
        self.model = model
        self.settings = settings = model.get_settings()
        self.epoch = _watched(settings)
        id_class: type = extract_id_class(model.model_fields["id"].annotation)
        self.makes_ids = id_class is PydanticObjectId
        # What is an ObjectId finds what is a PydanticObjectId, and need not become one first.
        self._id_class = ObjectId if self.makes_ids else id_class
        self._content = Content(model, settings)
        self.projection: Projection = projection_of(model)
        self.read: Read = reader(model)
        self.read_all: ReadAll = list_reader(model)
        plain = is_plain(model) and not settings.use_cache
        self.finds = plain and _is(model, "get")
        self._query = _query(model) if plain and _is(model, "find_many") else None
        self.lists = self._query is not None
        self._names = names_known(model) if self.finds else None
        self.asked = self.projection if self._names is None else None
        self.read_one, self.read_page = self.read, self.read_all
        if self._names is not None:
            self.read_one, self.read_page = self._read_whole, self._read_whole_page
        writes = plain and sets_plainly(model) and not settings.use_state_management
        self.updates = writes and updates_plainly(model) and _is(model, "update")
        writes = writes and not settings.validate_on_save and _is(model, "validate_self")
        writes = writes and not _acts(model, EventTypes.VALIDATE_ON_SAVE)
        self.inserts = writes and _is(model, "insert") and not _acts(model, EventTypes.INSERT)
        self.saves = (
            writes
            and self.updates
            and settings.keep_nulls
            and _is(model, "save")
            and not _acts(model, EventTypes.SAVE)
        )

    def checked_id(self, id: Any) -> Any:
        """Return what finds the document with an id; raises as `odm.arguments.checked_id`."""
        return id if isinstance(id, self._id_class) else checked_id(self.model, id)

    def _read_whole(self, raw: Any) -> Any:
        if self._names is not None and not self._names.issuperset(raw):
            self._ask_for_fields()
        return self.read(raw)

    def _read_whole_page(self, found: list[Any]) -> list[Any]:
        # Not each of them is looked through: pages are read again and again.
        if self._names is not None and (
            max(map(len, found), default=0) > len(self._names)
            or not self._names.issuperset(found[0] if found else ())
        ):
            self._ask_for_fields()
        return self.read_all(found)

    def _ask_for_fields(self) -> None:
        self.asked, self.read_one, self.read_page = self.projection, self.read, self.read_all

    def query(self, binder: Any, filters: tuple[Any, ...], order: list[Any]) -> FindMany[Any]:
        """Return a query on a connection. For a class that `lists`."""
        query = FindMany.__new__(FindMany)
        query.__dict__ = {
            **(self._query or {}),
            "_binder": binder,
            "known": self,
            "find_expressions": list(filters),
            "sort_expressions": order,
            "pymongo_kwargs": {},
        }
        return query

    def new_content(self, document: Any) -> dict[str, Any]:
        """Return what is inserted for a new document. For a class that `inserts`."""
        return self._content.of(document, keep_nulls=self.settings.keep_nulls)

    def __deepcopy__(self, memo: dict[int, Any]) -> Plain:
        return self  # queries are copied


def plain(model: Any) -> Plain:
    """Return what is known of a document class."""
    known: Plain | None = model.__odm_plain__
    if known is None or known.model is not model or known.epoch is not Epoch.current:
        known = Plain(model)
        type.__setattr__(model, _KEPT, known)  # past the metaclass: it is no change of the class
    return known


class _WatchedSettings(DocumentSettings):
    """Settings with which an epoch ends when one of them is switched."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        Epoch.current = Epoch()


def _watched(settings: Any) -> Epoch | None:
    """Return the epoch in which *settings* are what they are now; None: that cannot be told."""
    if type(settings) is DocumentSettings:
        object.__setattr__(settings, "__class__", _WatchedSettings)
    return Epoch.current if type(settings) is _WatchedSettings else None


def _is(model: Any, method: str) -> bool:
    """Whether a method is the one of `Document`."""
    ours, found = getattr(Document, method), getattr(model, method)
    return getattr(found, "__func__", found) is getattr(ours, "__func__", ours)


def _acts(model: Any, event: EventTypes) -> bool:
    return any(ActionRegistry.get_action_list(model, event, way) for way in ActionDirections)


def _query(model: Any) -> dict[str, Any] | None:
    """Return the attributes of a new query, None if it is not the usual one."""
    if model._find_many_query_class is not FindMany:
        return None
    query = FindMany.__new__(FindMany)
    super(ConnectionQuery, query).__init__(document_model=model)  # there is no connection yet
    attributes = dict(vars(query))
    lists = {name for name, value in attributes.items() if isinstance(value, list | dict | set)}
    return attributes if lists - {"encoders"} == _QUERY_LISTS else None
