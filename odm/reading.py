"""How documents are made from what the driver returns: Beanie's ``parse_obj``, faster.

Beanie asks the same questions of a class for every document: is it a union, has it children, must
the state be saved; and pydantic calls two methods written in Python for each, one of which fills
in private attributes and the other looks for back links. The answers are the same for all documents
of a class. Here they are worked out once; then pydantic's validator does all of the work.

What decides is `_plan`: a class that does anything of its own when it is made (an ``__init__``, a
``model_post_init``, a ``model_validate``) gets just that. The result is Beanie's in every respect,
errors included. What it is worth is in ``docs/performance.md``.

This module knows neither queries nor connections.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import Any, TypeAlias

import beanie
import bson
from beanie.odm.fields import LinkTypes, PydanticObjectId
from beanie.odm.utils.parsing import parse_obj
from bson import CodecOptions, ObjectId
from pydantic import BaseModel
from pydantic_core import SchemaError, SchemaValidator

from odm.collecting import collector_paused
from odm.instances import LEFT_TO_PYDANTIC, only_fills, plan

Read: TypeAlias = Callable[[Any], Any]
"""Makes a document of what the driver returned; raises pydantic's ``ValidationError``."""

ReadAll: TypeAlias = Callable[[list[Any]], list[Any]]
"""Puts documents in the place of what is in a list, and returns it: what has been read is gone, and
its memory, which is in the processor's cache, is the next one's. One by one is a tenth slower."""

Fill: TypeAlias = Callable[[Any, dict[str, Any]], None]
"""Makes a document of an empty one, with the values given, as pydantic's ``__init__`` does."""

_BACK_LINKS = {
    LinkTypes.BACK_DIRECT,
    LinkTypes.BACK_LIST,
    LinkTypes.OPTIONAL_BACK_DIRECT,
    LinkTypes.OPTIONAL_BACK_LIST,
}
_fill_back_refs = beanie.Document.fill_back_refs.__func__
_FILLERS = {"beanie.odm.documents", "odm.document"}  # their _fill_back_refs does nothing else
_BEANIES_ID: dict[str, Any] = {"type": "no-info", "function": PydanticObjectId._validate}
_FEW = 50
_SLICE_BYTES = 65_536
"""What is decoded at a time: it is still in the processor's cache when it is validated."""

_length_at = Struct("<i").unpack_from
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def reader(model: Any, *, lazy: bool = False) -> Read:
    """Return the function that makes documents of *model*, to be used in the scope of one query.

    Args:
        model: a document, view or union class, or any other model of pydantic's.
        lazy: parse no field before it is asked for (Beanie's ``lazy_parse``).
    """
    if lazy:
        return partial(parse_obj, model, lazy_parse=True)
    plan = _plan_of(model)
    read = plan.read
    if plan.saves_state is None and model.use_state_management():
        read = partial(_read_and_save_state, read)
    if plan.by_class_id is not None and (classes := getattr(model, plan.by_class_id)):
        read = _by_class_id(model, classes, read)
    return read


def filler(model: Any) -> Fill | None:
    """Return what fills new documents of an initialised class; None: pydantic's ``__init__``."""
    plan = _plan_of(model)
    return plan.fill if plan.post_init is model.model_post_init else None


def list_reader(model: Any, *, lazy: bool = False) -> ReadAll:
    """Return the function that makes many documents of *model*; see `reader`."""
    read = reader(model, lazy=lazy)
    plan = None if lazy else _plan_of(model)
    if plan is not None and read is plan.read and plan.read_each is not None:
        return partial(_read_all, plan.read_each)
    return partial(read_all, read)


def read_all(read: Read, found: list[Any]) -> list[Any]:
    """Put the documents that *read* makes of what was *found* in its place, and return them."""
    return _read_all(partial(_read_each, read), found)


def _read_each(read: Read, found: list[Any]) -> list[Any]:
    for place, raw in enumerate(found):
        found[place] = read(raw)
    return found


