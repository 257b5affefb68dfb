"""Error labels: what a failure tells the driver to do.

Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md#error-labels
"""

from __future__ import annotations

from typing import Final

from transports.fake.errors import CommandFailure
from transports.fake.operation import Operation
from transports.fake.transactions import TRANSIENT

RETRYABLE_WRITE: Final = "RetryableWriteError"
RETRYABLE_CODES: Final = frozenset(
    {6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)
_TRANSIENT_CODES: Final = frozenset({24, 112, 246, 251, 267, 365})


def labels_of(operation: Operation, failure: CommandFailure) -> list[str]:
    """Return the labels of a failed command, in the server's order."""
    command = operation.command
    if "errorLabels" in failure.extra:
        labels: list[str] = failure.extra.pop("errorLabels")
        return labels
    ending = operation.name in ("commitTransaction", "abortTransaction")
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
    return labels + [
        label for label in failure.labels if label not in labels and label != TRANSIENT
    ]
