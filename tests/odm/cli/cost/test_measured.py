"""What is read from logs and statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from odm.cli.cost.measured import LONG_S, RUNTIME_MS, read_log, read_statistics
from odm.cli.cost.workload import InvalidWorkload, Workload, make_workload

REPORT = (
    "REPORT RequestId: {id}\tDuration: {duration} ms\tBilled Duration: {billed} ms\t"
    "Memory Size: 256 MB\tMax Memory Used: 60 MB\t"
)


def report(number: int, duration: float, billed: int, more: str = "") -> str:
    return REPORT.format(id=number, duration=duration, billed=billed) + more + "\n"


def own(number: int, second: int, commands: int, **more: Any) -> str:
    said = {
        "timestamp": f"2026-11-22T07:00:{second:02d}.000Z",
        "requestId": str(number),
        "Duration": 2.0,
        "ColdStarts": 0,
        "Commands": commands,
        "BytesIn": 100 * commands,
        "BytesOut": 400 * commands,
    }
    return json.dumps(said | more) + "\n"


def test_a_log_of_report_lines_and_the_functions_own(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    path.write_text(
        "START RequestId: 1 Version: $LATEST\n"
        + own(1, 0, 1, ColdStarts=1, InitDuration=8.0)
        + report(1, 3.2, 184, "Init Duration: 180.00 ms\t")
        + own(2, 5, 1)
        + report(2, 2.1, 3)
        + "something else {that is no JSON\n"
        + own(3, 10, 18)
        + report(3, 7.0, 7)
    )
    found = read_log(path)
    assert (found.invocations, found.commands, found.cold_starts) == (3, 20, 1)
    assert found.billed_ms == 184 + 3 + 7
    # Without the init phase: 4 + 3 + 7.
    assert found.warm_billed_ms == 14
    assert found.init_ms == 180
    assert found.memory_mb == 256
    assert found.seconds == 10
    assert found.batch_sizes == {1: 2, 18: 1}
    assert found.gb_seconds == pytest.approx(194 / 1000 / 4)
    fields = found.fields(Workload())
    assert fields["rate"] == 2
    assert fields["commands_per_invoke"] == pytest.approx(20 / 3)
    assert fields["billed_ms_per_invoke"] == pytest.approx(14 / 3)
    assert (fields["bytes_in"], fields["bytes_out"]) == (100, 400)
    assert fields["init_ms"] == 180
    assert fields["memory_mb"] == 256
    # Ten seconds say nothing of a month's cold starts; a day does.
    assert "cold_start_share" not in fields
    assert read_log(path, LONG_S).fields(Workload())["cold_start_share"] == pytest.approx(1 / 3)


def test_a_log_in_lambdas_json_format_and_with_the_times_of_a_tail(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    metrics = {"durationMs": 4.5, "billedDurationMs": 305, "memorySizeMB": 512}
    record = {"requestId": "1", "metrics": metrics | {"initDurationMs": 300.0}}
    line = {"time": "2026-11-22T07:00:00.000Z", "type": "platform.report", "record": record}
    restored = "Restore Duration: 210.00 ms\tBilled Restore Duration: 12 ms\t"
    path.write_text(
        json.dumps(line)
        + "\n2026-11-22T07:01:40.500000+00:00 2026/11/22/[1]abc "
        + report(2, 2.5, 3, restored)
    )
    found = read_log(path)
    assert (found.invocations, found.billed_ms, found.cold_starts) == (2, 305 + 3 + 12, 2)
    assert found.warm_billed_ms == 5 + 3
    assert found.seconds == 100.5


def test_a_log_of_the_functions_own_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    lines = own(1, 0, 1, ColdStarts=1, InitDuration=100.5) + own(2, 4, 3)
    path.write_text(lines)
    found = read_log(path)
    # What the handler saw, the runtime's half a millisecond, and the init phase: 3 + 3 + 101.
    assert RUNTIME_MS == 0.5
    assert (found.invocations, found.billed_ms, found.warm_billed_ms) == (2, 107, 6)


def test_single_commands_of_a_log_tell_how_durations_spread(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    durations = [2.0, 4.0] * 10
    path.write_text(
        "".join(
            own(number, number, 1) + report(number, duration, int(duration))
            for number, duration in enumerate(durations)
        )
    )
    fields = read_log(path).fields(Workload(overhead_ms=1))
    # 3 ms on average, 1 of them the function's own, and 1 the standard deviation.
    assert (fields["overhead_ms"], fields["server_ms"], fields["network_ms"]) == (1, 2, 0)
    assert fields["spread"] == pytest.approx(0.5)


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    path.write_text("hello\n")
    with pytest.raises(InvalidWorkload, match="no REPORT line"):
        read_log(path)
    path.write_text(report(1, 2.0, 2))
    with pytest.raises(InvalidWorkload, match="--over"):
        read_log(path)
    assert read_log(path, 10).seconds == 10
    with pytest.raises(InvalidWorkload, match="missing"):
        read_log(tmp_path / "missing.log")


STATISTICS: dict[str, Any] = {
    "transport": "lambda",
    "commands": 400,
    "invokes": 110,
    "cold_starts": 4,
    "details": {
        "throttles": 10,
        "bytes_sent": 80_000,
        "bytes_received": 400_000,
        "function_ms": 450.0,
        "billed_ms": 1_700,
        "batch_sizes": {"19": 16, "12": 1},
    },
}


def test_statistics_of_a_running_application(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(STATISTICS))
    found = read_statistics(path, 20, 300)
    # 110 posted, 10 turned away: 100 ran. 450 ms in the handler, 50 in the runtime, and rounding
    # up adds half a millisecond each: 550; four starts of 300.
    assert (found.invocations, found.throttles, found.commands) == (100, 10, 400)
    assert found.warm_billed_ms == 550
    assert found.billed_ms == 550 + 4 * 300
    assert found.batch_sizes == {19: 16, 12: 1, 1: 83}
    fields = found.fields(Workload(overhead_ms=1, pool=4))
    assert (fields["rate"], fields["commands_per_invoke"]) == (20, 4)
    assert fields["bytes_in"] == 80_000 * 3 / 4 / 400
    # 500 ms, less 1 each, over 83 + 16 x 19/4 + 12/4 turns.
    assert fields["server_ms"] == pytest.approx(400 / (83 + 76 + 3))
    workload = make_workload(fields)
    assert workload.billed_ms_per_invoke == 5.5


def test_statistics_that_know_the_init_phases_tell_them(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    details = {**STATISTICS["details"], "function_ms": 200.0, "billed_ms": 4_250}
    path.write_text(json.dumps({**STATISTICS, "cold_starts": 4, "details": details}))
    found = read_statistics(path, 20, 300)
    # 100 invocations: 200 ms, and half of one each for rounding up; the rest of 4,250 is init.
    assert found.init_ms == 4_000
    assert found.billed_ms == 200 + RUNTIME_MS * 100 + 50 + 4_000
    assert found.fields(Workload())["init_ms"] == 1_000


def test_statistics_inside_another_document(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"ok": True, "statistics": STATISTICS}))
    assert read_statistics(path, 20, 300).invocations == 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"invokes": 10}, "none ran"),
        ({"details": {}}, "'function_ms' is missing"),
        ({"details": 3}, "not the JSON of statistics"),
        ({"commands": "many"}, "not the JSON of statistics"),
    ],
)
def test_what_is_no_statistics_is_told(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(STATISTICS | change))
    with pytest.raises(InvalidWorkload) as refused:
        read_statistics(path, 20, 300)
    assert says in str(refused.value)
    assert "dataclasses.asdict" in str(refused.value)


def test_statistics_need_a_time(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(STATISTICS))
    with pytest.raises(InvalidWorkload, match="--over"):
        read_statistics(path, None, 300)
