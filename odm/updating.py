"""How a document's own ``update()`` is sent and taken over, where there is nothing special to it.

Beanie's way leads through two queries and asks for every field, of every nested model, whether it
is frozen, on every update. A class without revisions, event actions, links or inheritance needs
none of that; every other one, and every other way to call it, is left to Beanie.

This module knows neither connections nor repositories.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import beanie
from beanie.odm.actions import ActionDirections, ActionRegistry, EventTypes
from beanie.odm.operators.update import BaseUpdateOperator
from beanie.odm.utils.parsing import merge_models
from pydantic import BaseModel
from pymongo import ReturnDocument

from odm.dumping import SCALARS, encoded, encoded_id
from odm.queries import FindOne
from odm.reading import reader

_pydantics_setattr: Any = BaseModel.__setattr__
_beanies_find_one = beanie.Document.find_one.__func__  # type: ignore[attr-defined]  # a bound method
_attributes: Any = object.__getattribute__
_LINKS = (beanie.Link, beanie.BackLink)
_plain: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def is_plain(model: Any) -> bool:
    """Whether one document of the class is found by the filter that is given, and no more."""
    known = _plain.get(model)
    if known is None:
        settings = model.get_settings()
        known = _plain[model] = (
            model.find_one.__func__ is _beanies_find_one
            and model._find_one_query_class is FindOne
            and not model._inheritance_inited
            and settings.union_doc is None
            and not settings.bson_encoders
            and not model.get_link_fields()
        )
    return known


def plain_update(document: Any, expressions: tuple[Any, ...]) -> Mapping[str, Any] | None:
    """Return the update that *expressions* are, as it is sent; None if it is Beanie's business."""
    if len(expressions) != 1 or not updates_plainly(type(document)):
        return None
    expression = expressions[0]
    if isinstance(expression, BaseUpdateOperator):
        expression = expression.query
    return encoded(expression) if isinstance(expression, dict) else None


def updates_plainly(model: Any) -> bool:
    """Whether an update of a document is one command, and nothing before it or after."""
    return (
        is_plain(model)
        and not model.get_settings().use_revision
        and not any(
            ActionRegistry.get_action_list(model, EventTypes.UPDATE, direction)
            for direction in ActionDirections
        )
    )


async def update(document: Any, changes: Mapping[str, Any], options: dict[str, Any]) -> None:
    """Send *changes*, encoded already, of a document and bring the document up to date.

    Raises:
        DocumentNotFound: there is no such document (Beanie's).
    """
    # As Beanie does: one without an id is none, or with upsert=True a new one.
    id = document.id if document.id is not None else beanie.PydanticObjectId()
    found = await document.get_pymongo_collection().find_one_and_update(
        {"_id": encoded_id(id)},
        changes,
        return_document=ReturnDocument.AFTER,
        **options,
    )
    if found is None:
        raise beanie.exceptions.DocumentNotFound
    take_over(document, reader(type(document))(found))


def take_over(document: Any, found: Any) -> None:
    """Do what Beanie's ``merge_models`` does: nested models stay the objects that they are."""
    model = type(document)
    if type(found) is model and sets_plainly(model):
        take_over_plainly(document, found)
    else:
        merge_models(document, found)


def take_over_plainly(document: Any, found: Any) -> None:
    """Do the same with what is found of the same class, one that `sets_plainly`."""
    if _attributes(found, "__pydantic_extra__"):
        merge_models(document, found)
        return
    values: dict[str, Any] = _attributes(document, "__dict__")
    changed: set[str] = _attributes(document, "__pydantic_fields_set__")
    # Most are neither models nor links; to ask pydantic's classes costs more than all else.
    for name, value in _attributes(found, "__dict__").items():
        if type(value) in SCALARS or not _stays(values.get(name), value):
            values[name] = value
            changed.add(name)


def _stays(held: Any, value: Any) -> bool:
    """Whether what is held is kept, and brought up to date with *value* if that is a model."""
    kind = type(value)
    if isinstance(value, list):
        return not SCALARS.issuperset(map(type, value)) and any(
            isinstance(item, _LINKS) for item in value
        )
    if kind is type(held) and sets_plainly(kind):
        take_over_plainly(held, value)
        return True
    if isinstance(value, BaseModel):
        if isinstance(held, BaseModel) and not held.model_config.get("frozen"):
            take_over(held, value)
            return True
        return False
    return isinstance(value, _LINKS)


def sets_plainly(kind: Any) -> bool:
    """Whether a class is a model, and to set a field of it is to set it, and no more."""
    return _sets_plainly(kind, getattr(kind, "__pydantic_validator__", None))


@lru_cache(maxsize=1024)
def _sets_plainly(model: Any, validator: object) -> bool:
    if not issubclass(model, BaseModel):
        return False
    config = model.model_config
    return (
        model.__setattr__ is _pydantics_setattr
        and not config.get("frozen")
        and not config.get("validate_assignment")
        and not any(field.frozen for field in model.model_fields.values())
    )