def _read_all(read_each: ReadAll, found: list[Any]) -> list[Any]:
    if len(found) <= _FEW:
        return read_each(found)
    with collector_paused():
        return read_each(found)


def read_encoded(read_all: ReadAll, batches: list[Any], options: CodecOptions[Any]) -> list[Any]:
    """Return the documents that *read_all* makes of what was found, as it came: BSON, in batches.

    What is decoded is gone as soon as it is read, and the collector does not run in between, so a
    document costs the same in a list of any length. *batches* is empty afterwards.
    """
    documents: list[Any] = []
    batches.reverse()
    with collector_paused():
        while batches:
            for encoded in _slices(memoryview(batches.pop())):
                documents += read_all(bson.decode_all(encoded, options))
    return documents


def _slices(batch: memoryview) -> Iterator[memoryview]:
    """Yield a few whole documents at a time; each begins with its length."""
    start = end = 0
    while end < len(batch):
        end += _length_at(batch, end)[0]
        if end - start >= _SLICE_BYTES or end >= len(batch):
            yield batch[start:end]
            start = end


def _by_class_id(model: Any, classes: Mapping[str, Any], otherwise: Read) -> Read:
    class_id = model.get_settings().class_id
    readers: dict[Any, Read] = {}

    def read(raw: Any) -> Any:
        if not isinstance(raw, dict):
            return parse_obj(model, raw)
        name: Any = raw.get(class_id)
        found = readers.get(name)
        if found is None:
            if name not in classes:
                return otherwise(raw)
            found = readers[name] = reader(classes[name])
        return found(raw)

    return read


@dataclass(frozen=True, slots=True)
class _Plan:
    """How documents of a class are made.

    Attributes:
        validator: of the class, from which the plan was made: another one, another plan.
        read: makes a document of this very class.
        read_each: makes many of them; None: nothing is quicker than one by one.
        saves_state: whether it saves the document's state; None: as the settings say by then.
        by_class_id: the attribute with the classes that a document may be of instead.
        fill: does what ``__init__`` does; None: nothing is quicker than that.
        post_init: the ``model_post_init`` that *fill* makes unnecessary.
    """

    validator: Any
    read: Read
    saves_state: bool | None
    by_class_id: str | None = None
    read_each: ReadAll | None = None
    fill: Fill | None = None
    post_init: Any = None


_plans: weakref.WeakKeyDictionary[type, _Plan] = weakref.WeakKeyDictionary()


def _plan_of(model: Any) -> _Plan:
    plan = _plans.get(model)
    if plan is None or plan.validator is not getattr(model, "__pydantic_validator__", None):
        plan = _plans[model] = _planned(model)
    return plan


def _read_and_save_state(read: Read, raw: Any) -> Any:
    document = read(raw)
    document._save_state()
    return document


def _planned(model: Any) -> _Plan:
    if issubclass(model, beanie.UnionDoc):
        return _Plan(None, partial(parse_obj, model), True, "_document_models")
    is_document = issubclass(model, beanie.Document)
    if is_document:
        model.get_settings()  # initialises the class: links are known, names are resolved
    children = "_children" if is_document and model._inheritance_inited else None
    validator = model.__pydantic_validator__
    if not _is_pydantics_own(model, validator) or (
        getattr(model, "_save_state", None) is not beanie.Document._save_state
        if is_document
        else hasattr(model, "_save_state") or "_save_state" in model.__private_attributes__
    ):
        return _Plan(validator, partial(parse_obj, model), True, children)
    read, read_each, fill = _validating(model)
    saves_state = None if is_document else False
    return _Plan(validator, read, saves_state, children, read_each, fill, model.model_post_init)


def _is_pydantics_own(model: Any, validator: Any) -> bool:
    # Else: a class that is not complete yet, the validators of a plugin, a class's own way.
    return (
        type(validator) is SchemaValidator
        and model.model_validate.__func__ is BaseModel.model_validate.__func__  # type: ignore[attr-defined]  # a bound method
    )


