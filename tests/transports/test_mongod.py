from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pymongo
import pytest

from transports.errors import MissingExtra, ServerUnreachable
from transports.mongod import MongodOptions, ReplicaSet, find_mongod, missing_mongod_reason

needs_mongod = pytest.mark.skipif(
    missing_mongod_reason() is not None, reason=missing_mongod_reason() or ""
)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def is_running(pid: int) -> bool:
    """Whether *pid* is a process and no zombie (whose parent here may reap late)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def program(directory: Path, script: str) -> Path:
    path = directory / "mongod"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@needs_mongod
def test_starts_a_replica_set_and_leaves_nothing_behind() -> None:
    with ReplicaSet() as replica_set:
        directory, pid = replica_set.directory, replica_set.members[0].pid
        assert directory is not None
        assert pid is not None
        with pymongo.MongoClient[dict[str, object]](replica_set.uri) as client:
            assert client.admin.command("hello")["setName"] == "rs0"

    assert not directory.exists()
    assert not is_running(pid)
    replica_set.stop()  # a second time


@needs_mongod
def test_failpoints_only_with_test_commands() -> None:
    off = {"configureFailPoint": "failCommand", "mode": "off"}
    with (
        ReplicaSet(MongodOptions(test_commands=True)) as replica_set,
        pymongo.MongoClient[dict[str, object]](replica_set.uri) as client,
    ):
        assert client.admin.command(off)["ok"] == 1.0
    with (
        ReplicaSet() as replica_set,
        pymongo.MongoClient[dict[str, object]](replica_set.uri) as client,
        pytest.raises(pymongo.errors.OperationFailure) as caught,
    ):
        client.admin.command(off)
    assert caught.value.code == 59  # CommandNotFound


@needs_mongod
def test_killed_parent_leaves_neither_process_nor_directory() -> None:
    script = (
        "import sys, time; from transports.mongod import ReplicaSet\n"
        "s = ReplicaSet().start()\n"
        "print(s.members[0].pid, s._guard.pid, s.directory, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        mongod, guard, directory = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)

    assert eventually(lambda: not is_running(int(mongod)))
    assert eventually(lambda: not Path(directory).exists())
    assert eventually(lambda: not is_running(int(guard)))


@needs_mongod
def test_three_members_elect_another_primary_and_take_the_first_back() -> None:
    with ReplicaSet(MongodOptions(members=3)) as replica_set:
        first = replica_set.wait_for_primary()
        address = first.address
        first.kill()
        assert first.pid is None
        second = replica_set.wait_for_primary()
        assert second is not first

        replica_set.restart(first)
        replica_set.wait_until_complete()

        assert first.address == address
        assert all(member.address in replica_set.uri for member in replica_set.members)


def test_program_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    broken = program(tmp_path, "echo libcrypto.so.3 is missing; exit 127")

    with pytest.raises(ServerUnreachable, match=r"code 127[\s\S]*libcrypto\.so\.3 is missing"):
        ReplicaSet(binary=broken).start()


def test_taken_port_is_not_ours_and_another_is_tried(tmp_path: Path) -> None:
    marker = tmp_path / "tried"
    script = f'[ -e "{marker}" ] && exit 3; : > "{marker}"; exit 48'

    with pytest.raises(ServerUnreachable, match="code 3"):
        ReplicaSet(binary=program(tmp_path, script)).start()


def test_start_that_takes_too_long_is_given_up_and_cleaned_up(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    slow = program(tmp_path, f'echo $$ > "{pid_file}"; exec sleep 1000')
    replica_set = ReplicaSet(binary=slow)

    with pytest.raises(ServerUnreachable, match="did not listen in time"):
        replica_set.start(timeout_s=0.2)

    assert replica_set.directory is None
    assert eventually(lambda: not pid_file.exists() or not is_running(int(pid_file.read_text())))


def test_mongod_of_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(tmp_path, "exit 0")
    monkeypatch.setenv("MONGOD", str(mine))
    assert find_mongod() == mine

    monkeypatch.setenv("MONGOD", str(tmp_path / "none"))
    with pytest.raises(ServerUnreachable, match="MONGOD="):
        find_mongod()


def test_mongod_on_the_path_comes_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path, "exit 0")
    monkeypatch.delenv("MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_mongod() == mine


def test_no_mongod_says_what_to_install_or_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("transports.mongod._WHEEL", "no-such-distribution")

    with pytest.raises(MissingExtra) as caught:
        find_mongod()

    assert "pip install 'odm-transports[embedded]'" in str(caught.value)
    assert "set MONGOD to its path" in str(caught.value)
    assert missing_mongod_reason() == str(caught.value)


@pytest.mark.parametrize("members", [0, 8])
def test_number_of_members_is_bounded(members: int) -> None:
    with pytest.raises(ValueError, match="1 to 7"):
        MongodOptions(members=members)
