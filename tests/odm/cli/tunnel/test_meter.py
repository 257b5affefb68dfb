from __future__ import annotations

import pytest

from odm.cli.tunnel.meter import MAX_NAMES, OTHERS, Meter
from transports.endpoint import Client, FinishedCommand
from transports.endpoint.replies import ReplyFailure


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(clock)


def command(
    name: str = "find", connection: int = 1, *, code: int = 0, seconds: float = 0.01
) -> FinishedCommand:
    return FinishedCommand(
        client=Client(connection_id=connection),
        server="db:1",
        name=name,
        database="cms",
        collection="pages",
        duration_s=seconds,
        request_bytes=100,
        reply_bytes=1000,
        failure=ReplyFailure(code, "Bad") if code else None,
    )


def test_connections_of_one_client_are_one_client(meter: Meter) -> None:
    for number, port in ((1, 50001), (2, 50002)):
        meter.opened(number, f"127.0.0.1:{port}")
    assert meter.known(1, "shell", "nodejs 7") is not None
    assert meter.known(2, "shell", "nodejs 7") is None
    [(who, connections, _)] = meter.clients()
    assert str(who) == "shell (nodejs 7) from 127.0.0.1"
    assert connections == 2
    assert meter.closed(1) is None
    assert meter.closed(2) == who
    assert meter.clients() == []
    assert meter.seen == {who}


def test_processes_are_told_apart_where_that_is_known(meter: Meter) -> None:
    meter.opened(1, "pid 10")
    meter.opened(2, "pid 11")
    meter.known(1, None, "PyMongo 4.20.0")
    meter.known(2, None, "PyMongo 4.20.0")
    assert {str(who) for who, _, _ in meter.clients()} == {
        "PyMongo 4.20.0 from pid 10",
        "PyMongo 4.20.0 from pid 11",
    }


def test_commands_are_counted_by_name_client_and_failure(meter: Meter) -> None:
    meter.opened(1, "127.0.0.1:1")
    who = meter.known(1, "shell", "")
    for each in (command(), command(), command("insert", code=7)):
        assert meter.finished(each) == who
    assert [(name, tally.count, tally.errors) for name, tally in meter.by_count()] == [
        ("find", 2, 0),
        ("insert", 1, 1),
    ]
    assert (meter.total.count, meter.total.errors) == (3, 1)
    assert (meter.request_bytes, meter.reply_bytes) == (300, 3000)
    assert meter.failures == {ReplyFailure(7, "Bad"): 1}
    [(_, _, tally)] = meter.clients()
    assert tally.count == 3


def test_waiting_for_data_is_no_latency(meter: Meter) -> None:
    meter.finished(command(seconds=0.01))
    meter.finished(command("getMore", seconds=9.0))
    assert meter.total.count == 2
    assert meter.total.latencies.longest_s == 0.01
    assert meter.commands["getMore"].latencies.longest_s == 9.0


def test_a_rate_is_of_the_last_seconds(meter: Meter, clock: Clock) -> None:
    for _ in range(20):
        meter.finished(command())
    assert meter.total.rate.per_second() == 20.0  # in its first second
    clock.now += 5
    assert meter.total.rate.per_second() == pytest.approx(4.0)
    for _ in range(30):
        meter.finished(command())
    clock.now += 9
    assert meter.total.rate.per_second() == pytest.approx(3.0)
    clock.now += 2
    assert meter.total.rate.per_second() == 0.0


def test_a_client_cannot_make_up_names_without_end(meter: Meter) -> None:
    for number in range(MAX_NAMES * 2):
        meter.finished(command(f"name{number}", code=number + 1))
        meter.turned_away(1, f"reason {number}")
        meter.opened(number, "127.0.0.1:1")
        meter.known(number, f"app {number}", "")
        meter.closed(number)
    assert len(meter.commands) == MAX_NAMES + 1
    assert meter.commands[OTHERS].count == MAX_NAMES
    assert len(meter.failures) == MAX_NAMES + 1
    assert len(meter.refused) == MAX_NAMES + 1
    assert len(meter.seen) == MAX_NAMES


def test_who_was_turned_away_is_told_as_far_as_it_is_known(meter: Meter) -> None:
    meter.opened(1, "127.0.0.1:9")
    assert meter.turned_away(1, "no") == "127.0.0.1"
    meter.known(1, "shell", "")
    assert meter.turned_away(1, "no") == "shell from 127.0.0.1"
    assert meter.turned_away(2, "no") == ""
    assert meter.refused == {"no": 3}


def test_what_belongs_to_no_connection_is_counted_all_the_same(meter: Meter) -> None:
    assert meter.known(9, "late", "") is None
    assert meter.closed(9) is None
    assert meter.finished(command(connection=9)) is None
    assert meter.total.count == 1
