"""A checker that cannot fail is worthless: each contradiction is planted and has to be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.chaos.final_state import Tally
from benchmarks.chaos.history import StreamEvent


def counters(run: Any, **changed: tuple[int, tuple[str, ...]]) -> dict[str, Tally]:
    return {
        **run.state.counters,
        **{name: Tally(value=value, applied=applied) for name, (value, applied) in changed.items()},
    }


def report(run: Any, operation: str, **fields: Any) -> None:
    run.history.operations[operation] = replace(run.history.operations[operation], **fields)


def test_a_consistent_run_has_no_violation(run: Any) -> None:
    assert run.violations() == []


def test_outcomes_that_are_unknown_may_be_there_or_not(run: Any) -> None:
    for operation in run.history.operations:
        report(run, operation, outcome="unknown", result={})
    assert run.kinds() == set()
    run.has(
        counters=counters(run, c0=(1, ("increment",)), c1=(0, ())),
        documents=frozenset({"m0"}),
        groups={0: {name: Tally(value=0) for name in run.state.groups[0]}},
        marks={},
    )
    assert run.kinds() == set()


def test_a_lost_increment_is_found(run: Any) -> None:
    run.has(counters=counters(run, c0=(2, ("find and increment", "bulk"))))
    assert "lost" in run.kinds()


def test_a_lost_increment_is_found_even_if_only_the_number_is_wrong(run: Any) -> None:
    run.has(counters=counters(run, c0=(2, run.state.counters["c0"].applied)))
    assert run.kinds() == {"lost"}


def test_a_doubled_increment_is_found(run: Any) -> None:
    twice = (*run.state.counters["c0"].applied, "increment")
    run.has(counters=counters(run, c0=(4, twice)))
    assert run.kinds() == {"applied twice"}


@pytest.mark.parametrize("outcome", ["unknown", "failed", "acknowledged"])
def test_doubling_is_found_whatever_was_reported(run: Any, outcome: str) -> None:
    report(run, "update many", outcome=outcome, result={})
    group = {name: Tally(value=2, applied=("update many",) * 2) for name in run.state.groups[0]}
    run.has(groups={0: group})
    assert "applied twice" in run.kinds()


def test_an_increment_of_nobody_is_found(run: Any) -> None:
    run.has(counters=counters(run, c1=(2, ("bulk", "ghost"))))
    assert run.kinds() == {"applied twice"}


def test_an_increment_without_a_name_is_found(run: Any) -> None:
    run.has(counters=counters(run, c1=(2, ("bulk",))))
    assert run.kinds() == {"applied twice"}


def test_an_answer_of_another_increment_is_found(run: Any) -> None:
    report(run, "find and increment", result={"n": 3})
    assert run.kinds() == {"wrong answer"}


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("increment", {"modified": 0}),
        ("update many", {"modified": 3}),
        ("delete", {"deleted": 0}),
        ("insert many", {"inserted": 1}),
    ],
)
def test_an_answer_of_a_repetition_is_found(
    run: Any, operation: str, result: dict[str, int]
) -> None:
    report(run, operation, result=result)
    assert run.kinds() == {"wrong answer"}


def test_a_lost_document_is_found(run: Any) -> None:
    run.has(documents=run.state.documents - {"insert"})
    assert run.kinds() == {"lost"}


def test_a_document_that_never_came_is_found_though_it_may_have_been_deleted(run: Any) -> None:
    kept = tuple(event for event in run.state.events if event.id != "m1")
    run.has(events=kept)
    run.history.streams["reader"] = [e for e in kept if e.collection == "documents"]
    assert run.kinds() == {"lost"}


def test_a_duplicate_key_of_an_own_id_is_found(run: Any) -> None:
    report(run, "insert", outcome="failed", error="DuplicateKeyError 11000: E11000 duplicate key")
    run.has(documents=run.state.documents - {"insert"})
    assert run.kinds() == {"applied twice"}


def test_a_document_inserted_twice_is_found(run: Any, event: Callable[..., StreamEvent]) -> None:
    again = replace(event("insert"), token="again")
    run.has(events=(*run.state.events, again))
    run.history.streams["reader"].append(again)
    assert run.kinds() == {"applied twice"}


def test_a_document_of_nobody_is_found(run: Any, event: Callable[..., StreamEvent]) -> None:
    for stranger in (event("pulse-1"), event("ghost")):
        run.has(events=(*run.state.events, stranger))
        run.history.streams["reader"].append(stranger)
    [violation] = run.violations()
    assert violation.text == "nobody asked for ghost"


def test_a_deletion_that_did_not_happen_is_found(run: Any) -> None:
    run.has(documents=run.state.documents | {"m1"})
    assert run.kinds() == {"lost"}


@pytest.mark.parametrize("operation", ["increment", "insert", "delete", "update many", "transfer"])
def test_what_was_reported_as_not_done_and_is_done_is_found(run: Any, operation: str) -> None:
    report(run, operation, outcome="failed", result={})
    assert run.kinds() == {"denied"}


def test_a_transfer_without_its_ledger_entry_is_found(run: Any) -> None:
    run.has(transfers={})
    assert "half" in run.kinds()


def test_a_transfer_with_one_side_is_found(run: Any) -> None:
    report(run, "transfer", outcome="unknown")
    accounts = {**run.state.accounts, "a1": Tally(value=1000)}
    run.has(accounts=accounts)
    assert "half" in run.kinds()


def test_a_lost_transfer_is_found(run: Any) -> None:
    run.has(
        transfers={},
        accounts={"a0": Tally(value=1000), "a1": Tally(value=1000)},
        events=tuple(event for event in run.state.events if event.collection == "documents"),
    )
    assert run.kinds() == {"lost"}


def test_money_from_nowhere_is_found(run: Any) -> None:
    run.has(accounts={**run.state.accounts, "a2": Tally(value=1001)})
    assert run.kinds() == {"half"}


def test_a_later_part_of_an_ordered_bulk_without_an_earlier_is_found(run: Any) -> None:
    report(run, "bulk", outcome="unknown")
    run.has(documents=run.state.documents - {"bulk"})
    assert run.kinds() == {"half"}


def test_a_missed_event_is_found(run: Any) -> None:
    del run.history.streams["reader"][1]
    [violation] = run.violations()
    assert violation.kind == "stream"
    assert "missed 1" in violation.text
    assert "m0" in violation.text


def test_a_missed_end_is_found(run: Any) -> None:
    run.history.streams["reader"].clear()
    assert run.kinds() == {"stream"}


def test_a_repeated_event_is_found(run: Any) -> None:
    events = run.history.streams["reader"]
    events.insert(1, events[0])
    [violation] = run.violations()
    assert violation.kind == "stream"
    assert "repeated 1" in violation.text


def test_events_out_of_order_are_found(run: Any) -> None:
    run.history.streams["reader"].reverse()
    [violation] = run.violations()
    assert "out of order" in violation.text


def test_an_event_that_the_server_does_not_know_is_found(
    run: Any, event: Callable[..., StreamEvent]
) -> None:
    run.history.streams["reader"].append(event("ghost"))
    [violation] = run.violations()
    assert "invented 1" in violation.text


def test_a_stale_read_is_found(run: Any) -> None:
    report(run, "read", result={"read": 1})
    assert run.kinds() == {"stale read"}


def test_a_lost_mark_is_found(run: Any) -> None:
    run.has(marks={"w": 2})
    assert run.kinds() == {"lost"}


def test_a_hang_is_found(run: Any) -> None:
    report(run, "insert", outcome="unknown", hung=True)
    assert run.kinds() == {"hang"}


def test_a_hang_of_a_stream_is_found(run: Any) -> None:
    run.history.problems.append("hang: reader heard nothing for 60 s")
    assert run.kinds() == {"hang"}


def test_an_error_that_no_fault_explains_is_found(run: Any) -> None:
    report(run, "insert", outcome="unknown", unexpected=True, error="KeyError: 'ok'")
    assert run.kinds() == {"unexpected error"}
