from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from odm.cli.console import Console
from odm.cli.failures import CommandFailed
from odm.cli.tunnel.credentials import VARIABLE, chosen_credential


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A password in a file of its own."""
    path = tmp_path / "password"
    path.write_text("of the file\nmore\n")
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def password(user: str | None, file: Path | None) -> str | None:
    chosen = chosen_credential(user, file, Console())
    return chosen.password if chosen is not None else None


def test_without_a_user_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "left over")
    assert password(None, None) is None


def test_a_file_is_meant_before_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "of the environment")
    assert password("ann", None) == "of the environment"
    assert password("ann", file) == "of the file"


def test_it_can_be_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("of the pipe\r\nmore"))
    assert password("ann", Path("-")) == "of the pipe"


def test_a_file_that_others_can_read_is_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert password("ann", file)
    assert capsys.readouterr().err == ""
    file.chmod(0o604)
    assert password("ann", file)
    told = capsys.readouterr().err
    assert "chmod 600" in told
    assert "of the file" not in told


def test_a_file_that_holds_no_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandFailed, match="not UTF-8"):
        password("ann", file)


def test_a_password_does_not_show_in_what_it_is_part_of(file: Path) -> None:
    assert "of the file" not in repr(chosen_credential("ann", file, Console()))
