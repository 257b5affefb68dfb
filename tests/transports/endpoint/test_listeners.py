"""Directories, permissions and sockets."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from transports.endpoint.listeners import (
    MAX_PATH_BYTES,
    Addresses,
    ListenAddress,
    ListenError,
    bind_tcp,
    bind_unix,
    parse_listen,
    private_directory,
)


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose path is short enough for sockets, which pytest's own may not be."""
    directory = Path(tempfile.mkdtemp(prefix="odm-test-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


def mode(path: Path | str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:27018", ListenAddress(host="127.0.0.1", port=27018)),
        ("localhost:0", ListenAddress(host="localhost", port=0)),
        ("[::1]:27018", ListenAddress(host="::1", port=27018)),
        ("/run/x.sock", ListenAddress(path="/run/x.sock")),
    ],
)
def test_addresses_are_parsed(listen: str, address: ListenAddress) -> None:
    assert parse_listen(listen) == address


@pytest.mark.parametrize(
    "listen",
    [
        "",
        "127.0.0.1",
        ":27018",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "x.sock",
        "run/x.sock",
        "/run/x",
        "/run/X.sock",
        "/" + "x" * MAX_PATH_BYTES + ".sock",
    ],
)
def test_addresses_that_mean_nothing_are_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="cannot listen on"):
        parse_listen(listen)


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("/a.sock", True),
        ("0.0.0.0:1", False),
        ("10.0.0.5:1", False),
        ("db.example:1", False),
    ],
)
def test_what_others_can_reach_is_told_apart(listen: str, loopback: bool) -> None:
    assert parse_listen(listen).is_loopback is loopback


def test_private_sockets_are_private_and_removed() -> None:
    addresses = Addresses(None)
    bound = [addresses.bind() for _ in range(3)]
    paths = [Path(address) for _, address in bound]
    assert [path.name for path in paths] == ["m0.sock", "m1.sock", "m2.sock"]
    directory = paths[0].parent
    assert mode(directory) == 0o700
    assert all(mode(path) == 0o600 for path in paths)
    assert str(paths[0]) == str(paths[0]).lower()
    addresses.release(str(paths[1]))
    assert not paths[1].exists()
    for sock, _ in bound:
        sock.close()
    addresses.close()
    addresses.close()
    assert not directory.exists()


def test_a_directory_that_nobody_closed_is_removed_by_its_own_process_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = Addresses(None)
    sock, address = addresses.bind()
    sock.close()
    directory = Path(address).parent
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as a forked child would see it
    removal = addresses._removal
    assert removal is not None
    detached = removal.peek()
    assert detached is not None
    _, remove, arguments, _ = detached
    remove(*arguments)
    assert directory.exists()
    monkeypatch.undo()
    del addresses, detached
    gc.collect()
    assert not directory.exists()


@pytest.mark.parametrize("name", ["Upper", "long" * 30])
def test_a_temporary_directory_that_does_not_suit_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    unsuited = tmp_path / name
    unsuited.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(unsuited))
    directory = private_directory()
    try:
        assert not directory.is_relative_to(unsuited)
        assert list(unsuited.iterdir()) == []
        path = f"{directory}/m999.sock"
        assert path == path.lower()
        assert len(os.fsencode(path)) <= MAX_PATH_BYTES
        assert mode(directory) == 0o700
    finally:
        directory.rmdir()


def test_a_socket_of_one_s_own_has_its_further_members_beside_it(short_directory: Path) -> None:
    path = short_directory / "x.sock"
    addresses = Addresses(parse_listen(str(path)))
    bound = [addresses.bind() for _ in range(2)]
    assert [address for _, address in bound] == [str(path), str(short_directory / "x.m1.sock")]
    assert mode(path) == 0o600
    for sock, _ in bound:
        sock.close()
    addresses.close()
    assert list(short_directory.iterdir()) == []


def test_a_socket_left_behind_is_replaced(short_directory: Path) -> None:
    path = str(short_directory / "x.sock")
    bind_unix(path).close()
    assert Path(path).exists()
    bind_unix(path).close()


def test_a_socket_in_use_is_left_alone(short_directory: Path) -> None:
    path = str(short_directory / "x.sock")
    with bind_unix(path), pytest.raises(ListenError, match="somebody else does"):
        bind_unix(path)
    assert Path(path).exists()


def test_what_is_no_socket_is_left_alone(short_directory: Path) -> None:
    path = short_directory / "x.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="is no socket"):
        bind_unix(str(path))
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_told(short_directory: Path) -> None:
    with pytest.raises(ListenError, match="No such file"):
        bind_unix(str(short_directory / "missing" / "x.sock"))


def test_a_port_in_use_is_told() -> None:
    with bind_tcp("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
            bind_tcp("127.0.0.1", port)


def test_a_host_that_is_not_this_one_is_told() -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        bind_tcp("192.0.2.1", 0)


def test_the_first_member_gets_the_port_and_others_free_ones() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    addresses = Addresses(ListenAddress(host="127.0.0.1", port=port))
    (first, first_address), (second, second_address) = addresses.bind(), addresses.bind()
    with first, second:
        assert first_address == f"127.0.0.1:{port}"
        assert second_address == f"127.0.0.1:{second.getsockname()[1]}"
        assert second_address != first_address
    addresses.close()


def test_what_listens_everywhere_is_reached_by_loopback() -> None:
    addresses = Addresses(ListenAddress(host="0.0.0.0", port=0))
    sock, address = addresses.bind()
    with sock:
        assert address == f"127.0.0.1:{sock.getsockname()[1]}"


def test_without_unix_sockets_there_are_loopback_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.endpoint.listeners.HAS_UNIX_SOCKETS", False)
    sock, address = Addresses(None).bind()
    with sock:
        assert sock.family != socket.AF_UNIX
        assert address == f"127.0.0.1:{sock.getsockname()[1]}"
