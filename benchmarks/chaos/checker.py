"""The proof: from what the callers were told and what the server has, every contradiction.

Pure: a history and a final state in, violations out. It judges

- *lost*: acknowledged, or seen by its own writer, and not there;
- *applied twice*: there more often than it was asked for, however it was reported;
- *denied*: reported as not done, and done;
- *half*: a part of what is one transaction, or a later part of an ordered bulk without an earlier;
- *wrong answer*: acknowledged with a result that the final state contradicts;
- *stream*: an event missed, repeated or out of order, against the server's own account;
- *stale read*: a session saw less than it had seen, or than was acknowledged to it;
- *hang*, *unexpected error*: from the history alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.chaos.final_state import FinalState, Tally
from benchmarks.chaos.history import History, Operation, StreamEvent
from benchmarks.chaos.layout import END, GROUP_SIZE, OPENING_BALANCE, PULSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One contradiction: its kind, as above, and in words what contradicts what."""

    kind: str
    text: str


def check(history: History, state: FinalState) -> list[Violation]:
    """Return every contradiction between *history* and *state*, none if all is well."""
    deleted = _possibly_deleted(history)
    found: list[Violation] = []
    for operation in history.operations.values():
        found += _check_report(operation)
        found += _check_counters(operation, state)
        found += _check_documents(operation, state, deleted)
        found += _check_group(operation, state)
        found += _check_transfer(operation, state)
        found += _check_mark(operation, state)
    found += _check_tallies(history, state)
    found += _check_accounts(state)
    for reader, events in history.streams.items():
        found += _check_stream(reader, events, history.collections[reader], state)
    found += _check_reference(history, state, deleted)
    found += [_problem(text) for text in history.problems]
    return found


def _problem(text: str) -> Violation:
    return Violation(kind="hang" if text.startswith("hang") else "unexpected error", text=text)


def _name(operation: Operation) -> str:
    error = f" ({operation.error[:200]})" if operation.error else ""
    return f"{operation.kind} {operation.id}, {operation.outcome}{error}"


def _check_report(operation: Operation) -> Iterator[Violation]:
    if operation.hung:
        yield Violation(kind="hang", text=_name(operation))
    if "E11000" in operation.error:  # a duplicate key
        yield Violation(kind="applied twice", text=f"{_name(operation)}: its ids are nobody else's")
    elif operation.unexpected:
        yield Violation(kind="unexpected error", text=_name(operation))
    if operation.outcome != "acknowledged":
        return
    result = operation.result
    wanted = {"modified": GROUP_SIZE if "group" in operation.effects else 1, "deleted": 1}
    wanted["inserted"] = len(operation.effects.get("documents", ()))
    for name, number in wanted.items():
        if result.get(name, number) != number:
            # A write that was done before, by a first attempt, finds nothing to do.
            yield Violation(
                kind="wrong answer", text=f"{_name(operation)}: {name} {result[name]}, not {number}"
            )
    if "read" in operation.effects:
        limits = operation.effects["read"]
        if not limits["at_least"] <= result["read"] <= limits["at_most"]:
            yield Violation(
                kind="stale read",
                text=f"{_name(operation)}: read {result['read']}, not "
                f"{limits['at_least']} to {limits['at_most']}",
            )


def _check_times(operation: Operation, times: int, where: str) -> Iterator[Violation]:
    """Compare how often an effect is there with what was reported."""
    if times > 1:
        yield Violation(kind="applied twice", text=f"{_name(operation)}: {times} times on {where}")
    if times == 0 and operation.outcome == "acknowledged":
        yield Violation(kind="lost", text=f"{_name(operation)}: not on {where}")
    if times > 0 and operation.outcome == "failed":
        yield Violation(kind="denied", text=f"{_name(operation)}: but it is on {where}")


def _check_counters(operation: Operation, state: FinalState) -> Iterator[Violation]:
    times = []
    for counter in operation.effects.get("counters", ()):
        applied = state.counters[counter].applied
        times.append(applied.count(operation.id))
        yield from _check_times(operation, times[-1], counter)
        answered = operation.result.get("n")
        if answered is not None and operation.id in applied:
            position = applied.index(operation.id) + 1
            if position != answered:
                yield Violation(
                    kind="wrong answer",
                    text=f"{_name(operation)}: was answered {answered}, is number {position}"
                    f" on {counter}",
                )
    if operation.effects.get("ordered"):
        document = int(operation.effects["documents"][0] in state.documents)
        parts = [times[0], document, times[1]]
        if sorted(parts, reverse=True) != parts:
            yield Violation(kind="half", text=f"{_name(operation)}: parts {parts} of it")


def _possibly_deleted(history: History) -> Mapping[str, Operation]:
    return {
        operation.effects["deletes"]: operation
        for operation in history.operations.values()
        if "deletes" in operation.effects
    }


def _check_documents(
    operation: Operation, state: FinalState, deleted: Mapping[str, Operation]
) -> Iterator[Violation]:
    for document in operation.effects.get("documents", ()):
        there = int(document in state.documents)
        deletion = deleted.get(document)
        if deletion is None:
            yield from _check_times(operation, there, document)
        elif there and deletion.outcome == "acknowledged":
            yield Violation(kind="lost", text=f"{_name(deletion)}: {document} is still there")
        elif not there and deletion.outcome == "failed":
            yield Violation(kind="denied", text=f"{_name(deletion)}: but {document} is gone")


