"""A local Lambda in front of the session's mongod, and tunnels to it, as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

_NODE_MODULES = "ODM_TEST_NODE_MODULES"


class Tunnel:
    """A running ``odm tunnel --json``: what it says, line by line.

    Attributes:
        listening: its first event.
        uri: the address that it wrote.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.communicate()[1]
        self.listening: dict[str, Any] = json.loads(first)
        self.uri: str = self.listening["uri"]

    def end(self) -> list[dict[str, Any]]:
        """Stop it as Ctrl-C does; return the events after the first."""
        self._process.terminate()
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 143, err
        return [json.loads(line) for line in out.splitlines()]


StartTunnel = Callable[..., AbstractContextManager[Tunnel]]


def _environment(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name[:4] != "ODM_"} | given


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "odm.cli.main", *arguments],
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.fixture
def start_tunnel() -> StartTunnel:
    """``with start_tunnel(url, "--read-only", ODM_TUNNEL_PASSWORD="…") as tunnel: …``."""

    @contextmanager
    def start(url: str, *options: str, **environment: str) -> Iterator[Tunnel]:
        arguments = ("tunnel", url, "--listen", "127.0.0.1:0", "--json", *options)
        with _running(*arguments, **environment) as process:
            yield Tunnel(process)

    return start


@pytest.fixture(scope="module")
def lambda_url(mongod_uri: str) -> Iterator[str]:
    """The URL of a DB proxy function, reserved concurrency 4; every database is allowed."""
    arguments = ("local", "--mongodb-uri", mongod_uri, "--port", "0", "--concurrency", "4")
    with _running(*arguments, "--json", "--quiet") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        yield json.loads("".join(lines))["url"]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Where npm has installed ``mongodb`` and ``mongosh``, by ``ODM_TEST_NODE_MODULES``."""
    given = os.environ.get(_NODE_MODULES)
    if not given or not shutil.which("node"):
        pytest.skip(
            "needs Node: npm install --prefix DIR mongodb mongosh; "
            f"{_NODE_MODULES}=DIR/node_modules"
        )
    return Path(given)
