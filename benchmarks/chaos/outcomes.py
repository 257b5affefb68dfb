"""What an application may conclude from an error: that nothing was done, or nothing at all.

Strict on purpose: an error that *says* that the command did not run is taken at its word, and the
checker then looks for its effects. Errors that no fault of a chaos run explains are *unexpected*.
"""

from __future__ import annotations

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from benchmarks.chaos.history import Outcome

# What killed, frozen, slow and changing servers, and a Lambda that fails, may lead to. Names and
# numbers: the server's list of error codes.
_EXPECTED_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        24,  # LockTimeout
        43,  # CursorNotFound: its server was restarted
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        175,  # QueryPlanKilled: a member rolled back what it had not replicated
        189,  # PrimarySteppedDown
        225,  # TransactionTooOld
        246,  # SnapshotUnavailable
        251,  # NoSuchTransaction
        462,  # IngressRequestRateLimitExceeded: how a throttle is told
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)


class CutShort(Exception):
    """An ordered bulk of which the driver sent the first command only, and raised nothing.

    A defect of PyMongo's (4.13 to 4.20, over any transport): where a bulk's very first connection
    fails with a retryable error, it forgets the commands after the first. Its counts tell.
    """


_SAYS_NOTHING_DONE = "It did not run."


def outcome_of(error: PyMongoError, *, in_transaction: bool = False) -> Outcome:
    """Return what *error* says of an operation.

    Args:
        error: what the driver raised.
        in_transaction: it left a transaction that was to be aborted for it, or a commit.
    """
    if in_transaction:
        # Only a commit whose reply was lost can have happened.
        unknown = error.has_error_label("UnknownTransactionCommitResult")
        return "unknown" if unknown else "failed"
    if isinstance(error, DuplicateKeyError | ServerSelectionTimeoutError):
        return "failed"
    if isinstance(error, BulkWriteError):
        return "unknown"
    if error.has_error_label("NoWritesPerformed") or _SAYS_NOTHING_DONE in str(error):
        return "failed"
    return "unknown"


def is_unexpected(error: BaseException) -> bool:
    """Whether no fault of a chaos run explains *error*."""
    match error:
        case CutShort():
            return False
        case BulkWriteError(details=dict(details)):
            errors = [*details.get("writeErrors", []), *details.get("writeConcernErrors", [])]
            return any(each.get("code") not in _EXPECTED_CODES for each in errors)
        case OperationFailure(code=code):
            return code not in _EXPECTED_CODES
        case ConnectionFailure():
            return False
    # Nothing but the driver's own exceptions should come out of a transport; and a driver's about
    # its configuration, or about how it was used, are no server's doing.
    return True


def describe(error: BaseException) -> str:
    """Return the error's type, code and first words, for a table."""
    code = getattr(error, "code", None)
    name = type(error).__name__ + (f" {code}" if code else "")
    return f"{name}: {str(error)[:300]}"
