"""Other users of the machine: none may connect, nor listen in our place."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from transports.endpoint import Endpoint, listeners
from transports.endpoint.listeners import ListenError, bind_unix, is_private, parse_listen

NOBODY = 65534
Client = AsyncMongoClient[dict[str, Any]]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and modes are POSIX's")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else"
)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this process, as open and sticky as ``/tmp`` is."""
    directory = Path(tempfile.mkdtemp(prefix="odm-t-", dir="/tmp"))
    directory.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def as_nobody(program: str, *arguments: str) -> str:
    """Run Python as a user who owns nothing, and return what it printed."""
    # Imported first: nobody may not be able to read this interpreter's library.
    become = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    code = f"import os, socket, sys; {become}\n{program}"
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


CONNECT = """
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@as_root
async def test_another_user_cannot_connect(endpoint: Endpoint) -> None:
    for address in endpoint.addresses().values():
        assert await asyncio.to_thread(as_nobody, CONNECT, address) == "PermissionError"
    assert endpoint.statistics().connections == 0


@as_root
@pytest.mark.usefixtures("open_umask")
async def test_another_user_cannot_connect_to_a_socket_in_an_open_directory(
    backend: Any, parent: Path
) -> None:
    """The mode of the socket keeps them out alone, whatever the umask."""
    async with Endpoint(backend, listen=str(parent / "x.sock")) as endpoint:
        for address in endpoint.addresses().values():
            assert await asyncio.to_thread(as_nobody, CONNECT, address) == "PermissionError"


@as_root
def test_another_user_cannot_take_the_socket_s_place(parent: Path) -> None:
    directory = listeners.private_directory()
    program = """
for attempt in (
    lambda: os.rename(sys.argv[1], sys.argv[1] + "x"),
    lambda: os.listdir(sys.argv[1]),
    lambda: os.symlink("/etc", sys.argv[1] + "/x"),
):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
"""
    assert as_nobody(program, str(directory)).split() == ["refused"] * 3


@pytest.mark.usefixtures("open_umask")
def test_directory_and_socket_are_private_from_their_first_instant(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    mkdir, bind = os.mkdir, socket.socket.bind

    def watched_mkdir(path: Any, mode: int = 0o777, **options: Any) -> None:
        mkdir(path, mode, **options)
        modes.append(stat.S_IMODE(Path(path).stat().st_mode))

    class Watched(socket.socket):
        def bind(self, address: Any, /) -> None:
            bind(self, address)
            modes.append(stat.S_IMODE(Path(address).stat().st_mode))

    monkeypatch.setattr(os, "mkdir", watched_mkdir)
    monkeypatch.setattr(socket, "socket", Watched)
    directory = listeners.private_directory()
    bind_unix(str(directory / "m0.sock")).close()
    assert modes == [0o700, 0o600] if sys.platform == "linux" else modes[0] == 0o700


def test_a_directory_that_is_there_already_is_not_taken(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever guesses the name has made a directory, or a link to one, that nobody enters."""
    theirs = parent / "theirs"
    theirs.mkdir()
    (parent / "odm-guessed0").symlink_to(theirs)
    (parent / "odm-guessed1").mkdir(mode=0o777)
    names = iter(["guessed0", "guessed1", "unguessed"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    assert listeners.private_directory() == parent / "odm-unguessed"
    assert list(theirs.iterdir()) == []


def test_a_link_in_the_socket_s_place_is_not_followed(parent: Path) -> None:
    target, link = parent / "precious", parent / "x.sock"
    target.write_text("precious")
    target.chmod(0o644)
    link.symlink_to(target)
    with pytest.raises(ListenError, match="is no socket"):
        bind_unix(str(link))
    link.unlink()
    link.symlink_to(parent / "nowhere")
    with pytest.raises(ListenError):
        bind_unix(str(link))
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("precious", 0o644)
    assert not (parent / "nowhere").exists()


@as_root
def test_a_socket_of_somebody_else_is_left_alone(parent: Path) -> None:
    path = parent / "x.sock"
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        os.chown(path, NOBODY, NOBODY)
        theirs.listen()
        with pytest.raises(ListenError, match="somebody else does"):
            bind_unix(str(path))


@pytest.mark.parametrize(
    ("mode", "private"), [(0o700, True), (0o755, True), (0o1777, True), (0o777, False)]
)
def test_who_can_rename_the_directory_can_take_its_place(
    parent: Path, mode: int, private: bool
) -> None:
    above = parent / "above"
    (above / "below").mkdir(parents=True)
    above.chmod(mode)
    assert is_private(parse_listen(str(above / "below" / "x.sock"))) is private
    assert is_private(parse_listen(str(above / "x.sock"))) is private


@as_root
def test_the_owner_of_a_directory_above_can_take_its_place(parent: Path) -> None:
    theirs = parent / "theirs"
    (theirs / "below").mkdir(parents=True)
    (parent / "link").symlink_to(theirs / "below")
    assert is_private(parse_listen(str(theirs / "below" / "x.sock")))
    os.chown(theirs, NOBODY, NOBODY)
    assert not is_private(parse_listen(str(theirs / "below" / "x.sock")))
    assert not is_private(parse_listen(str(parent / "link" / "x.sock")))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_a_port_is_everybody_s(listen: str) -> None:
    assert not is_private(parse_listen(listen))


def test_a_temporary_directory_that_others_control_is_passed_over(parent: Path) -> None:
    parent.chmod(0o777)  # not sticky
    assert is_private(None)
    directory = listeners.private_directory()
    directory.rmdir()
    assert not directory.is_relative_to(parent)


async def test_where_only_such_directories_are_the_driver_and_endpoint_prove_themselves(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCRAM proves both sides: who took the socket's place knows no key of the password's."""
    monkeypatch.setattr(listeners, "_is_out_of_reach", lambda _: False)
    await asks_for_a_credential(Endpoint(backend))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0"])
async def test_a_port_asks_for_a_credential_of_its_own(backend: Any, listen: str) -> None:
    await asks_for_a_credential(Endpoint(backend, listen=listen))


async def asks_for_a_credential(made: Endpoint) -> None:
    async with made as endpoint:
        credentials, _, rest = endpoint.uri.removeprefix("mongodb://").partition("@")
        assert len(credentials.partition(":")[2]) >= 43, "256 random bits"
        async with Client("mongodb://" + rest.partition("&")[0]) as client:
            with pytest.raises(OperationFailure, match="requires authentication"):
                await client.shop.command("find", "c")
        async with Client(endpoint.uri) as client:
            assert await client.admin.command("ping") == {"ok": 1.0}
        assert credentials.partition(":")[2] not in f"{endpoint!r} {endpoint.statistics()!r}"
