"""Whether an operation failed as a test expects.

Spec: unified test format, "expectedError"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ClientBulkWriteException,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)

from tests.spec.unified.matcher import Lookup, Mismatch, match
from tests.spec.unified.results import as_document, bulk_error_as_document


def match_error(expected: Mapping[str, Any], error: Exception, entities: Lookup) -> None:
    """Compare *error* with an ``expectError`` document.

    Raises:
        Mismatch: it is another error.
    """
    for name, value in expected.items():
        match name:
            case "isError":
                pass
            case "isClientError":
                _same(not _from_server(error), value, name, error)
            case "isTimeoutError":
                _same(isinstance(error, PyMongoError) and error.timeout, value, name, error)
            case "errorContains":
                _same(value.lower() in str(error).lower(), True, f"{name} {value!r}", error)
            case "errorCode":
                _same(_details(error).get("code"), value, name, error)
            case "errorCodeName":
                _same(_details(error).get("codeName"), value, name, error)
            case "errorLabelsContain":
                _same([label for label in value if not _has(error, label)], [], name, error)
            case "errorLabelsOmit":
                _same([label for label in value if _has(error, label)], [], name, error)
            case "errorResponse":
                match(value, _details(error), entities, path="errorResponse")
            case "expectResult":
                match(value, _partial_result(error), entities, path="partial result")
            case "writeErrors":
                write_errors: Any = _client_bulk(error).write_errors
                match(value, {str(e["idx"]): e for e in write_errors}, entities, path=name)
            case "writeConcernErrors":
                match(value, _client_bulk(error).write_concern_errors, entities, path=name)
            case _:
                raise ValueError(f"unknown expectation {name!r} of an error")


def _same(actual: Any, expected: Any, what: str, error: Exception) -> None:
    if actual != expected:
        raise Mismatch(f"{what}: expected {expected!r}, got {actual!r} of {error!r}") from error


def _from_server(error: Exception) -> bool:
    if isinstance(error, ClientBulkWriteException) and error.error is not None:
        inner = error.error
        return not isinstance(inner, Exception) or _from_server(inner)
    return isinstance(error, OperationFailure | NotPrimaryError)


def _has(error: Exception, label: str) -> bool:
    return isinstance(error, PyMongoError) and error.has_error_label(label)


def _details(error: Exception) -> Mapping[str, Any]:
    """The reply behind an error; of a bulk write, its first error."""
    if isinstance(error, ClientBulkWriteException) and isinstance(error.error, Exception):
        return _details(error.error)
    details = getattr(error, "details", None) or {}
    if isinstance(error, BulkWriteError):
        errors = [*details.get("writeErrors", []), *details.get("writeConcernErrors", [])]
        return errors[0] if errors else {}
    found = {**details}
    if "code" not in found and getattr(error, "code", None) is not None:
        found["code"] = error.code  # type: ignore[attr-defined]  # looked for just now
    return found


def _client_bulk(error: Exception) -> ClientBulkWriteException:
    if not isinstance(error, ClientBulkWriteException):
        raise Mismatch(f"expected a client bulk write's error, got {error!r}") from error
    return error


def _partial_result(error: Exception) -> Any:
    if isinstance(error, BulkWriteError):
        return bulk_error_as_document(error)
    return as_document(_client_bulk(error).partial_result)
