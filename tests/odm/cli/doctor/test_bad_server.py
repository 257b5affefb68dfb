"""A server that is badly set up: alone, full at thirty connections, its users with every right."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from transports.mongod import find_mongod

OdmHere = Callable[..., Any]
Deploy = Callable[..., None]


@pytest.fixture(scope="module")
def bad_server(
    mongod_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A standalone server with ``--auth`` and ``maxConns`` 30: its address, and its socket's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory: Path = tmp_path_factory.mktemp("bad")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(find_mongod()), "--dbpath", str(directory), "--port", str(port)),
                *("--bind_ip", "127.0.0.1", "--nounixsocket", "--maxConns", "30", "--auth"),
                *("--wiredTigerCacheSizeGB", "0.25"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
            client.admin.command(
                "createUser", "root", pwd="hunter2", roles=[{"role": "root", "db": "admin"}]
            )
        yield f"127.0.0.1:{port}", "root:hunter2"
    finally:
        process.terminate()
        process.wait()


def by_status(ran: Any, status: str) -> set[str]:
    found = json.loads(ran.out)
    return {each["rule"] for each in found["findings"] if each["status"] == status}


def test_its_faults_are_found(
    odm_here: OdmHere,
    front: Any,
    deploy: Deploy,
    bad_server: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, user = bad_server
    deploy("api", good=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", front.url)
    url = f"mongodb://{user}@{address}/cms?authSource=admin&maxPoolSize=4"
    ran = odm_here("doctor", url, "--caller", "api", "--json")
    assert ran.code == 1
    # 15 environments x (4 + 1) connections, of 30
    assert by_status(ran, "problem") == {"connection-ceiling"}
    assert by_status(ran, "warning") == {
        "topology",
        "database-user",
        "server-version",
        "direct-from-lambda",
    }
    assert "hunter2" not in ran.out + ran.err


def test_a_url_without_its_user_is_told_what_could_not_be_asked(
    odm_here: OdmHere, bad_server: tuple[str, str]
) -> None:
    address, _ = bad_server
    ran = odm_here("doctor", f"mongodb://{address}/cms", "--json")
    assert "database-user" not in by_status(ran, "problem")
    assert "topology" in by_status(ran, "warning")


def test_a_wrong_password_is_told_and_not_shown(
    odm_here: OdmHere, bad_server: tuple[str, str]
) -> None:
    address, _ = bad_server
    ran = odm_here("doctor", f"mongodb://root:hunter3@{address}/cms?authSource=admin", "--json")
    assert ran.code == 3
    assert "refused the credentials" in ran.out
    assert "hunter3" not in ran.out + ran.err
