"""Planted defects: what a transport must never do. The run has to find each of them.

A run that cannot fail proves nothing. Each defect is one that a proxy of this kind has had or could
have, planted into the callers' transport; ``scripts/chaos --sabotage <name>`` must end red.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from unittest import mock

import bson

from transports.endpoint.backend import Request
from transports.errors import CarriageError
from transports.lambda_invoke.backend import LambdaBackend

Run = Callable[[LambdaBackend, Request], Awaitable[bytes]]

_OFTEN = 0.5


def _lose(run: Run) -> Run:
    """Acknowledge an insert that was never sent."""

    async def lossy(backend: LambdaBackend, request: Request) -> bytes:
        if request.name == "insert" and random.random() < _OFTEN:
            return bson.encode({"ok": 1.0, "n": 1})
        return await run(backend, request)

    return lossy


def _repeat(run: Run) -> Run:
    """Send a command again whose outcome is unknown, as an SDK with its own retries does."""

    async def repeating(backend: LambdaBackend, request: Request) -> bytes:
        try:
            return await run(backend, request)
        except CarriageError as error:
            if "unknown" not in error.message:
                raise
        return await run(backend, request)

    return repeating


def _strip(run: Run) -> Run:
    """Send retryable writes without their ``txnNumber``: the server cannot tell a repetition."""

    async def stripping(backend: LambdaBackend, request: Request) -> bytes:
        return await run(backend, _without_transaction_number(request))

    return stripping


def _forget_unknown(run: Run) -> Run:
    """Say of a command whose outcome is unknown that it did not run."""

    async def forgetful(backend: LambdaBackend, request: Request) -> bytes:
        try:
            return await run(backend, request)
        except CarriageError as error:
            raise CarriageError(
                "It did not run.", code=error.code, code_name=error.code_name
            ) from error

    return forgetful


DEFECTS: Mapping[str, Callable[[Run], Run]] = MappingProxyType(
    {
        "lose-writes": _lose,
        "repeat-invokes": _repeat,
        "strip-txn-number": _strip,
        "deny-outcome": _forget_unknown,
    }
)


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Have every ``lambda://`` transport of this process show the defect; none for ``""``."""
    if not name:
        yield
        return
    with mock.patch.object(LambdaBackend, "run", DEFECTS[name](LambdaBackend.run)):
        yield


def _without_transaction_number(request: Request) -> Request:
    """Return the request as one that the server does not take for a retryable write."""
    message = request.message
    if message[4] != 0:
        return request
    size = int.from_bytes(message[5:9], "little")
    command = bson.decode(message[5 : 5 + size])
    if "txnNumber" not in command or "autocommit" in command:
        return request
    del command["txnNumber"]
    return replace(request, message=message[:5] + bson.encode(command) + message[5 + size :])
