"""How long a command waits for its turn at a function that has no concurrency to spare.

AWS Lambda turns an invoke away with 429 when every execution environment that the function may
have is busy. It certainly did not run, so it is tried again here, with full jitter and no more in
flight than were admitted (`transports.lambda_invoke.admission`), until the operation's patience is
at its end: ``throttleTimeoutMS``, or the command's own ``maxTimeMS`` if that is shorter.

Then the driver learns of it, and one that knows overload errors repeats the operation by itself.
Two loops, one inside the other, would multiply; so they follow one another: an operation whose
patience was used up is remembered, and a repetition of it is tried once.

Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
Spec: https://github.com/mongodb/specifications/blob/master/source/client-backpressure/client-backpressure.md
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transports.endpoint.backend import Request
from transports.endpoint.elements import MalformedDocument, elements, find, number
from transports.lambda_invoke.admission import Admission
from transports.lambda_invoke.edits import SECTION
from transports.lambda_invoke.invoke_errors import InvokeError

REMEMBERED_S = 15.0
"""How long an operation is remembered: longer than a driver backs off, 10 s at most."""

MAX_REMEMBERED = 10_000

_BACKOFF_BASE_S = 0.02
_BACKOFF_CAP_S = 1.0
# What may differ when a driver repeats an operation.
_VOLATILE = frozenset(
    {b"$clusterTime", b"maxTimeMS", b"readConcern", b"startTransaction", b"writeConcern"}
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an operation may wait, in seconds, and whether ``maxTimeMS`` says so."""

    seconds: float
    is_max_time: bool = False


class Throttling:
    """Tries throttled invokes again. Belongs to one event loop.

    Args:
        timeout_s: how long an operation may wait.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._exhausted: OrderedDict[bytes, float] = OrderedDict()
        self.admission = Admission()

    async def run(self, invoke: Callable[[], Awaitable[bytes]], request: Request | None) -> bytes:
        """Return what *invoke* returns, as soon as it is admitted.

        Args:
            invoke: one invoke, posted once.
            request: the operation that it is a part of; None has all the patience there is.

        Raises:
            InvokeError: the invoke failed; ``throttled`` or ``expired`` if the patience ended.
        """
        started = time.monotonic()
        attempt = 0
        while True:
            await self._admit(started, request, again=attempt > 0)
            try:
                body = await invoke()
            except InvokeError as error:
                if error.kind != "throttled":
                    self.admission.succeeded()
                    raise
                self.admission.throttled()
                delay = self.delay(attempt)
                patience = self.patience(request)
                if time.monotonic() + delay - started > patience.seconds:
                    raise self.give_up(request, patience, error.message) from error
            except BaseException:
                self.admission.succeeded()
                raise
            else:
                self.admission.succeeded()
                if self._exhausted and request is not None:
                    self._exhausted.pop(_identity(request.message), None)
                return body
            attempt += 1
            await asyncio.sleep(delay)

    async def _admit(self, started: float, request: Request | None, *, again: bool) -> None:
        if self.admission.enter_now(first=again):
            return
        patience = self.patience(request)
        # What has waited before, here or in a former life, need not stand in line again.
        first = again or patience.seconds == 0
        remaining = max(patience.seconds - (time.monotonic() - started), 0)
        try:
            await self.admission.enter(remaining, first=first)
        except TimeoutError as error:
            raise self.waited(request, patience) from error

    def delay(self, attempt: int) -> float:
        """Return how many seconds to let pass after the throttled attempt number *attempt*."""
        return random.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2**attempt))  # noqa: S311 - jitter

    def is_exhausted(self, request: Request) -> bool:
        """Whether the patience of *request* was used up a short time ago: it is tried once."""
        if not self._exhausted:
            return False
        self._forget_old()
        return _identity(request.message) in self._exhausted

    def patience(self, request: Request | None) -> Patience:
        """Return how long *request* may wait; None has all the patience there is."""
        if request is None:
            return Patience(self._timeout_s)
        if self.is_exhausted(request):
            return Patience(0)
        max_time_s = _max_time_s(request)
        if max_time_s is not None and max_time_s < self._timeout_s:
            return Patience(max_time_s, is_max_time=True)
        return Patience(self._timeout_s)

    def waited(self, request: Request | None, patience: Patience) -> InvokeError:
        """Return the error of *request*, which waited for its turn in vain; remember it."""
        return self.give_up(
            request,
            patience,
            f"waited {patience.seconds:g} s for its turn: AWS Lambda admits "
            f"{self.admission.limit:.0f} invokes at a time",
        )

    def give_up(self, request: Request | None, patience: Patience, message: str) -> InvokeError:
        """Return the error of *request*, whose *patience* has ended; remember it."""
        if patience.is_max_time:
            # A server, too, counts the time that an operation waits to be let in.
            return InvokeError(
                "expired",
                f"its maxTimeMS of {patience.seconds * 1000:.0f} ended before it was admitted: "
                f"{message}",
                "no",
            )
        if request is not None:
            identity = _identity(request.message)
            self._exhausted[identity] = time.monotonic()
            self._exhausted.move_to_end(identity)
            if len(self._exhausted) > MAX_REMEMBERED:
                self._exhausted.popitem(last=False)
        return InvokeError("throttled", message, "no")

    def _forget_old(self) -> None:
        limit = time.monotonic() - REMEMBERED_S
        while self._exhausted and next(iter(self._exhausted.values())) < limit:
            self._exhausted.popitem(last=False)


def _identity(message: bytes) -> bytes:
    """Return what is the same in every repetition of an operation, its session included."""
    digest = hashlib.blake2b(digest_size=16)
    end = 4
    try:
        if message[4:5] == b"\x00":
            for element in elements(message, SECTION):
                end = element.end
                if element.name not in _VOLATILE:
                    digest.update(element.name)
                    digest.update(memoryview(message)[element.start : element.end])
    except MalformedDocument:
        end = 4
    digest.update(memoryview(message)[end:])
    return digest.digest()


def _max_time_s(request: Request) -> float | None:
    """Return the time limit of a command, in seconds.

    A ``getMore`` has none: there ``maxTimeMS`` is how long to wait for further documents.
    """
    if request.name == "getMore" or request.message[4:5] != b"\x00":
        return None
    try:
        element = find(request.message, b"maxTimeMS", SECTION)
        if element is None:
            return None
        milliseconds = number(request.message, element)
    except MalformedDocument:
        return None
    return milliseconds / 1000 if milliseconds and milliseconds > 0 else None
