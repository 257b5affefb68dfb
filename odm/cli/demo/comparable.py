"""Results that can be compared: documents and errors as plain JSON values.

What must differ from run to run is replaced by a name: instants and generated ids of the run itself
(``"<now>"``, ``"<new id>"``) and a document's revision. Everything else stays, so that two
transports agree only if the application would see the same.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, ObjectId
from pydantic import BaseModel
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from odm import BackLink, Link
from transports.url import redact

# Beanie draws them anew for every document; their effect, a refused stale save, is compared.
_DRAWN = frozenset({"revision_id", "previous_revision_id"})
_LABELS = (
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "RetryableWriteError",
    "NoWritesPerformed",
)


class Normaliser:
    """Turns results into comparable values. One for all transports of a run.

    Args:
        since: when the run began; instants from a moment before it are ``"<now>"``.
    """

    def __init__(self, since: datetime) -> None:
        self._since = since - timedelta(seconds=2)

    def comparable(self, value: Any) -> Any:
        """Return *value* as a JSON value."""
        match value:
            case None | bool() | float() | Enum():
                return value.value if isinstance(value, Enum) else value
            case int() | str():
                return value
            case ObjectId():
                return "<new id>" if self._is_now(value.generation_time) else str(value)
            case datetime():
                return "<now>" if self._is_now(value) else _utc(value).isoformat()
            case timedelta():
                return f"{value.total_seconds():g} s"
            case Decimal() | Decimal128() | UUID():
                return str(value)
            case bytes() | Binary():
                return base64.b64encode(value).decode()
            case Link():
                return {"link": self.comparable(value.ref.id)}
            case BackLink():
                return "<back link>"
            case BaseModel():
                return {"class": type(value).__name__, **self._fields(value)}
            case Mapping():
                return {str(key): self.comparable(item) for key, item in value.items()}
            case Iterable():
                return [self.comparable(item) for item in value]
        raise TypeError(f"{type(value).__name__} is not comparable")

    def _fields(self, model: BaseModel) -> dict[str, Any]:
        names = [*type(model).model_fields, *(model.model_extra or {})]
        return {name: self.comparable(getattr(model, name)) for name in names if name not in _DRAWN}

    def _is_now(self, instant: datetime) -> bool:
        return self._since <= _utc(instant) <= self._since + timedelta(hours=6)


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


async def failure(awaitable: Awaitable[Any]) -> dict[str, Any]:
    """Await what is expected to fail and return how it did, see `describe_error`.

    What does not fail after all is told too: ``{"did not fail": …}``.
    """
    try:
        result = await awaitable
    except Exception as error:
        return describe_error(error)
    return {"did not fail": result}


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return an error as an application can tell it from others: type, code, labels, keys.

    The server's wording is left out: it names processes and positions that differ.
    """
    described: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, OperationFailure):
        details: Mapping[str, Any] = error.details or {}
        if isinstance(error, BulkWriteError):
            described["inserted"] = details.get("nInserted")
            described["write errors"] = [_write_error(each) for each in details["writeErrors"]]
        else:
            described |= {"code": error.code, **_write_error(details)}
    if isinstance(error, PyMongoError):
        described["labels"] = [label for label in _LABELS if error.has_error_label(label)]
    return described


def explain_error(error: BaseException) -> str:
    """Return an unexpected error in words: the server's, where it is one of the server's."""
    details = error.details if isinstance(error, OperationFailure) else None
    text = str(error)
    if details and details.get("errmsg"):
        text = f"{details['errmsg']} ({details.get('code')} {details.get('codeName', '')})"
    return redact(f"{type(error).__name__}: {text}")


def _write_error(details: Mapping[str, Any]) -> dict[str, Any]:
    names = ("index", "code", "codeName", "keyPattern", "keyValue")
    return {name: details[name] for name in names if name in details}


def first_difference(expected: Any, actual: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return where two comparable values first differ, and how: path, expected, actual.

    The path reads like ``.items[3].title``; it is ``""`` where the values differ as a whole.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            if key not in expected or key not in actual:
                nothing = "<nothing>"
                return f"{path}.{key}", expected.get(key, nothing), actual.get(key, nothing)
            if found := first_difference(expected[key], actual[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(expected, list) and isinstance(actual, list):
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            if found := first_difference(one, other, f"{path}[{index}]"):
                return found
        if len(expected) != len(actual):
            return path, f"{len(expected)} of them", f"{len(actual)} of them"
        return None
    if type(expected) is type(actual) and expected == actual:
        return None
    return path, expected, actual
