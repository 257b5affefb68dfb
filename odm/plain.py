"""What is known of a document class once and for all, so that point operations need not ask.

Beanie's methods ask a class the same questions on every call: for its settings, links, ancestors,
event actions. A `Plain` has the answers, and says which operations are one command of the driver's
and nothing else. Whatever is special to a class, or overridden in it, is left to Beanie.

This module knows neither connections nor repositories.
"""

from __future__ import annotations

from typing import Any

from beanie.odm.actions import ActionDirections, ActionRegistry, EventTypes
from beanie.odm.utils.typing import extract_id_class

from odm import metaclass
from odm.arguments import checked_id
from odm.document import Document
from odm.dumping import content
from odm.projections import Projection, projection_of
from odm.queries import ConnectionQuery, FindMany
from odm.reading import Read, reader
from odm.updating import is_plain, sets_plainly, updates_plainly

_KEPT = "__odm_plain__"
_QUERY_LISTS = {"find_expressions", "sort_expressions", "pymongo_kwargs"}


class Plain:
    """The answers for one class.

    Attributes:
        id_class: the type of its ids.
        projection: which fields are fetched.
        read: makes a document, in the scope of a connection.
        finds: one document is found by the filter given, changed and deleted by its id.
        lists: many are found by the filters given.
        inserts: a document is inserted, and nothing happens before or after.
        updates: a document is changed, and nothing happens before or after.
        saves: the same of ``save()``.
    """

    __slots__ = (
        "_epoch",
        "_query",
        "_settings",
        "_state",
        "_validator",
        "finds",
        "id_class",
        "inserts",
        "lists",
        "model",
        "projection",
        "read",
        "saves",
        "sets",
        "updates",
    )

    def __init__(self, model: Any) -> None:
        self.model = model
        self._settings = settings = model.get_settings()
        self._state = _state(settings)
        self._epoch = metaclass.epoch()
        self._validator = model.__pydantic_validator__
        self.id_class: type = extract_id_class(model.model_fields["id"].annotation)
        self.projection: Projection = projection_of(model)
        self.read: Read = reader(model)
        self.sets = sets_plainly(model)
        plain = is_plain(model) and not settings.use_cache
        self.finds = plain and _is(model, "get")
        self._query = _query(model) if plain and _is(model, "find_many") else None
        self.lists = self._query is not None
        writes = plain and self.sets and not settings.use_state_management
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

    def holds(self) -> bool:
        """Whether the class is still what it was."""
        return (
            self._epoch is metaclass.epoch()
            and self._validator is self.model.__pydantic_validator__
            and self._state == _state(self._settings)
        )

    def checked_id(self, id: Any) -> Any:
        """Return *id* as the class's type of id (`odm.arguments.checked_id`)."""
        return id if isinstance(id, self.id_class) else checked_id(self.model, id)

    def query(self, binder: Any) -> FindMany[Any]:
        """Return a query for all documents on a connection. For a class that `lists`."""
        query = FindMany.__new__(FindMany)
        query.__dict__.update(self._query or {})
        query.find_expressions, query.sort_expressions, query.pymongo_kwargs = [], [], {}
        query._binder = binder
        return query

    def new_content(self, document: Any) -> dict[str, Any]:
        """Return what is inserted for a new document. For a class that `inserts`."""
        return content(document, keep_nulls=self._settings.keep_nulls)


def plain(model: Any) -> Plain:
    """Return what is known of a document class."""
    known: Plain | None = model.__dict__.get(_KEPT)
    if known is None or not known.holds():
        known = Plain(model)
        type.__setattr__(model, _KEPT, known)  # past the metaclass: it is no change of the class
    return known


def _state(settings: Any) -> tuple[bool, ...]:
    # Those that an application, or its tests, may switch while it runs.
    return (
        settings.use_cache,
        settings.use_state_management,
        settings.use_revision,
        settings.validate_on_save,
        settings.keep_nulls,
    )


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
