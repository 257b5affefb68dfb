"""What a document class is, whatever it is connected to: settings, inheritance, links, actions.

Beanie does this anew, and asynchronously, whenever it binds a class. Here it is done once per
class, when first needed, without I/O; what exists on a server is `odm.schema`'s business.
Beanie's own `Initializer` does each step, so that what it understands stays understood.
"""

from __future__ import annotations

import copy
import inspect
import sys
import threading
from typing import Any

import beanie
from beanie.odm.fields import LinkInfo
from beanie.odm.registry import DocsRegistry
from beanie.odm.settings.document import DocumentSettings
from beanie.odm.utils.init import Initializer
from beanie.odm.utils.typing import is_generic_alias
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from odm.errors import InvalidConfiguration
from odm.fields import with_beanie_links
from odm.metaclass import ModelMeta, is_base, is_initialised

_lock = threading.RLock()
_in_progress: set[type] = set()


class _Steps(Initializer):
    """Beanie's initialisation, step by step, without a database."""

    def __init__(self) -> None:  # not super(): that one wants a database
        self.inited_classes = []

    def detect_link(self, field: FieldInfo, field_name: str) -> LinkInfo | None:
        annotation = with_beanie_links(field.annotation)
        if annotation is not field.annotation:
            field = copy.copy(field)
            field.annotation = annotation
        return super().detect_link(field, field_name)


_steps = _Steps()


def is_ours(model: Any) -> bool:
    """Whether a class follows its connection, as opposed to one that Beanie binds globally."""
    return isinstance(model, ModelMeta) or bool(getattr(model, "__odm_union__", False))


def register_names(model: type) -> None:
    """Make the model and its module's models known by name, for links that are forward references.

    Links are resolved by the bare name of their class (Beanie's registry).
    """
    module = sys.modules.get(model.__module__)
    for name, value in list(vars(module).items()) if module is not None else ():
        if inspect.isclass(value) and not is_generic_alias(value) and issubclass(value, BaseModel):
            DocsRegistry.register(name, value)
    if issubclass(model, BaseModel):
        DocsRegistry.register(model.__name__, model)


def initialise(model: Any) -> None:
    """Initialise a class of ours, once.

    Raises:
        InvalidConfiguration: a link names a class that is not known.
        Deprecation: an inner ``Collection`` class (Beanie).
    """
    if is_initialised(model):
        return
    with _lock:
        # Beanie's steps ask the class for its settings, which leads here again.
        if is_initialised(model) or model in _in_progress:
            return
        _in_progress.add(model)
        try:
            _initialise(model)
            model.__odm_initialised__ = True
        finally:
            _in_progress.discard(model)


def _initialise(model: Any) -> None:
    _steps.check_deprecations(model)
    if issubclass(model, beanie.UnionDoc):
        _initialise_union(model)
    elif is_base(model):
        model._document_settings = DocumentSettings()
    elif issubclass(model, beanie.Document):
        _initialise_document(model)
    else:
        _initialise_view(model)


def _initialise_union(model: Any) -> None:
    _steps.init_settings(model)
    model._settings.name = model._settings.name or model.__name__
    model._is_inited = True


def _initialise_view(model: Any) -> None:
    _steps.init_settings(model)
    model._link_fields = None
    settings = model._settings
    settings.name = settings.name or model.__name__
    if not isinstance(settings.source, str):
        settings.source = settings.source.get_collection_name()
    _initialise_fields(model, _steps.init_view_fields)


def _initialise_document(model: Any) -> None:
    _steps.set_default_class_vars(model)
    _steps.init_settings(model)
    settings = model._document_settings
    parent = _parent(model)
    if parent is not None:
        initialise(parent)
    _place_in_hierarchy(model, parent)
    if settings.union_doc is not None:
        if not settings.union_doc._is_inited:
            _initialise_union(settings.union_doc)
        alias = settings.name or model.__name__
        settings.name = settings.union_doc.register_doc(alias, model)
        settings.union_doc_alias = alias
    settings.name = settings.name or model.__name__
    _initialise_fields(model, _steps.init_document_fields)
    _steps.init_actions(model)  # type: ignore[no-untyped-call]  # of Beanie


def _parent(model: type) -> Any:
    parents = [
        base
        for base in model.__bases__
        if issubclass(base, beanie.Document) and base is not beanie.Document and not is_base(base)
    ]
    return parents[0] if parents else None


def _place_in_hierarchy(model: Any, parent: Any) -> None:
    """Give a class of an inheritance tree (``is_root = True``) its class id and collection."""
    settings = model._document_settings
    own_settings = model.__dict__.get("Settings")
    class_id = getattr(own_settings, "class_id_value", None)
    if settings.is_root and (parent is None or not parent.get_settings().is_root):
        settings.name = settings.name or model.__name__
        model._class_id = model.__name__ if class_id is None else class_id
        model._inheritance_inited = True
    elif parent is not None and parent._inheritance_inited:
        model._class_id = f"{parent._class_id}.{model.__name__}" if class_id is None else class_id
        settings.name = parent.get_collection_name()
        model._parent = parent
        model._inheritance_inited = True
        parent.add_child(model._class_id, model)


def _initialise_fields(model: Any, step: Any) -> None:
    register_names(model)
    try:
        if not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=True)
        step(model)
    except (NameError, ValueError) as error:  # pydantic's for an annotation, Beanie's for a link
        raise InvalidConfiguration(
            f"a field of {model.__name__} names a class that is not known ({error}):"
            " define or import it before the first use, or name it in connect(models=[…])"
        ) from error
