from __future__ import annotations

from rich.console import Console

from odm.cli.tunnel.meter import Meter
from odm.cli.tunnel.view import view
from transports import TransportStatistics
from transports.endpoint import Client, FinishedCommand
from transports.endpoint.replies import ReplyFailure

DONE = TransportStatistics(transport="lambda", invokes=7, details={"throttles": 2})


def drawn(meter: Meter) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(view(meter, DONE, "127.0.0.1:27018 → lambda://db-proxy/cms"))
    return capture.get()


def finished(meter: Meter, connection: int, name: str, failure: ReplyFailure | None = None) -> None:
    meter.finished(
        FinishedCommand(
            client=Client(connection_id=connection),
            server="db:1",
            name=name,
            database="cms",
            collection="pages",
            duration_s=0.0042,
            request_bytes=10,
            reply_bytes=20,
            failure=failure,
        )
    )


def test_before_anybody_came_it_says_so() -> None:
    text = drawn(Meter())
    assert "lambda://db-proxy/cms" in text
    assert "waiting for clients" in text


def test_it_shows_clients_commands_and_errors() -> None:
    meter = Meter(lambda: 1000.0)
    meter.opened(1, "127.0.0.1:9")
    meter.known(1, "[bold]shell", "nodejs 7")
    finished(meter, 1, "find")
    finished(meter, 1, "insert", ReplyFailure(13, "Unauthorized"))
    text = drawn(meter)
    assert "7 invokes" in text
    assert "2 throttles" in text
    assert "Unauthorized 1" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["[bold]shell", "nodejs", "7", "127.0.0.1", "1", "2", "2.0", "1"] in lines
    assert ["find", "1", "1.0", "4.2", "ms", "4.2", "ms", "4.2", "ms", "0"] in lines


def test_it_does_not_outgrow_a_screen() -> None:
    meter = Meter(lambda: 1000.0)
    for number in range(100):
        meter.opened(number, "127.0.0.1:9")
        meter.known(number, f"app{number:02}", "")
        finished(meter, number, f"command{number:02}")
    text = drawn(meter)
    assert len(text.splitlines()) < 35
    assert "and 92 other clients" in text
    assert "and 92 other commands" in text
