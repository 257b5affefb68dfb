from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from odm.cli.failures import ExitCode
from odm.cli.tunnel.command import with_database, without_password
from odm.cli.tunnel.credentials import VARIABLE
from transports.url import parse_url

OdmHere = Callable[..., Any]
Client = pymongo.MongoClient[dict[str, Any]]


# -- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listen", ["27018", "0.0.0.0:27018", "/tmp/UPPER.sock", "relative.sock", "127.0.0.1:x"]
)
def test_an_address_that_cannot_be_is_wrong_usage(odm_here: OdmHere, listen: str) -> None:
    ran = odm_here("tunnel", "fake:///cms", "--listen", listen)
    assert ran.code == 2
    assert listen in ran.err
    assert ran.out == ""


def test_what_drivers_reach_directly_needs_no_tunnel(odm_here: OdmHere, mongod_uri: str) -> None:
    ran = odm_here("tunnel", mongod_uri)
    assert ran.code == 0
    assert ran.out == mongod_uri.replace("/?", "/test?") + "\n"
    assert "directly" in ran.err


@pytest.mark.parametrize("option", [("--read-only",), ("--user", "ann")])
def test_what_drivers_reach_directly_cannot_be_guarded(
    odm_here: OdmHere, option: tuple[str, ...]
) -> None:
    ran = odm_here("tunnel", "mongodb://127.0.0.1:1/cms", *option)
    assert ran.code == 2
    assert f"{option[0]} would change nothing" in ran.err


def test_a_port_that_is_taken_is_told(odm_here: OdmHere, mongod_uri: str) -> None:
    taken = parse_url(mongod_uri).target
    ran = odm_here("tunnel", "fake:///cms", "--listen", taken)
    assert ran.code == 3
    assert f"odm: cannot listen on {taken}: Address already in use" in ran.err
    assert "--listen 127.0.0.1:0" in ran.err


def test_a_function_that_does_not_answer_is_told(odm_here: OdmHere) -> None:
    url = "lambda://db-proxy/cms?endpoint=http://127.0.0.1:1"
    ran = odm_here("tunnel", url, "--listen", "127.0.0.1:0")
    assert ran.code == 3
    assert "db-proxy" in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_user_without_a_password_is_told_where_to_put_it(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = odm_here("tunnel", "fake:///cms", "--user", "ann")
    assert ran.code == 2
    assert VARIABLE in ran.err
    assert "--password-file" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--password-file", "x"), "needs --user"),
        (("--user", "ann", "--password-file", "/no/such/file"), "No such file"),
        (("--user", "ann", "--password-file", os.devnull), "neither empty"),
    ],
)
def test_a_password_that_cannot_be_is_wrong_usage(
    odm_here: OdmHere, arguments: tuple[str, ...], words: str
) -> None:
    ran = odm_here("tunnel", "fake:///cms", *arguments)
    assert ran.code == 2
    assert words in ran.err


def test_a_password_that_no_driver_could_send_is_not_repeated(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "hunter\x072")
    ran = odm_here("tunnel", "fake:///cms", "--user", "ann")
    assert ran.code == 2
    assert "SASLprep" in ran.err
    assert "hunter" not in ran.err


# -- what it is for -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["127.0.0.1:0", "{directory}/cms.sock"])
def test_any_driver_reaches_the_url_through_the_tunnel(watched: Any, where: str) -> None:
    watched.start(
        "tunnel", "fake:///cms", "--listen", where.format(directory=watched.directory), "--json"
    )
    listening = json.loads(watched.wait_for("", on="stdout"))
    assert (listening["event"], listening["url"]) == ("listening", "fake:///cms")
    [address] = listening["members"].values()
    assert quote(address, safe=":") in listening["uri"]
    with Client(listening["uri"], appname="any") as client:
        database: Database[dict[str, Any]] = client.get_default_database()
        assert database.name == "cms"
        database.pages.insert_many([{"n": number} for number in range(300)])
        assert [page["n"] for page in database.pages.find().batch_size(50)] == list(range(300))
    watched.signal(signal.SIGINT)
    ran = watched.finish()
    assert ran.code == 130
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert {event["event"] for event in events[:-1]} == {"connected", "disconnected"}
    assert events[-1]["event"] == "closed"
    assert events[-1]["by_command"]["getMore"]["count"] == 6
    assert re.search(r"closed after .* \d+ commands of 1 client", ran.err)
    assert watched.left_behind() == []


