"""What an operation of the script is, and what it works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from models import (
    AssetRepository,
    CategoryRepository,
    FormRepository,
    PageRepository,
    PageViewRepository,
    UserRepository,
)
from odm import Connection, PydanticObjectId


class World:
    """The seeded CMS on one connection, as the operations see it. They know no transport."""

    def __init__(self, db: Connection) -> None:
        self.db = db
        self.users = db.repository(UserRepository)
        self.categories = db.repository(CategoryRepository)
        self.pages = db.repository(PageRepository)
        self.forms = db.repository(FormRepository)
        self.assets = db.repository(AssetRepository)
        self.views = db.repository(PageViewRepository)


Run = Callable[[World], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One named step of the script.

    Attributes:
        name: what it does, in a few words.
        run: does it and returns what an application would see.
        repeatable: whether it changes nothing and may be timed several times.
    """

    name: str
    run: Run
    repeatable: bool


class Script:
    """An ordered collection of operations, gathered by its decorators."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def read(self, name: str) -> Callable[[Run], Run]:
        """Add an operation that changes nothing."""
        return self._add(name, repeatable=True)

    def write(self, name: str) -> Callable[[Run], Run]:
        """Add an operation that is run once."""
        return self._add(name, repeatable=False)

    def _add(self, name: str, *, repeatable: bool) -> Callable[[Run], Run]:
        def add(run: Run) -> Run:
            self.operations.append(Operation(name, run, repeatable))
            return run

        return add


def new_id(number: int) -> PydanticObjectId:
    """Return the id of the script's own *number*-th document: the same on every transport."""
    return PydanticObjectId(ObjectId(f"{0xDE300000:08x}{number:016x}"))
