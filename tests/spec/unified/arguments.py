"""A test's arguments in the words of the driver's methods: ``maxTimeMS`` → ``max_time_ms``.

Spec: unified test format, "Common Options" and the CRUD specification's names
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from pymongo import (
    DeleteMany,
    DeleteOne,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    UpdateMany,
    UpdateOne,
)
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.operations import SearchIndexModel

from tests.spec.unified.entities import Entities, common_options

_MODELS: Mapping[str, Callable[..., Any]] = {
    "insertOne": InsertOne,
    "updateOne": UpdateOne,
    "updateMany": UpdateMany,
    "replaceOne": ReplaceOne,
    "deleteOne": DeleteOne,
    "deleteMany": DeleteMany,
}
# Where the driver's own word is another than the specification's in snake case.
_RENAMED = {"fieldName": "key", "to": "new_name"}
_TAKE_A_CURSORS = frozenset({"find", "find_one", "find_raw_batches"})


def snake_case(name: str) -> str:
    """``"maxTimeMS"`` → ``"max_time_ms"``, ``"findOneAndUpdate"`` → ``"find_one_and_update"``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def keywords(
    method: Callable[..., Any], arguments: Mapping[str, Any], entities: Entities
) -> dict[str, Any]:
    """Return the keyword arguments for *method*.

    A parameter of the method is named as Python does; anything else is an option of the command,
    which goes through ``**kwargs`` under the server's own name.
    """
    named = _parameters(method)
    result = {}
    for name, value in arguments.items():
        parameter = _RENAMED.get(name, snake_case(name))
        result[parameter if parameter in named else name] = _value(name, value, entities)
    return result


def _parameters(method: Callable[..., Any]) -> frozenset[str]:
    if method.__name__ in _TAKE_A_CURSORS:
        return _signature(AsyncCursor.__init__)
    return _signature(getattr(method, "__func__", method))


@lru_cache(maxsize=256)
def _signature(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _value(name: str, value: Any, entities: Entities) -> Any:
    match name:
        case "session":
            return entities[value]
        case "readConcern" | "writeConcern" | "readPreference":
            return next(iter(common_options({name: value}).values()))
        case "returnDocument":
            return ReturnDocument.AFTER if value == "After" else ReturnDocument.BEFORE
        case "requests" | "models" if value and set(value[0]) <= set(_MODELS):
            return write_models(value, entities)
        case "models":
            return [search_index_model(model) for model in value]
        case _:
            return value


def write_models(requests: Iterable[Mapping[str, Any]], entities: Entities) -> list[Any]:
    """Return the driver's models for ``[{"insertOne": {"document": …}}, …]``."""
    models = []
    for request in requests:
        ((name, fields),) = request.items()
        model = _MODELS[name]
        models.append(model(**keywords(model, fields, entities)))
    return models


def search_index_model(document: Mapping[str, Any]) -> SearchIndexModel:
    """Return the driver's model for ``{"definition": …, "name": …, "type": …}``."""
    return SearchIndexModel(**document)