def test_a_user_and_a_password_of_ones_own_are_asked_for(watched: Any) -> None:
    password = "p@ss:w/rd%?#é"
    file = watched.directory / "password"
    file.write_text(f"{password}\n")
    file.chmod(0o600)
    watched.start(
        *("tunnel", "fake:///cms", "--listen", "127.0.0.1:0"),
        *("--user", "ann@home", "--password-file", str(file)),
    )
    uri = watched.wait_for("mongodb://", on="stdout").strip()
    assert uri.startswith("mongodb://ann%40home@127.0.0.1:")
    host = uri.partition("@")[2].partition("/")[0]

    def names(password: str) -> list[str]:
        # As somebody writes it by hand: the user, the password, the database.
        userinfo = f"ann%40home:{quote(password, safe='')}"
        with Client(f"mongodb://{userinfo}@{host}/cms") as client:
            return client.cms.list_collection_names()

    assert names(password) == []
    with pytest.raises(OperationFailure, match="Authentication failed"):
        names("another")
    with (
        Client(f"mongodb://{host}/cms") as client,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        client.cms.list_collection_names()
    watched.signal(signal.SIGTERM)
    ran = watched.finish()
    assert ran.code == 143
    assert "Authentication failed" in ran.err
    assert "without a user and password" in ran.err
    assert not any(secret in ran.out + ran.err for secret in (password, quote(password, safe="")))
    file.unlink()
    assert watched.left_behind() == []


def test_the_password_is_asked_for_on_a_terminal() -> None:
    parent, child = pty.openpty()
    arguments = ("tunnel", "fake:///cms", "--listen", "127.0.0.1:0", "--user", "ann")
    with subprocess.Popen(
        [sys.executable, "-m", "odm.cli.main", *arguments],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm"},
        text=True,
    ) as process:
        os.close(child)
        screen = _Screen(parent)
        try:
            screen.wait_for("Password that clients of the tunnel need for ann: ")
            os.write(parent, b"right\n")
            assert process.stdout is not None
            uri = process.stdout.readline().strip()
            with Client(uri.replace("ann@", "ann:right@")) as client:
                assert client.admin.command("ping")["ok"]
            process.send_signal(signal.SIGINT)
            screen.wait_for("closed after")
            process.wait(timeout=30)
        finally:
            process.terminate()
            os.close(parent)
    assert process.returncode == 130


def test_a_tunnel_that_only_reads_refuses_as_a_server_does(watched: Any) -> None:
    watched.start("tunnel", "fake:///cms", "--listen", "127.0.0.1:0", "--read-only")
    uri = watched.wait_for("mongodb://", on="stdout").strip()
    assert "for reading only" in watched.wait_for("answers there")
    with Client(uri) as client:
        assert client.cms.pages.find_one() is None
        with pytest.raises(OperationFailure) as refused:
            client.cms.pages.insert_one({"_id": 1})
    assert refused.value.code == 13
    assert refused.value.details is not None
    assert refused.value.details["codeName"] == "Unauthorized"
    assert "not authorized on cms to execute command insert" in str(refused.value)
    watched.signal(signal.SIGINT)
    assert "errors: Unauthorized 1" in watched.finish().err


def test_commands_are_logged_by_name_without_what_is_in_them(watched: Any) -> None:
    watched.start("tunnel", "fake:///cms", "--listen", "127.0.0.1:0", "--log-commands")
    uri = watched.wait_for("mongodb://", on="stdout").strip()
    with Client(uri, appname="logged") as client:
        client.cms.pages.insert_one({"_id": "hunter2"})
        with pytest.raises(OperationFailure):
            client.cms.pages.insert_one({"_id": "hunter2"})
        with pytest.raises(OperationFailure):
            client.admin.command("createUser", "hunter2", pwd="hunter2", roles=[])
        line = watched.wait_for("insert")
        assert re.search(r" insert cms\.pages \d+\.\d ms, \d+ B → \d+ B, logged$", line.rstrip())
        assert "DuplicateKey" in watched.wait_for("insert")
        watched.wait_for("createUser admin ")
    watched.signal(signal.SIGINT)
    assert "hunter2" not in watched.finish().err


def test_a_client_in_the_middle_of_a_command_does_not_hold_it_up(watched: Any) -> None:
    watched.start("tunnel", "fake:///cms", "--listen", "127.0.0.1:0", "--log-commands")
    uri = watched.wait_for("mongodb://", on="stdout").strip()
    with (
        Client(uri, serverSelectionTimeoutMS=500) as client,
        client.cms.pages.watch(max_await_time_ms=200) as stream,
        ThreadPoolExecutor(1) as executor,
    ):
        waiting = executor.submit(next, stream)
        watched.wait_for("getMore")  # and the next one is under way
        watched.signal(signal.SIGINT)
        watched.signal(signal.SIGINT)  # an impatient one changes nothing
        ran = watched.finish(timeout_s=30)
        assert isinstance(waiting.exception(timeout=30), PyMongoError)
    # The second may come when all is done and Python ends: a shell says 130 of that, too.
    assert ran.code in (130, -signal.SIGINT)
    assert "closed after" in ran.err
    assert watched.left_behind() == []


def test_on_a_terminal_there_is_a_live_view() -> None:
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    arguments = ("tunnel", "fake:///cms", "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [sys.executable, "-m", "odm.cli.main", *arguments],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm"},
        text=True,
    ) as process:
        os.close(child)
        screen = _Screen(parent)
        try:
            assert process.stdout is not None
            uri = process.stdout.readline().strip()
            screen.wait_for("waiting for clients")
            with Client(uri, appname="shown") as client:
                client.cms.pages.insert_one({})
                screen.wait_for(r"shown +PyMongo[ .\d]+ +127\.0\.0\.1 ")
                screen.wait_for(r"insert +1 ")
            process.send_signal(signal.SIGINT)
            screen.wait_for("closed after")
            process.wait(timeout=30)
        finally:
            process.terminate()
            os.close(parent)
    assert process.returncode == 130


