from __future__ import annotations

import json
import re

import pytest

from odm.cli.console import Column, Console, counted


def test_markup_in_what_is_said_is_not_interpreted(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.line("[bold]x[/bold] :smile:")
    console.table([Column("[red]title[/red]")], [["[link=x]cell[/link]"]])
    out = capsys.readouterr().out
    assert "[bold]x[/bold] :smile:" in out
    assert "[red]title[/red]" in out
    assert "[link=x]cell[/link]" in out


def test_in_a_pipe_there_are_no_colours_frames_or_broken_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    long = "x" * 150
    console.line(long, style="bold red")
    console.table([Column("a", style="bold"), Column("b", numeric=True)], [["1", long]])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "─" not in out
    assert [long in line for line in out.splitlines()] == [True, False, True]


def test_a_table_that_a_terminal_has_no_room_for_is_told_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    columns = [Column("month"), Column("GB seconds", numeric=True), Column("in words")]
    rows = [["January", "123,456,789", "a provisioned one"]]
    for width, together in (("24", False), ("38", False), ("39", True), ("80", True)):
        monkeypatch.setenv("COLUMNS", width)
        Console().table(columns, rows)
        out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert "…" not in out
        assert ("  GB seconds  123,456,789\n" in out) is not together
        assert "provisioned" in out
        assert "123,456,789" in out


def test_with_json_stdout_holds_one_document_only(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json_output=True)
    console.line("no")
    console.pairs([("no", "no")])
    console.table([Column("no")], [["no"]])
    console.note("working")
    console.document({"text": "[bold]ø" + "y" * 300})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"text": "[bold]ø" + "y" * 300}
    assert captured.err == "working\n"


def test_quiet_silences_notes_and_not_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.note("working")
    console.error("broken [x]")
    assert capsys.readouterr().err == "odm: broken [x]\n"


def test_numbers_are_counted_in_words() -> None:
    assert counted(1, "invoke") == "1 invoke"
    assert counted(2000, "invoke") == "2,000 invokes"
