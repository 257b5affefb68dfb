from __future__ import annotations

import re

import pytest

from odm.cli.tunnel import words
from odm.cli.tunnel.meter import Meter
from odm.cli.tunnel.watch import Watch
from transports import TransportStatistics
from transports.endpoint import Client, FinishedCommand
from transports.endpoint.replies import ReplyFailure

DONE = TransportStatistics(
    transport="lambda", commands=3, invokes=2, cold_starts=1, details={"throttles": 4.0}
)


@pytest.fixture
def watch() -> Watch:
    """A client that failed once, and is there still."""
    watch = Watch(log_commands=True)
    watch.connection_opened(1, "127.0.0.1:50001")
    watch.client_known(Client(connection_id=1, app_name="she\nll"), "nodejs 7")
    for name, failure in (("find", None), ("insert", ReplyFailure(11000)), ("find", None)):
        watch.command_finished(
            FinishedCommand(
                client=Client(connection_id=1),
                server="db:1",
                name=name,
                database="cms",
                collection="pages",
                duration_s=0.0123,
                request_bytes=100,
                reply_bytes=12_345,
                failure=failure,
            )
        )
    watch.connection_refused(1, "no")
    return watch


def test_events_are_lines_that_clients_cannot_break(watch: Watch) -> None:
    lines = [words.event_line(event)[13:] for event in watch.take()]
    assert lines == [
        "connected: she�ll (nodejs 7) from 127.0.0.1",
        "find cms.pages 12.3 ms, 100 B → 12.3 kB, she�ll",
        "insert cms.pages 12.3 ms, 100 B → 12.3 kB, she�ll: DuplicateKey",
        "find cms.pages 12.3 ms, 100 B → 12.3 kB, she�ll",
        "refused: she�ll (nodejs 7) from 127.0.0.1: no",
    ]


def test_a_summary_is_a_line(watch: Watch) -> None:
    line = words.summary_line(watch.meter, DONE)
    assert re.fullmatch(
        r"1 client \(1 connection\), 3 commands \(\d\.\d/s\), 2 invokes, p50 12 ms, p95 12 ms, "
        "1 error, 4 throttles",
        line,
    )


def test_of_nothing_there_is_little_to_say() -> None:
    nothing = TransportStatistics(transport="fake")
    line = words.summary_line(Meter(), nothing)
    assert line == "0 clients (0 connections), 0 commands (0.0/s)"
    [farewell] = words.farewell_lines(Meter(), nothing)
    assert farewell.endswith("0 commands of 0 clients")


def test_a_farewell_has_the_totals(watch: Watch) -> None:
    text = "\n".join(words.farewell_lines(watch.meter, DONE))
    assert "3 commands of 1 client in 2 invokes, 1 cold start, 4 throttles" in text
    assert "300 B received, 37.0 kB sent" in text
    assert "find                         2  p50 12 ms, p95 12 ms" in text
    assert "insert                       1  p50 12 ms, p95 12 ms, 1 error" in text
    assert "errors: DuplicateKey 1" in text
    assert "1 connection refused: no" in text


def test_a_farewell_is_not_endless() -> None:
    meter = Meter()
    for number in range(50):
        meter.finished(
            FinishedCommand(
                client=Client(connection_id=1),
                server="db:1",
                name=f"name{number:02}",
                database="cms",
                collection=None,
                duration_s=0.001,
                request_bytes=1,
                reply_bytes=1,
                failure=None,
            )
        )
    lines = list(words.farewell_lines(meter, DONE))
    assert lines[-1] == "  and 38 commands of 38 other names"
    assert len(lines) == 15


def test_numbers_for_programs_hold_all_of_it(watch: Watch) -> None:
    document = words.statistics_document(watch.meter, DONE)
    assert document["by_command"]["find"]["count"] == 2
    assert document["by_error"] == {"DuplicateKey": 1}
    assert document["invokes"] == 2
    assert document["details"] == {"throttles": 4.0}
    assert document["refused"] == {"no": 1}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1300, "1.3 kB"), (118_000_000, "118 MB"), (2e9, "2.0 GB")],
)
def test_sizes(number: float, text: str) -> None:
    assert words.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00084, "0.84 ms"), (0.0031, "3.1 ms"), (0.012, "12 ms"), (1.2, "1.2 s")],
)
def test_latencies(seconds: float, text: str) -> None:
    assert words.milliseconds(seconds) == text
