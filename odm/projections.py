"""Which fields are fetched for a model: those that it has.

Documents are fetched as Beanie fetches them. Of any other model, Beanie asks for the names under
which fields are written, not for those under which they are read, and takes the ``_id`` along.
Here it is what validation looks at, and no more, unless the model looks at the whole by itself.

This module knows neither queries nor connections.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any, cast

import beanie
from beanie.odm.utils.projection import get_projection
from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo

Projection = Mapping[str, Any] | None

_pydantics_validate = BaseModel.model_validate.__func__  # type: ignore[attr-defined]  # a bound method
_fill_back_refs = beanie.Document.fill_back_refs.__func__
_projections: weakref.WeakKeyDictionary[type, tuple[Any, Projection]] = weakref.WeakKeyDictionary()


def projection_of(model: Any) -> Projection:
    """Return the projection with which documents are fetched for *model*; None: as they are."""
    if hasattr(model, "Settings") and hasattr(model.Settings, "projection"):
        return cast("Projection", get_projection(model))
    validator = getattr(model, "__pydantic_validator__", None)  # a union has none
    known = _projections.get(model)
    if known is None or known[0] is not validator:
        known = _projections[model] = (validator, _projection(model))
    return known[1]


def names_known(model: Any) -> frozenset[str] | None:
    """Return the names of what a document class reads, if it passes over all else unseen.

    Then whole documents become what those fetched with its projection become. None: they may not.
    For classes without links.
    """
    projection = projection_of(model)
    if (
        projection is None
        or hasattr(getattr(model, "Settings", None), "projection")
        or model.model_config.get("extra", "ignore") != "ignore"
        or model.model_validate.__func__ is not _pydantics_validate
        or model.__pydantic_core_schema__.get("custom_init", False)
        or any(
            getattr(validator.func, "__func__", None) is not _fill_back_refs
            for validator in model.__pydantic_decorators__.model_validators.values()
            if validator.info.mode != "after"
        )
    ):
        return None
    names = {
        name
        for field, info in model.model_fields.items()
        if info.validation_alias != "_id"  # which is there: it is not looked for as `id`
        for name in _names(field, info, model.model_config)
    }
    return frozenset(projection) if names <= projection.keys() else None


def _projection(model: Any) -> Projection:
    if issubclass(model, RootModel):
        return None
    if hasattr(model, "get_model_type") or _looks_at_all(model):
        return cast("Projection", get_projection(model))
    names = {
        name
        for field, info in model.model_fields.items()
        for name in _names(field, info, model.model_config)
    }
    # An empty projection would be none.
    return {"_id": 0, **dict.fromkeys(sorted(names), 1)} if names else {"_id": 1}


def _looks_at_all(model: Any) -> bool:
    """Whether more of a document than its fields may matter to the model."""
    validators = model.__pydantic_decorators__.model_validators.values()
    return (
        model.model_config.get("extra") == "allow"
        or any(validator.info.mode != "after" for validator in validators)
        or model.model_validate.__func__ is not _pydantics_validate
        or model.__pydantic_core_schema__.get("custom_init", False)
    )


def _names(field: str, info: FieldInfo, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names under which a field is looked for in a document."""
    alias = info.validation_alias if config.get("validate_by_alias", True) else None
    if alias is None or config.get("populate_by_name") or config.get("validate_by_name"):
        yield field
    for choice in alias.choices if isinstance(alias, AliasChoices) else (alias,):
        if isinstance(choice, AliasPath):
            yield str(choice.path[0])
        elif choice is not None:
            yield choice