def test_with_json_it_ends_with_its_reader() -> None:
    arguments = ("tunnel", "fake:///cms", "--listen", "127.0.0.1:0", "--json", "--stats", "0")
    with subprocess.Popen(
        [sys.executable, "-m", "odm.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "listening"
            process.stdout.close()
            assert process.wait(timeout=30) == ExitCode.BROKEN_PIPE
        finally:
            process.terminate()


class _Screen:
    """What a terminal has shown, without its control sequences."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = ""

    def wait_for(self, pattern: str) -> None:
        while not re.search(pattern, self._shown):
            data = os.read(self._descriptor, 65536).decode(errors="replace")
            self._shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data)


# -- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("mongodb://h:1/?a=b", "mongodb://h:1/cms?a=b"),
        ("mongodb://h:1/other?a=b", "mongodb://h:1/other?a=b"),
        ("mongodb://%2Ftmp%2Fx.sock/", "mongodb://%2Ftmp%2Fx.sock/cms"),
    ],
)
def test_an_address_names_the_database(uri: str, named: str) -> None:
    assert with_database(uri, "cms") == named


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("mongodb://ann%40x:p%3Aw@h:1/cms?a=b", "mongodb://ann%40x@h:1/cms?a=b"),
        ("mongodb://h:1/cms", "mongodb://h:1/cms"),
    ],
)
def test_an_address_can_be_without_its_password(uri: str, kept: str) -> None:
    assert without_password(uri) == kept