def _validating(model: Any) -> tuple[Read, ReadAll | None, Fill | None]:
    """Return the validator of *model*, without what it would do in Python to no effect."""
    validate: Read = model.__pydantic_validator__.validate_python
    schema = model.__pydantic_core_schema__
    body = schema["schema"] if schema["type"] == "definitions" else schema
    # Validators around the model see the instance, and what refers to the model makes another.
    if body["type"] != "model" or body.get("custom_init"):
        return validate, None, None
    private = plan(model.__private_attributes__) if only_fills(model.model_post_init) else None
    if private is None or private is LEFT_TO_PYDANTIC:
        return validate, None, None
    body = {key: value for key, value in body.items() if key != "post_init"}
    body["schema"] = _without_back_links(model, body["schema"])
    schema = {**schema, "schema": body} if schema["type"] == "definitions" else body
    schema = _with_quick_ids(schema)
    try:
        # Else pydantic takes the validator that it has already for this class.
        quick = SchemaValidator(schema, body.get("config"), _use_prebuilt=False).validate_python
    except (TypeError, SchemaError):  # a version without it
        return validate, None, None
    return _reading(quick, *private), _reading_each(quick, *private), _filling(quick, *private)


_Made: TypeAlias = tuple[tuple[str, Callable[[], Any]], ...]


def _reading(validate: Callable[..., Any], shared: dict[str, Any], made: _Made) -> Read:
    def read(raw: Any) -> Any:
        document = validate(raw)
        private = shared.copy()
        for name, make in made:
            private[name] = make()
        _set_private(document, private)
        return document

    return read


def _reading_each(validate: Callable[..., Any], shared: dict[str, Any], made: _Made) -> ReadAll:
    alike = [each for each in made if hasattr(each[1], "__odm_same_in_a_scope__")]
    others = [each for each in made if each not in alike]

    def read_each(found: list[Any]) -> list[Any]:
        common = {**shared, **{name: make() for name, make in alike}}
        for place, raw in enumerate(found):
            found[place] = document = validate(raw)
            private = common.copy()
            for name, make in others:
                private[name] = make()
            _set_private(document, private)
        return found

    return read_each


def _filling(validate: Callable[..., Any], shared: dict[str, Any], made: _Made) -> Fill:
    def fill(document: Any, values: dict[str, Any]) -> None:
        validate(values, self_instance=document)
        private = shared.copy()
        for name, make in made:
            private[name] = make()
        _set_private(document, private)

    return fill


def _without_back_links(model: Any, schema: Any) -> Any:
    """Return *schema* without Beanie's search for back links, if *model* has none."""
    if schema["type"] != "function-before":
        return schema
    inner = _without_back_links(model, schema["schema"])
    function = getattr(schema["function"]["function"], "__func__", None)
    if function is _fill_back_refs and _has_no_back_links(model):
        return inner
    return {**schema, "schema": inner}


def _with_quick_ids(schema: Any) -> Any:
    """Return *schema* with ids made without parsing what is an ``ObjectId`` already."""
    if isinstance(schema, dict):
        if schema.get("type") == "function-plain" and schema["function"] == _BEANIES_ID:
            return {**schema, "function": {**_BEANIES_ID, "function": _validate}}
        return {key: _with_quick_ids(value) for key, value in schema.items()}
    return list(map(_with_quick_ids, schema)) if type(schema) is list else schema


def _validate(value: Any) -> Any:
    # Its name, which is Beanie's, stands in what pydantic says of a union.
    if type(value) is not ObjectId:
        return _BEANIES_ID["function"](value)
    id = PydanticObjectId.__new__(PydanticObjectId)
    id.__setstate__(value.binary)
    return id


def _has_no_back_links(model: Any) -> bool:
    links = model.get_link_fields() or {}
    return model._fill_back_refs.__module__ in _FILLERS and not any(
        link.link_type in _BACK_LINKS for link in links.values()
    )
