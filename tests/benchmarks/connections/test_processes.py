from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.connections.processes import proportional_mb, silence

_CONNECT = (
    "import socket, sys\n"
    "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.fixture
def process(listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a connection to the listener."""
    arguments = [sys.executable, "-c", _CONNECT, str(listener.getsockname()[1])]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_connections_of_a_killed_process_are_closed_by_the_kernel(
    listener: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    connection, _ = listener.accept()
    process.kill()
    process.wait()
    with connection:
        connection.settimeout(20)
        assert connection.recv(1) == b""


def test_connections_that_were_silenced_end_without_a_word(
    listener: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    connection, (host, port) = listener.accept()
    with connection:
        try:
            found = silence(process.pid, listener.getsockname()[1])
        except PermissionError:
            pytest.skip("needs CAP_NET_ADMIN")
        assert found == {f"{host}:{port}"}
        process.kill()
        process.wait()
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # what a FIN would make b"", and a RST an error
            connection.recv(1)


def test_memory_is_told_of_processes_that_there_are() -> None:
    assert proportional_mb(os.getpid()) > 1
    assert proportional_mb(2**30) == 0
