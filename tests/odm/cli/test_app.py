"""How commands end, whatever happens to them: one line, one exit code, with --json a document."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odm.cli import app
from odm.cli.console import Console

OdmHere = Callable[..., Any]

ODM = f"{sys.executable} -m odm.cli.main"
CLI_DOCUMENTATION = Path(__file__).parents[3] / "docs" / "cli.md"


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; its exit code is that of the first command of its pipe."""
    return subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["ping", "--json"], 2, "UsageError"),
        (["ping", "nonsense", "--json"], 2, "InvalidURL"),
        (["ping", "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=50", "--json"], 3, None),
        (["local", "--json"], 2, "CommandFailed"),
        (["tunnel", "fake:///x", "--listen", "nonsense", "--json"], 2, "CommandFailed"),
        (["cost", "--rate", "many", "--json"], 2, "UsageError"),
        (["package", "--pin", "x", "--json"], 2, "CommandFailed"),
        (["nonsense", "--json"], 2, "UsageError"),
    ],
)
def test_with_json_a_failure_is_one_document_and_a_line_on_stderr(
    odm_here: OdmHere, arguments: list[str], code: int, kind: str | None
) -> None:
    ran = odm_here(*arguments)
    assert ran.code == code
    document = json.loads(ran.out)
    assert document["ok"] is False
    assert document["exit_code"] == code
    assert kind in (None, document["error"]["type"])
    assert ran.err == f"odm: {document['error']['message']}\n"


def test_without_json_a_failure_leaves_stdout_empty(odm_here: OdmHere) -> None:
    ran = odm_here("ping")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "odm: missing argument 'URL': write e.g. odm ping "
        "'lambda://db-proxy:live/cms?region=eu-central-1', or set ODM_URL; "
        "odm ping --help says more\n"
    )


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def invoke(arguments: object) -> None:
        raise error

    monkeypatch.setattr(app, "_invoke", invoke)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ModuleNotFoundError("x", name="boto3.session"), 3, "pip install 'odm-transports[lambda]'"),
        (ModuleNotFoundError("x", name="aiobotocore"), 3, "'odm-transports[lambda]'"),
        (ModuleNotFoundError("x", name="awslambdaric"), 3, "'odm-transports[local]'"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 3, "permission denied: /x"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "no space left on device"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), 3, "is a directory: /x"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(
    odm_here: OdmHere,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    told: str,
) -> None:
    fail_with(monkeypatch, error)
    ran = odm_here("version")
    assert ran.code == code
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_a_defect_keeps_its_traceback_and_has_an_exit_code_of_its_own(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("mongodb://a:secret@h"))
    ran = odm_here("version", "--json")
    assert ran.code == 70
    assert "Traceback" in ran.err
    assert json.loads(ran.out)["error"]["type"] == "Defect"
    assert "secret" not in ran.out


def test_a_package_that_is_none_of_ours_is_a_defect(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, ModuleNotFoundError("x", name="odm.cli.nonsense"))
    assert odm_here("version").code == 70


def test_who_has_written_a_document_writes_no_second_one(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invoke(arguments: object) -> None:
        Console(json_output=True).document({"endpoint": "x"})
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(app, "_invoke", invoke)
    ran = odm_here("local", "--json")
    assert ran.code == 3
    assert json.loads(ran.out) == {"endpoint": "x"}


@pytest.mark.parametrize("command", ["version", "version --json", "--help"])
def test_a_reader_who_leaves_early_is_exit_code_141(command: str) -> None:
    ran = shell(f"{ODM} {command} | true")
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["version", "version --json", "--help"])
def test_a_full_disk_is_told(command: str) -> None:
    ran = shell(f"{ODM} {command} > /dev/full")
    assert (ran.returncode, ran.stderr) == (3, "odm: no space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_mistake(closed: str) -> None:
    ran = shell(f"{ODM} version {closed}")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("moment_s", [0.02, 0.1, 0.2, 0.3, 0.5])
def test_ctrl_c_at_any_moment_ends_it_without_a_traceback(moment_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "odm.cli.main", "cost", "--simulate", "600", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        try:
            process.wait(timeout=moment_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    if "Fatal Python error" in told:
        return  # before Python could run anything; its site module has a main, too
    if "Traceback" in told:  # Python itself was starting
        assert "in main\n" not in told
    else:
        assert process.returncode in (130, -signal.SIGINT)


def test_the_exit_codes_are_documented_in_one_place() -> None:
    documented = {
        int(code)
        for code in re.findall(r"^\| `(\d+)` \|", CLI_DOCUMENTATION.read_text("utf-8"), re.M)
    }
    from odm.cli.failures import ExitCode

    assert documented >= {int(code) for code in ExitCode}
    assert documented - {int(code) for code in ExitCode} == {129, 143}


def test_every_commands_help_names_the_exit_codes(odm_here: OdmHere) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", odm_here("--help").out, re.M)
    assert len(listed) == 9
    for command in listed:
        out = odm_here(command, "--help").out
        assert "Exit codes: 0 done" in out
        assert re.search(rf"^    odm {command}", out, re.M), command


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("command", ["--help", "cost --rate 5", "tunnel --help"])
def test_a_terminal_without_unicode_shows_all_the_same(encoding: str, command: str) -> None:
    ran = shell(f"{ODM} {command}", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) > 10
