from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

OdmHere = Callable[..., Any]


def test_it_says_which_package_is_missing_and_how_to_get_it(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "odm.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    ran = odm_here("version")
    assert ran.code == 3
    assert "needs the package 'typer'" in ran.err
    assert "pip install 'odm-transports[cli]'" in ran.err
    assert ran.out == ""


def test_the_entry_point_is_installed_as_odm() -> None:
    [entry] = importlib.metadata.entry_points(group="console_scripts", name="odm")
    assert entry.value == "odm.cli.main:main"


def test_an_unknown_command_is_wrong_usage_and_names_the_closest(odm_here: OdmHere) -> None:
    ran = odm_here("pnig")
    assert ran.code == 2
    assert "ping" in ran.err
    assert ran.out == ""


def test_an_unknown_option_is_wrong_usage(odm_here: OdmHere) -> None:
    ran = odm_here("ping", "fake:///x", "--jsno")
    assert ran.code == 2
    assert "--json" in ran.err


def test_a_bad_url_is_told_in_one_line_without_its_password(odm_here: OdmHere) -> None:
    ran = odm_here("ping", "mongo://user:secret@host/x")
    assert ran.code == 2
    assert ran.err.startswith("odm: unknown scheme 'mongo'")
    assert "secret" not in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("command", ["demo", "local", "ping", "tunnel", "version"])
def test_every_command_teaches_itself(odm_here: OdmHere, command: str) -> None:
    ran = odm_here(command, "--help")
    assert ran.code == 0
    assert "Example" in ran.out
    assert "Exit codes: 0 done" in ran.out
    assert ran.err == ""


def test_help_in_a_pipe_is_plain_text(odm_here: OdmHere) -> None:
    ran = odm_here("--help")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "╭" not in ran.out


def test_version_names_every_package(odm_here: OdmHere) -> None:
    ran = odm_here("version", "--json")
    document = json.loads(ran.out)
    assert document["packages"]["pymongo"] == importlib.metadata.version("pymongo")
    plain = odm_here("version")
    assert importlib.metadata.version("beanie") in plain.out


def test_the_version_alone(odm_here: OdmHere) -> None:
    ran = odm_here("--version")
    assert (ran.code, ran.out) == (0, f"odm {importlib.metadata.version('odm-transports')}\n")


def test_a_terminal_without_unicode_ends_no_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "odm.cli.main", "ping", "fäke:///x"],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "f?ke" in ran.stderr


def test_the_log_level_brings_log_records_back(odm_here: OdmHere) -> None:
    ran = odm_here("--log-level", "chatty", "version")
    assert ran.code == 2
    assert "debug" in ran.err


def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    process = subprocess.run(
        f"{sys.executable} -m odm.cli.main version | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""


def test_importing_the_commands_imports_nothing_heavy() -> None:
    heavy = ("beanie", "motor", "aiobotocore", "boto3", "aiohttp", "models", "transports.fake")
    script = f"import sys, odm.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
