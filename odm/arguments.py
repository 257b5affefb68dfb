"""What repositories and queries refuse to be called with, and what to write instead.

Each check raises at the call what would otherwise fail somewhere below, in the words of pydantic,
Beanie or the server. It owns their messages; it knows neither connections nor queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from beanie.odm.utils.typing import extract_id_class
from bson import ObjectId
from pydantic import BaseModel, TypeAdapter, ValidationError


def checked_count(name: str, value: Any, *, least: int = 0) -> None:
    """Refuse what is no number of documents, or no number of a page.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below *least*.
    """
    if type(value) is not int and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"{name} is a whole number: write for example {name}=20, not {value!r}")
    if value < least:
        raise ValueError(f"{name} has to count from {least}, not from {value}")


def checked_filters(filters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the filters of a call.

    Raises:
        TypeError: one is no mapping.
    """
    for given in filters:
        if type(given) is not dict and not isinstance(given, Mapping):
            raise TypeError(
                f"{given!r} is no filter: write {{'field': value}} or Page.field == value"
            )
    return filters


def checked_id(model: Any, value: Any) -> Any:
    """Return *value* as the model's type of id; text will do where it can be read as one.

    Raises:
        ValueError: it is no such id.
    """
    id_class, adapter = _id_type(model.model_fields["id"].annotation)
    if isinstance(value, id_class):
        return value
    try:
        if value is not None:  # which the type of an id that is not set yet allows
            return adapter.validate_python(value)
        cause = None
    except ValidationError as error:
        cause = error
    if isinstance(value, Mapping):
        instead = "a filter is for find(), first(), update_many() or delete_many()"
    elif issubclass(id_class, ObjectId):
        instead = "write an ObjectId or its 24 hexadecimal digits"
    else:
        instead = f"write a {id_class.__name__}"
    raise ValueError(f"{value!r} is no id of a {model.__name__}: {instead}") from cause


@lru_cache(maxsize=1024)
def _id_type(annotation: Any) -> tuple[type, TypeAdapter[Any]]:
    # To build an adapter costs as much as to find a document.
    return extract_id_class(annotation), TypeAdapter(annotation)


def checked_documents(method: str, documents: Any) -> list[Any]:
    """Return the documents of a call that takes many.

    Raises:
        TypeError: it is one document, or nothing that can be iterated over.
    """
    if isinstance(documents, BaseModel | Mapping | str) or not isinstance(documents, Iterable):
        given = f"one {type(documents).__name__}" if documents is not None else "None"
        raise TypeError(f"{method}() takes documents: write {method}([…]), not {given}")
    return list(documents)


def checked_pipeline(method: str, pipeline: Any) -> list[Mapping[str, Any]]:
    """Return the stages of an aggregation or a change stream.

    Raises:
        TypeError: it is no list of mappings.
    """
    stages: list[Any] = list(pipeline) if isinstance(pipeline, Iterable) else [None]
    if isinstance(pipeline, Mapping) or not all(isinstance(stage, Mapping) for stage in stages):
        raise TypeError(
            f"a pipeline is a list of stages: write {method}([{{'$match': {{…}}}}, …]),"
            f" not {pipeline!r}"
        )
    return stages


def checked_projection(model: Any) -> None:
    """Refuse what documents cannot be read into; None is no projection.

    Raises:
        TypeError: it is no class of pydantic's.
    """
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(
            f"{model!r} is nothing to read documents into: write for example"
            " 'class Title(BaseModel): title: str' and into=Title"
        )


def checked_field(method: str, field: Any) -> str:
    """Return the path of a field that is given as text or as ``Page.title``.

    Raises:
        TypeError: it is neither.
    """
    if not isinstance(field, str):
        raise TypeError(
            f"{method}() takes a field first, and then filters: write {method}('title'),"
            f" not {method}({field!r})"
        )
    return str(field)


def checked_token(token: Any) -> None:
    """Refuse what is no token of a page; None is for the first.

    Raises:
        TypeError: it is no text; a filter, perhaps.
    """
    if token is not None and not isinstance(token, str):
        raise TypeError(
            "page_after() takes the token of a page first, None for the first page, and then"
            f" filters: write page_after(None, {{'field': value}}), not page_after({token!r})"
        )
