"""What is measured of each contender: a name, an operation, how often, and what it must return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from odm.cli.bench import documents
from odm.cli.bench.contenders import Contender

Operation = Callable[[Contender, int], Awaitable[Any]]
"""Does it once; the number differs from one time to the next."""

GATHERED = 100
_PAGE_DOCUMENTS = 15 + 5 * 10


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing that applications do.

    Attributes:
        name: for ``--only``.
        title: for people.
        run: does it once.
        repeat: how often in a round.
        expected: what the operation returns of so many documents, for the number 0.
    """

    name: str
    title: str
    run: Operation
    repeat: int
    expected: Callable[[int], Any]


WORKLOADS = (
    Workload(
        "read",
        "point read",
        lambda contender, number: contender.read(number),
        20,
        lambda count: documents.title(0),
    ),
    Workload(
        "write",
        "point write",
        lambda contender, number: contender.write(number),
        20,
        lambda count: None,
    ),
    Workload(
        "list",
        "list of 100",
        lambda contender, number: contender.list(documents.LIST_LENGTH),
        6,
        lambda count: documents.LIST_LENGTH,
    ),
    Workload(
        "scan",
        "all documents",
        lambda contender, number: contender.list(0),
        1,
        lambda count: count,
    ),
    Workload(
        "aggregate",
        "aggregation",
        lambda contender, number: contender.aggregate(),
        4,
        lambda count: len(documents.STATUSES),
    ),
    Workload(
        "page",
        "page of 20 queries, gathered",
        lambda contender, number: contender.page(),
        3,
        lambda count: _PAGE_DOCUMENTS,
    ),
    Workload(
        "sequence",
        "100 point reads, one after another",
        lambda contender, number: contender.sequence(GATHERED),
        1,
        lambda count: GATHERED,
    ),
    Workload(
        "gather",
        "100 point reads, gathered",
        lambda contender, number: contender.gather(GATHERED),
        1,
        lambda count: GATHERED,
    ),
)


async def mixed(contender: Contender, number: int) -> None:
    """Do the *number*-th operation of the mixed load: 80 % reads, 10 % writes, 10 % lists of 10."""
    match number % 10:
        case 3:
            await contender.write(number)
        case 7:
            await contender.list(10)
        case _:
            await contender.read(number % GATHERED)
