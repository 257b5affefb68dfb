"""What the run's local Lambda serves and tells."""

from __future__ import annotations

from odm.cli.bench.lambda_process import Order, Reports, cold_name, configurations, scenario_name

LINE = (
    b"REPORT RequestId: 1\tDuration: 12.50 ms\tBilled Duration: 313 ms\tMemory Size: 256 MB\t"
    b"Max Memory Used: 40 MB\tInit Duration: 300.25 ms\t\n"
)


def test_a_report_line_is_read_in_whatever_pieces_it_comes() -> None:
    expected = [{"function": "f", "duration_ms": 12.5, "init_ms": 300.25}]
    for cut in (0, 7, len(LINE) - 1):
        reports = Reports()
        found = reports.take("f", "env", LINE[:cut]) + reports.take("f", "env", LINE[cut:])
        assert found == expected


def test_a_warm_invocation_has_no_initialisation() -> None:
    warm = LINE.replace(b"\tInit Duration: 300.25 ms", b"") + b"START RequestId: 2\n"
    [found] = Reports().take("f", "env", warm)
    assert found["init_ms"] is None


def test_each_cold_start_has_a_function_of_its_own() -> None:
    order = Order(
        mongodb_uri="mongodb://localhost:1/bench",
        database="bench",
        concurrency=3,
        cold_starts=2,
        scenarios=1,
        tls=False,
    )
    found = {each.name: each.reserved_concurrency for each in configurations(order)}
    assert found == {
        scenario_name(0): 3,
        "db-proxy": 3,
        cold_name("db-proxy", 0): None,
        cold_name("db-proxy", 1): None,
        "proxy-2020": 3,
        cold_name("proxy-2020", 0): None,
        cold_name("proxy-2020", 1): None,
    }
