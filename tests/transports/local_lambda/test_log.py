"""The bounded log of an environment and the platform's lines."""

from __future__ import annotations

from transports.local_lambda.log import MAX_LOG_BYTES, TAIL_BYTES, EnvironmentLog, Report


def test_platform_lines_are_lines_of_their_own() -> None:
    log = EnvironmentLog()
    log.platform("START")
    log.write(b"no newline")
    log.platform("END")
    assert log.text() == "START\nno newline\nEND\n"


def test_since_gives_what_came_after_the_mark() -> None:
    log = EnvironmentLog()
    log.write(b"before\n")
    mark = log.offset
    assert log.since(mark) == b""
    log.write(b"one\n")
    log.write(b"two\n")
    assert log.since(mark) == b"one\ntwo\n"


def test_since_gives_the_last_four_kilobytes() -> None:
    log = EnvironmentLog()
    for number in range(1000):
        log.write(b"%09d\n" % number)
    tail = log.since(0)
    assert len(tail) == TAIL_BYTES
    assert log.text().encode().endswith(tail)


def test_oldest_goes_first_when_the_bound_is_reached() -> None:
    log = EnvironmentLog()
    for number in range(3 * MAX_LOG_BYTES // 1024):
        log.write(b"%08d" % number * 128)
    text = log.text()
    assert len(text) == MAX_LOG_BYTES
    assert text.endswith(f"{3 * MAX_LOG_BYTES // 1024 - 1:08d}")
    assert log.since(0) == text.encode()[-TAIL_BYTES:]


def test_carriage_returns_end_lines_in_errors_only() -> None:
    log = EnvironmentLog()
    log.write(b"10%\r20%\n[ERROR] ValueError: no\rTraceback\r  File\n")
    assert log.text() == "10%\r20%\n[ERROR] ValueError: no\nTraceback\n  File\n"


def test_sink_takes_everything() -> None:
    log, taken = EnvironmentLog(), bytearray()
    log.sink = taken.extend
    log.write(b"a\n")
    log.platform("END")
    assert taken == b"a\nEND\n"


def test_report_line() -> None:
    report = Report(request_id="id", duration_ms=1.234, memory_size_mb=128, max_memory_used_mb=15)
    assert str(report) == (
        "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 15 MB\t"
    )


def test_report_line_of_a_cold_start_that_failed() -> None:
    report = Report(
        request_id="id",
        duration_ms=1.5,
        memory_size_mb=128,
        max_memory_used_mb=15,
        init_duration_ms=40.0,
        status="error",
        error_type="Runtime.ExitError",
    )
    assert str(report).endswith(
        "Billed Duration: 42 ms\tMemory Size: 128 MB\tMax Memory Used: 15 MB\t"
        "Init Duration: 40.00 ms\tStatus: error\tError Type: Runtime.ExitError\t"
    )
