"""What is known of the deployment behind a backend, and when it has to be asked again.

Drivers poll ``hello`` every ten seconds from every client; asking the backend each time would be
an invocation each. So a description is kept until something says that it may have changed: a
server's state-change code, a command that was not carried, its age, or the description itself
being one of a deployment in trouble. No socket is known here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import bson

from transports.endpoint.backend import Backend, Deployment, Member
from transports.endpoint.elements import MalformedDocument
from transports.endpoint.handshake import CODEC_OPTIONS, checked_hello
from transports.endpoint.replies import read_reply
from transports.errors import CarriageError, origin

logger = logging.getLogger(__name__)

NO_PRIMARY_MAX_AGE_S = 0.5
"""While no member takes writes nothing else would tell of the next primary: drivers ask again
after ``minHeartbeatFrequencyMS``, which is this."""

MEMBER_DOWN_MAX_AGE_S = 1.0
"""A member that cannot be asked may come back unnoticed. Drivers ask every ten seconds, and so
often the backend is asked then; but every half second while something waits for that member."""

# Unauthorized, ProtocolError, AuthenticationFailed: of the function or its user, not of a server.
_REFUSALS = frozenset({13, 17, 18})

Follow = Callable[[Deployment], Awaitable[None]]
_Described = tuple[int, Deployment]  # how many doubts had been raised when it was asked for


class Topology:
    """The cached description of a deployment, refreshed by one `Backend.describe` at a time.

    Args:
        backend: who is asked.
        max_age_s: the age at which a description is asked for anew; None for never.
        follow: awaited with each new description before anybody sees it, to open and close
            listeners.
    """

    def __init__(self, backend: Backend, *, max_age_s: float | None, follow: Follow) -> None:
        self._backend = backend
        self._max_age_s = max_age_s
        self._follow = follow
        self._deployment: Deployment | None = None
        self._described_at = 0.0
        # Counts what made the description doubtful; the description is of one such count.
        self._doubts = 0
        self._settled_doubts = -1
        self._refreshing: asyncio.Task[_Described] | None = None
        self._cluster_time = 0
        self._cluster_time_document: bytes | None = None
        self._operation_time = 0

    @property
    def known(self) -> Deployment | None:
        """The last description, however old."""
        return self._deployment

    def member(self, address: str) -> Member | None:
        """Return the member at *address* in the last description."""
        members = self._deployment.members if self._deployment else ()
        return next((m for m in members if m.address == address), None)

    async def current(self) -> Deployment:
        """Return a description that nothing speaks against, asking the backend if need be.

        Raises:
            CarriageError: the backend could not tell.
        """
        doubts = self._doubts
        # A refresh that began before the latest doubt answers nothing: one more follows it.
        for _ in range(2):
            if self._deployment is not None and not self._is_stale(doubts):
                break
            answered, deployment = await self._refresh()
            if answered >= doubts:
                return deployment
        assert self._deployment is not None
        return self._deployment

    def doubt(self) -> None:
        """Mark the description as stale: the next `current` asks the backend."""
        self._doubts += 1

    def read(self, reply: bytes) -> None:
        """Note what a server's reply tells: the newest times, or a change of its state."""
        try:
            facts = read_reply(reply)
        except MalformedDocument:
            logger.warning("a reply of %d bytes is not a BSON document", len(reply))
            return
        if facts.state_changed:
            self.doubt()
        if facts.cluster_time > self._cluster_time and facts.cluster_time_document is not None:
            self._cluster_time = facts.cluster_time
            start, end = facts.cluster_time_document
            self._cluster_time_document = reply[start:end]
        if facts.operation_time > self._operation_time:
            self._operation_time = facts.operation_time

    def cluster_time(self) -> dict[str, Any] | None:
        """Return the newest ``$clusterTime`` seen, None for none."""
        if self._cluster_time_document is None:
            return None
        try:
            return bson.decode(self._cluster_time_document, CODEC_OPTIONS)
        except Exception:  # of many kinds; only its frame was looked at when it came
            self._cluster_time_document = None
            return None

    def operation_time(self) -> bson.Timestamp | None:
        """Return the newest ``operationTime`` seen, None for none."""
        if not self._operation_time:
            return None
        return bson.Timestamp(self._operation_time >> 32, self._operation_time & 0xFFFFFFFF)

    async def aclose(self) -> None:
        """Give up a refresh that is under way."""
        task = self._refreshing
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _is_stale(self, doubts: int) -> bool:
        if self._settled_doubts < doubts:
            return True
        age = time.monotonic() - self._described_at
        limits = [self._max_age_s, self._trouble_max_age()]
        return any(limit is not None and age >= limit for limit in limits)

    def _trouble_max_age(self) -> float | None:
        members = self._deployment.members if self._deployment else ()
        answering = [m.hello for m in members if m.hello.get("ok")]
        if not any(h.get("isWritablePrimary") or h.get("ismaster") for h in answering):
            return NO_PRIMARY_MAX_AGE_S
        return MEMBER_DOWN_MAX_AGE_S if len(answering) < len(members) else None

    async def _refresh(self) -> _Described:
        """Join the refresh under way or begin one; survives the cancellation of who asked."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._describe(self._doubts))
            self._refreshing.add_done_callback(self._refreshed)
        refreshing = self._refreshing
        try:
            return await asyncio.shield(refreshing)
        except asyncio.CancelledError:
            if refreshing.cancelled() and not _is_being_cancelled():
                raise CarriageError(
                    "the endpoint is closing", code=91, code_name="ShutdownInProgress"
                ) from None
            raise

    def _refreshed(self, task: asyncio.Task[_Described]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # retrieved here too: those who waited may all have gone away

    async def _describe(self, doubts: int) -> _Described:
        try:
            deployment = await self._backend.describe()
        except CarriageError as exc:
            if self._deployment is not None and _is_no_news(exc):
                return doubts, self._deployment
            raise
        except Exception as exc:
            logger.error("the backend could not describe the deployment: %s", origin(exc))
            raise CarriageError(
                f"{type(exc).__name__} while the deployment was described",
                code=1,
                code_name="InternalError",
            ) from exc
        deployment = Deployment(
            members=tuple(
                replace(member, hello=checked_hello(member.hello)) for member in deployment.members
            )
        )
        await self._follow(deployment)
        for member in deployment.members:
            self._note_times(member)
        self._deployment = deployment
        self._described_at = time.monotonic()
        self._settled_doubts = doubts
        return doubts, deployment

    def _note_times(self, member: Member) -> None:
        times = {k: member.hello[k] for k in ("$clusterTime", "operationTime") if k in member.hello}
        if times:
            self.read(bson.encode(times))


def _is_no_news(error: CarriageError) -> bool:
    """Tell whether an error says nothing of the deployment: too much to do, or not allowed.

    A driver that heard it as the answer to ``hello`` would look for a server until its time is up,
    and its operations would not fail with what is wrong.
    """
    return "SystemOverloadedError" in error.labels or error.code in _REFUSALS


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
