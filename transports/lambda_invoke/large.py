"""The caller's side of bodies that do not fit into one invoke (`transports.lambda_invoke.bodies`).

An ordinary body passes through without a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

from transports.endpoint.backend import Request
from transports.errors import CarriageError
from transports.lambda_invoke.bodies import (
    MAX_BODY_BYTES,
    Body,
    BodyError,
    compress,
    decompress,
    fits,
    split,
)
from transports.lambda_invoke.envelope import (
    DiscardItem,
    FailureResult,
    FetchItem,
    Item,
    ReplyResult,
    Result,
    StageItem,
)
from transports.lambda_invoke.failures import function_failure, protocol_failure
from transports.lambda_invoke.invoke_errors import InvokeError

Exchange = Callable[[Sequence[Item], Request | None], Awaitable[Sequence[Result]]]


class LargeBodies:
    """Carries bodies of any size with the help of *exchange*, which carries items.

    Args:
        exchange: sends items in one invoke and returns their results.
        function: the function's display name, for messages.
    """

    def __init__(self, exchange: Exchange, function: str) -> None:
        self._exchange = exchange
        self._function = function
        self.staged = 0
        """Bodies that went through MongoDB, both ways."""

    async def outgoing(self, message: bytes, request: Request) -> Body:
        """Return *message* as an envelope can carry it, its parts staged if need be.

        Raises:
            InvokeError: a part could not be staged; the command has not been sent.
            CarriageError: likewise, in the function's words.
        """
        if fits(len(message)):
            return Body(message)
        data, encoding = await asyncio.to_thread(compress, message)
        if fits(len(data)):
            return Body(data, encoding)
        identifier = uuid4().hex
        number = 0
        for number, part in enumerate(split(data), start=1):
            await self._stage(StageItem(identifier, number - 1, bytes(part)), request)
        self.staged += 1
        return Body(b"", encoding, identifier, number)

    async def _stage(self, item: StageItem, request: Request) -> None:
        try:
            [result] = await self._exchange([item], request)
        except InvokeError as error:  # whatever became of the part, the command did not run
            raise InvokeError(error.kind, error.message, "no") from error
        if isinstance(result, FailureResult):
            raise function_failure(result, self._function, request)

    async def incoming(self, body: Body, request: Request) -> bytes:
        """Return the bytes of a reply, fetched and decompressed if need be.

        Raises:
            InvokeError: a part could not be fetched; the command has run.
            CarriageError: likewise, in the function's words.
        """
        if not body.staged and not body.encoding:
            return body.data
        data = await self._fetch(body, request) if body.staged else body.data
        try:
            return bytes(await asyncio.to_thread(decompress, data, body.encoding))
        except BodyError as error:
            raise protocol_failure(str(error), self._function, request) from error

    async def _fetch(self, body: Body, request: Request) -> bytes:
        whole = bytearray()
        try:
            for part in range(body.parts):
                [result] = await self._exchange([FetchItem(body.staged, part)], request)
                whole += self._part(result, request)
                if len(whole) > MAX_BODY_BYTES:
                    message = f"the reply is longer than {MAX_BODY_BYTES:,} bytes"
                    raise protocol_failure(message, self._function, request)
        except InvokeError as error:
            raise InvokeError(error.kind, error.message, "yes") from error
        # The reply is here: what becomes of its parts is no reason to lose it, and they expire.
        with contextlib.suppress(InvokeError, CarriageError):
            await self._exchange([DiscardItem(body.staged)], request)
        self.staged += 1
        return bytes(whole)

    def _part(self, result: Result, request: Request) -> bytes:
        if isinstance(result, ReplyResult):
            return result.reply.data
        if isinstance(result, FailureResult):
            failure = FailureResult(result.code, result.code_name, result.message, "yes")
            raise function_failure(failure, self._function, request)
        raise protocol_failure("a part was answered with a description", self._function, request)
