"""What is in the database of a chaos run: document classes, how many of each, how they begin.

Every document that is written to remembers in ``applied`` which operations wrote to it, in order:
so that what was done twice can be seen, and by whom. Everything is written and read with majority
concerns, a replica set's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field
from pymongo.asynchronous.database import AsyncDatabase

from odm import Document

DATABASE = "chaos"
OPENING_BALANCE = 1000
GROUP_SIZE = 4
END = "end-of-run"
"""The id of the document that is inserted when all is quiet: the last that a stream delivers."""

PULSE = "pulse-"
"""How the ids of documents begin that the run itself inserts: no stream is silent for long."""

WATCHED = ("documents", "transfers")
"""Collections whose changes are watched: documents come and go, and are never changed."""


class Counter(Document):
    """A number and those who raised it; its position in ``applied`` is what each was answered."""

    id: str  # type: ignore[assignment]  # Beanie's own way to another type of id
    n: int = 0
    applied: list[str] = Field(default_factory=list)

    class Settings:
        name = "counters"


class Entry(Document):
    """Something inserted, perhaps deleted later."""

    id: str  # type: ignore[assignment]  # Beanie's own way to another type of id
    worker: str

    class Settings:
        name = "documents"


class Account(Document):
    """One side of transfers."""

    id: str  # type: ignore[assignment]  # Beanie's own way to another type of id
    balance: int = OPENING_BALANCE
    applied: list[str] = Field(default_factory=list)

    class Settings:
        name = "accounts"


class Transfer(Document):
    """The ledger's entry of a transfer, written in the same transaction."""

    id: str  # type: ignore[assignment]  # Beanie's own way to another type of id
    source: str
    target: str
    amount: int

    class Settings:
        name = "transfers"


MODELS = (Counter, Entry, Account, Transfer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many documents of each kind there are to quarrel over."""

    counters: int = 16
    groups: int = 6
    accounts: int = 24

    @classmethod
    def for_workers(cls, workers: int) -> Layout:
        """Return a layout that is contended, but where most transactions get through."""
        return cls(counters=max(8, workers // 2), groups=6, accounts=max(12, 2 * workers))

    async def create(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        """Create the collections and what is in them in the beginning."""
        for name in ("counters", "documents", "groups", "accounts", "transfers", "marks"):
            await database.create_collection(name)
        await database.counters.insert_many(
            {"_id": f"c{number}", "n": 0, "applied": []} for number in range(self.counters)
        )
        await database.groups.insert_many(
            {"_id": f"g{group}.{number}", "group": group, "n": 0, "applied": []}
            for group in range(self.groups)
            for number in range(GROUP_SIZE)
        )
        await database.accounts.insert_many(
            {"_id": f"a{number}", "balance": OPENING_BALANCE, "applied": []}
            for number in range(self.accounts)
        )
