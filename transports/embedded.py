"""Embedded: a private, real ``mongod`` for demos, development and integration tests.

It finds the program and starts it (`transports.mongod`), connects the driver to it, and shares a
named one between the transports of this process. The data goes when the last of them closes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from pymongo import AsyncMongoClient

from transports.base import Transport
from transports.driver import check_deployment, create_client
from transports.errors import InvalidURL, TransportClosed
from transports.mongod import MongodOptions, ReplicaSet
from transports.url import TransportURL, check_options

OPTIONS = ("members", "testCommands")


class EmbeddedTransport(Transport):
    """``embedded://[<name>]/<database>[?members=1&testCommands=false]``.

    Without a name every transport has a deployment of its own; with one, all transports of this
    process that are open under that name share it, whichever event loop they are on.

    Options:
        members: the members of the replica set, 1 to 7; 1 by default.
        testCommands: ``true`` enables the server's test commands, failpoints among them.

    Raises (from ``open()``):
        MissingExtra: no ``mongod`` was found.
        ServerUnreachable: it did not start; the message ends with its log.

    Commands are not counted, for the reason that the direct transport gives.
    """

    name: ClassVar[str] = "embedded"

    def __init__(self, url: TransportURL) -> None:
        super().__init__(url)
        check_options(url.options, OPTIONS, url.raw)
        self._options = _parse_options(url)
        self._deployment: _Deployment | None = None

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        self._deployment = _Deployment.of(self.url, self._options)
        # A start that is cancelled half way must still be waited for, or nobody would stop it.
        starting = asyncio.ensure_future(asyncio.to_thread(self._deployment.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            raise
        client = create_client(self.url, self.uri)
        try:
            await check_deployment(client, self.url)
        except BaseException:
            await client.close()
            raise
        return client

    async def _close(self) -> None:
        deployment, self._deployment = self._deployment, None
        if deployment is not None:
            await asyncio.shield(asyncio.to_thread(deployment.release))

    def _abandon(self, *, forked: bool) -> None:
        deployment, self._deployment = self._deployment, None
        if deployment is not None and not forked:  # the parent's mongod
            deployment.release()

    @property
    def replica_set(self) -> ReplicaSet:
        """The processes behind it, for tests that kill, freeze and restart members.

        Raises:
            TransportClosed: the transport is not open.
        """
        if self._deployment is None:
            raise TransportClosed(f"{self!r} is not open")
        return self._deployment.replica_set

    @property
    def uri(self) -> str:
        """``mongodb://127.0.0.1:<port>/<database>?replicaSet=…``: any driver may connect."""
        return self.replica_set.uri.replace("/?", f"/{self.url.database}?")


def _parse_options(url: TransportURL) -> MongodOptions:
    members = url.options.get("members", "1")
    test_commands = url.options.get("testCommands", "false")
    if not members.isdecimal() or not 1 <= int(members) <= 7:
        raise InvalidURL(f"members={members!r} in {url.redacted!r}: expected a number from 1 to 7")
    if test_commands not in ("true", "false"):
        raise InvalidURL(
            f"testCommands={test_commands!r} in {url.redacted!r}: expected 'true' or 'false'"
        )
    return MongodOptions(members=int(members), test_commands=test_commands == "true")


@dataclass(slots=True)
class _Deployment:
    """A replica set and how many transports hold it. Used from threads."""

    replica_set: ReplicaSet
    name: str
    holders: int
    lock: threading.Lock

    @classmethod
    def of(cls, url: TransportURL, options: MongodOptions) -> _Deployment:
        """Return the deployment of the URL's name, or a new one, with one more holder."""
        with _shared_lock:
            deployment = _shared.get(url.target)
            if deployment is None:
                deployment = cls(ReplicaSet(options), url.target, 0, threading.Lock())
                if url.target:
                    _shared[url.target] = deployment
            elif deployment.replica_set.options != options:
                raise InvalidURL(
                    f"embedded://{url.target} is open in this process with other options:"
                    f" use the same ones as there, or another name, in {url.redacted!r}"
                )
            deployment.holders += 1
            return deployment

    def start(self) -> None:
        """Start the replica set, or wait until the holder that began has done so."""
        with self.lock:
            self.replica_set.start()

    def release(self) -> None:
        """Give it up; the last holder stops it."""
        with _shared_lock:
            self.holders -= 1
            if self.holders:
                return
            if _shared.get(self.name) is self:
                del _shared[self.name]
        with self.lock:
            self.replica_set.stop()


def _forget_shared() -> None:
    """Leave what a parent has started to it: a forked child shares nothing with it."""
    global _shared_lock
    _shared.clear()
    _shared_lock = threading.Lock()


_shared: dict[str, _Deployment] = {}
_shared_lock = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_shared)
