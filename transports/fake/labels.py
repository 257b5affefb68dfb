"""Error labels: what a failure tells the driver to do.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md#error-labels
"""

from __future__ import annotations

from typing import Final

from transports.fake.errors import CommandFailure
from transports.fake.operation import Operation
from transports.fake.transactions import TRANSIENT

ENDINGS: Final = ("commitTransaction", "abortTransaction")
RETRYABLE_WRITE: Final = "RetryableWriteError"
RETRYABLE_CODES: Final = frozenset(
    {6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)
RESUMABLE: Final = "ResumableChangeStreamError"
_RESUMABLE_CODES: Final = RETRYABLE_CODES | {63, 133, 150, 234, 13388}
_TRANSIENT_CODES: Final = frozenset({24, 112, 246, 251, 267, 365})


def _is_change_stream(operation: Operation) -> bool:
    """Tell whether a command opens or reads a change stream."""
    command = operation.command
    if operation.name == "aggregate":
        pipeline = command.get("pipeline")
        return (
            type(pipeline) is list
            and bool(pipeline)
            and type(pipeline[0]) is dict
            and "$changeStream" in pipeline[0]
        )
    return (
        operation.name == "getMore"
        and operation.cursor is not None
        and operation.cursor.stream is not None
    )


def labels_of(operation: Operation, failure: CommandFailure) -> list[str]:
    """Return the labels of a failed command, in the server's order."""
    command = operation.command
    if "errorLabels" in failure.extra:
        labels: list[str] = failure.extra.pop("errorLabels")
        return labels
    ending = operation.name in ENDINGS
    in_transaction = command.get("autocommit") is False
    labels = []
    if in_transaction and (
        failure.code in _TRANSIENT_CODES or (failure.code in RETRYABLE_CODES and not ending)
    ):
        labels.append(TRANSIENT)
    elif (
        "txnNumber" in command
        and failure.code in RETRYABLE_CODES
        and (ending or not in_transaction)
    ):
        labels.append(RETRYABLE_WRITE)
    if failure.code in _RESUMABLE_CODES and _is_change_stream(operation):
        labels.append(RESUMABLE)
    return labels + [
        label for label in failure.labels if label not in labels and label != TRANSIENT
    ]
