"""What an error lets an application conclude."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from benchmarks.chaos.outcomes import CutShort, describe, is_unexpected, outcome_of


def failure(code: int, message: str = "", *labels: str) -> OperationFailure:
    return OperationFailure(message, code, {"ok": 0.0, "errorLabels": list(labels)})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (failure(462, "throttled. It did not run."), "failed"),
        (failure(10107, "", "NoWritesPerformed"), "failed"),
        (ServerSelectionTimeoutError("nobody"), "failed"),
        (DuplicateKeyError("E11000", 11000), "failed"),
        (failure(6, "Whether it ran is unknown."), "unknown"),
        (failure(91), "unknown"),
        (AutoReconnect("closed"), "unknown"),
        (BulkWriteError({"writeErrors": [{"code": 11000}]}), "unknown"),
    ],
)
def test_an_error_is_taken_at_its_word(error: PyMongoError, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_of_a_transaction_only_a_commit_without_an_answer_is_unknown() -> None:
    aborted = failure(251, "", "TransientTransactionError")
    assert outcome_of(aborted, in_transaction=True) == "failed"
    unheard = failure(6, "It did not run.", "UnknownTransactionCommitResult")
    assert outcome_of(unheard, in_transaction=True) == "unknown"


@pytest.mark.parametrize(
    ("error", "unexpected"),
    [
        (failure(6), False),
        (failure(13), True),
        (failure(17), True),
        (OperationFailure("no code"), True),
        (AutoReconnect("closed"), False),
        (BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 91}]}), False),
        (BulkWriteError({"writeErrors": [{"code": 2}]}), True),
        (ConfigurationError("Sessions are not supported"), True),
        (CutShort("one of three"), False),
        (RuntimeError("no driver's error"), True),
    ],
)
def test_errors_that_no_fault_explains_are_told_apart(error: Any, unexpected: bool) -> None:
    assert is_unexpected(error) is unexpected


def test_an_error_is_described_by_its_type_and_code() -> None:
    assert describe(failure(6, "gone")).startswith("OperationFailure 6: gone")
