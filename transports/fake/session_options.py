"""The session fields of a command: ``lsid``, ``txnNumber``, ``autocommit``, ``startTransaction``.

Spec: https://github.com/mongodb/specifications/blob/master/source/sessions/driver-sessions.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bson import Int64

from transports.fake.errors import TYPE_MISMATCH, CommandFailure
from transports.fake.operation import Operation
from transports.fake.sessions import invalid_option
from transports.fake.values import Document, bson_type

if TYPE_CHECKING:
    from transports.fake.commands.registry import Command

_COMMAND_FAILED: Final = 125
_NOT_A_RETRYABLE_WRITE: Final = 50768
_TXN_NUMBER_NOT_ALLOWED: Final = 50889
_NOT_SUPPORTED_IN_TRANSACTION: Final = 263
_ENDINGS: Final = ("commitTransaction", "abortTransaction")
_LSID_FIELDS: Final = frozenset({"id", "uid", "txnNumber", "txnUUID"})
_OUTSIDE_OF_SESSIONS: Final = frozenset(
    {"hello", "isMaster", "ping", "buildInfo", "connectionStatus", "getParameter", "serverStatus"}
)


def attach_session(operation: Operation, spec: Command) -> None:
    """Find the session and the transaction that a command belongs to.

    Raises:
        CommandFailure: as the server refuses the combination.
    """
    command = operation.command
    lsid = command.get("lsid")
    if lsid is not None:
        _check_lsid(lsid)
        operation.session = operation.server.sessions.get(lsid)
    if "txnNumber" in command or "autocommit" in command or "startTransaction" in command:
        _attach_number(operation, spec, command)
    elif spec.name in _ENDINGS:
        raise CommandFailure(_COMMAND_FAILED, f"{spec.name} must be run within a transaction")


def _check_lsid(lsid: Any) -> None:
    path = "BSON field 'OperationSessionInfo.lsid"
    if type(lsid) is not dict:
        raise CommandFailure(
            TYPE_MISMATCH,
            f"{path}' is the wrong type '{bson_type(lsid)[1]}', expected type 'object'",
        )
    for name in lsid:
        if name not in _LSID_FIELDS:
            raise CommandFailure(40415, f"{path}.{name}' is an unknown field.")
    if "id" not in lsid:
        raise CommandFailure(40414, f"{path}.id' is missing but a required field")
    if not isinstance(lsid["id"], bytes):
        raise CommandFailure(
            TYPE_MISMATCH,
            f"{path}.id' is the wrong type '{bson_type(lsid['id'])[1]}', expected type 'binData'",
        )


def _attach_number(operation: Operation, spec: Command, command: Document) -> None:
    number = _checked_number(command)
    if command.get("autocommit") is not False:
        _attach_retryable(operation, spec, number)
        return
    if not spec.in_transaction:
        raise CommandFailure(_NOT_SUPPORTED_IN_TRANSACTION, _refusal(spec.name))
    session = operation.session
    assert session is not None
    if "writeConcern" in command and spec.name not in _ENDINGS:
        raise invalid_option("writeConcern is not allowed within a multi-statement transaction")
    if command.get("startTransaction"):
        server = operation.server
        operation.transaction = session.start_transaction(
            server.store, number, server.clock.now_ms()
        )
    else:
        operation.transaction = session.continue_transaction(
            number, committing=spec.name == "commitTransaction"
        )


def _checked_number(command: Document) -> int:
    number = command.get("txnNumber")
    if number is not None and type(number) is not Int64:
        raise CommandFailure(
            TYPE_MISMATCH,
            "BSON field 'OperationSessionInfo.txnNumber' is the wrong type "
            f"'{bson_type(number)[1]}', expected type 'long'",
        )
    if number is not None and "lsid" not in command:
        raise invalid_option("Transaction number requires a session ID to also be specified")
    if number is not None and number < 0:
        raise invalid_option("Transaction number cannot be negative")
    if "autocommit" in command:
        if number is None:
            raise invalid_option(
                "'autocommit' field requires a transaction number to also be specified"
            )
        if command["autocommit"] is not False:
            raise invalid_option("Specifying autocommit=true is not allowed.")
    if "startTransaction" in command:
        if "autocommit" not in command:
            raise invalid_option(
                "'startTransaction' field requires 'autocommit' field to also be specified"
            )
        if command["startTransaction"] is not True:
            raise invalid_option("Specifying startTransaction=false is not allowed.")
    return int(number or 0)


def _attach_retryable(operation: Operation, spec: Command, number: int) -> None:
    if spec.retryable:
        assert operation.session is not None
        operation.session.begin_retryable_write(number)
        operation.retryable = True
    elif spec.in_transaction:
        raise CommandFailure(
            _NOT_A_RETRYABLE_WRITE,
            "txnNumber may only be provided for multi-document transactions and retryable write "
            f"commands. autocommit:false was not provided, and {spec.name} is not a retryable "
            "write command.",
            extra={"codeName": "NotARetryableWriteCommand"},
        )
    else:
        raise CommandFailure(
            _TXN_NUMBER_NOT_ALLOWED, "It is illegal to provide a txnNumber for this command"
        )


def _refusal(name: str) -> str:
    if name == "count":
        return (
            "Cannot run 'count' in a multi-document transaction. Please see "
            "http://dochub.mongodb.org/core/transaction-count for a recommended alternative."
        )
    if name in _OUTSIDE_OF_SESSIONS:
        return "This command is not supported in transactions"
    return f"Cannot run '{name}' in a multi-document transaction."