def _check_group(operation: Operation, state: FinalState) -> Iterator[Violation]:
    if "group" in operation.effects:
        for document, tally in state.groups[operation.effects["group"]].items():
            yield from _check_times(operation, tally.applied.count(operation.id), document)


def _check_transfer(operation: Operation, state: FinalState) -> Iterator[Violation]:
    transfer = operation.effects.get("transfer")
    if transfer is None:
        return
    times = {
        "the ledger": int(operation.id in state.transfers),
        "the source": state.accounts[transfer["source"]].applied.count(operation.id),
        "the target": state.accounts[transfer["target"]].applied.count(operation.id),
    }
    if len(set(times.values())) > 1:
        yield Violation(kind="half", text=f"{_name(operation)}: {times}")
    for where, number in times.items():
        yield from _check_times(operation, number, where)


def _check_mark(operation: Operation, state: FinalState) -> Iterator[Violation]:
    mark = operation.effects.get("mark")
    if mark is None or operation.outcome != "acknowledged":
        return
    if state.marks.get(mark["id"], 0) < mark["value"]:
        yield Violation(kind="lost", text=f"{_name(operation)}: {mark['value']} is not reached")


def _check_tallies(history: History, state: FinalState) -> Iterator[Violation]:
    """Every counter is as high as the number of those who raised it, and all of them are known."""
    tallies = {**state.counters}
    for group in state.groups.values():
        tallies |= group
    for name, tally in tallies.items():
        if tally.value != len(tally.applied):
            yield Violation(
                kind="applied twice" if tally.value > len(tally.applied) else "lost",
                text=f"{name} is {tally.value}, but {len(tally.applied)} operations raised it",
            )
        yield from _strangers(name, tally, history)
    for name, tally in state.accounts.items():
        yield from _strangers(name, tally, history)


def _strangers(name: str, tally: Tally, history: History) -> Iterator[Violation]:
    for operation in tally.applied:
        if operation not in history.operations:
            yield Violation(kind="applied twice", text=f"{name}: nobody asked for {operation}")


def _check_accounts(state: FinalState) -> Iterator[Violation]:
    balances: Counter[str] = Counter()
    for transfer in state.transfers.values():
        balances[transfer["source"]] -= transfer["amount"]
        balances[transfer["target"]] += transfer["amount"]
    for name, account in state.accounts.items():
        expected = OPENING_BALANCE + balances[name]
        if account.value != expected:
            yield Violation(
                kind="half",
                text=f"account {name} has {account.value}, by the ledger it has {expected}",
            )
    total = sum(account.value for account in state.accounts.values())
    if total != OPENING_BALANCE * len(state.accounts):
        yield Violation(kind="half", text=f"all accounts together have {total}")


def _check_stream(
    reader: str, events: list[StreamEvent], collections: list[str], state: FinalState
) -> Iterator[Violation]:
    """A reader got exactly what happened to what it watches, in this order."""
    expected = [event for event in state.events if event.collection in collections]
    if events == expected:
        return
    times = Counter(event.token for event in events)
    repeated = [event for event in expected if times[event.token] > 1]
    missed = [event for event in expected if not times[event.token]]
    known = {event.token for event in expected}
    invented = [event for event in events if event.token not in known]
    for what, which in (("missed", missed), ("repeated", repeated), ("invented", invented)):
        if which:
            yield Violation(
                kind="stream",
                text=f"{reader} {what} {len(which)} of {len(expected)} events,"
                f" the first: {which[0]}",
            )
    if not (repeated or missed or invented):
        yield Violation(kind="stream", text=f"{reader} got {len(events)} events out of order")


def _check_reference(
    history: History, state: FinalState, deleted: Mapping[str, Operation]
) -> Iterator[Violation]:
    """The server's own account agrees with what is there: each document came once."""
    inserted = Counter(event.id for event in state.events if event.operation == "insert")
    asked_for = {END, *(each.id for each in history.operations.values())}
    for operation in history.operations.values():
        asked_for.update(operation.effects.get("documents", ()))
    for document, times in inserted.items():
        if document not in asked_for and not document.startswith(PULSE):
            yield Violation(kind="applied twice", text=f"nobody asked for {document}")
        if times > 1:
            yield Violation(kind="applied twice", text=f"{document} was inserted {times} times")
    removed = Counter(event.id for event in state.events if event.operation == "delete")
    for document, times in removed.items():
        if times > 1 or document not in deleted:
            yield Violation(
                kind="applied twice", text=f"{document} was deleted {times} times: by whom?"
            )
    for transfer in state.transfers:
        if transfer not in inserted:
            yield Violation(kind="stream", text=f"the server's stream lacks transfer {transfer}")
    for operation in history.operations.values():
        if operation.outcome != "acknowledged" or operation.effects.get("ordered"):
            continue  # the document of an ordered bulk lies in a collection that is not watched
        for document in operation.effects.get("documents", ()):
            if document not in inserted:
                yield Violation(kind="lost", text=f"{_name(operation)}: {document} never came")
