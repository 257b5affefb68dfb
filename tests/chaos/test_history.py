"""Journals: what is written survives, and means what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.history import Journal, StreamEvent, read_journals


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    event = StreamEvent(token="t", operation="insert", collection="documents", id="d")
    with Journal(path) as journal:
        journal.begin("o", "insert", "w", {"documents": ["o"]})
        journal.end("o", "acknowledged", result={"n": 1})
        journal.watches("r", ["documents"])
        journal.event("r", event)
        journal.watches("r", ["documents"])
        journal.problem("hang: a")
        assert journal.counts["acknowledged"] == journal.counts["events"] == 1
    history = read_journals([path])
    operation = history.operations["o"]
    assert (operation.outcome, operation.result) == ("acknowledged", {"n": 1})
    assert operation.latency_s is not None
    assert history.streams == {"r": [event]}
    assert history.reopened == 1
    assert history.problems == ["hang: a"]


def test_a_killed_callers_operation_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Journal(path) as journal:
        journal.begin("o", "insert", "w", {"documents": ["o"]})
    path.write_bytes(path.read_bytes() + b'{"do": "end", "id": "o", "outc')
    operation = read_journals([path]).operations["o"]
    assert operation.outcome == "unknown"
    assert operation.latency_s is None


def test_a_stream_goes_on_in_the_journal_of_the_next_caller(tmp_path: Path) -> None:
    for name in "ab":
        with Journal(tmp_path / name) as journal:
            journal.watches("r", ["documents"])
            event = StreamEvent(token=name, operation="insert", collection="documents", id=name)
            journal.event("r", event)
    history = read_journals([tmp_path / "a", tmp_path / "b"])
    assert [event.token for event in history.streams["r"]] == ["a", "b"]
    assert history.reopened == 1


def test_a_damaged_line_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"do": "beg\n{"do": "problem", "text": "x"}\n')
    with pytest.raises(ValueError, match=r"JSON|control character|delimiter|Unterminated"):
        read_journals([tmp_path / "a"])
