"""Who is compared: a raw driver, Beanie, repositories, over whatever reaches MongoDB.

A contender does the same few things to the same documents, each in its own way, and returns what
shows that it did them. The ones that invoke without a driver are in `odm.cli.bench.invokers`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from odm.cli.bench import documents
from odm.cli.bench.documents import (
    Article,
    BeanieArticle,
    BeanieNote,
    Note,
    PlainArticle,
    PlainNote,
)

if TYPE_CHECKING:
    from odm import Connection
    from transports import Transport


PAGE_SIZE = 100
"""Documents in a page of those that are read one after another."""


class Contender(abc.ABC):
    """One way to work with the documents.

    Args:
        name: in tables.
        title: what it is, in a line.
        transport: what reaches MongoDB, open; None where it is no transport of this project.
    """

    def __init__(self, name: str, title: str, transport: Transport | None = None) -> None:
        self.name = name
        self.title = title
        self.transport = transport

    def invokes(self) -> int:
        """Return how many invokes it made until now."""
        return self.transport.statistics().invokes if self.transport else 0

    @abc.abstractmethod
    async def read(self, number: int) -> str:
        """Read one article by its id; return its title."""

    @abc.abstractmethod
    async def write(self, number: int) -> None:
        """Insert a note."""

    @abc.abstractmethod
    async def list(self, limit: int) -> int:
        """Read *limit* articles (0: all); return how many came."""

    @abc.abstractmethod
    async def aggregate(self) -> int:
        """Group all articles; return how many groups came."""

    async def page(self) -> int:
        """Read what a page needs, gathered: 20 queries; return how many documents came."""
        reads = [self.read(number) for number in range(15)]
        lists = [self.list(10) for _ in range(5)]
        titles, counts = await asyncio.gather(asyncio.gather(*reads), asyncio.gather(*lists))
        return len(titles) + sum(counts)

    async def sequence(self, count: int) -> int:
        """Read *count* articles by id one after another; return how many came."""
        return len([await self.read(number) for number in range(count)])

    async def gather(self, count: int) -> int:
        """Read *count* articles by id at the same time; return how many came."""
        return len(await asyncio.gather(*(self.read(number) for number in range(count))))


class DriverContender(Contender):
    """A driver's collections, documents as dictionaries."""

    def __init__(self, name: str, title: str, transport: Transport) -> None:
        super().__init__(name, title, transport)
        self._articles = transport.database[documents.ARTICLES]
        self._notes = transport.database[documents.NOTES]

    async def read(self, number: int) -> str:
        """Read by ``find_one``."""
        found = await self._articles.find_one({"_id": ObjectId(documents.article_id(number))})
        return str(found["title"]) if found else ""

    async def write(self, number: int) -> None:
        """Write by ``insert_one``."""
        await self._notes.insert_one(documents.note(number))

    async def list(self, limit: int) -> int:
        """Read by ``find`` into a list."""
        return len(await self._articles.find({}, limit=limit).to_list(None))

    async def aggregate(self) -> int:
        """Run ``aggregate``."""
        cursor = await self._articles.aggregate(documents.PIPELINE)
        return len(await cursor.to_list(None))


class ValidatedContender(DriverContender):
    """A driver's collections and pydantic's models: what one would write without an ODM."""

    async def read(self, number: int) -> str:
        """Read by ``find_one``, and validate."""
        found = await self._articles.find_one({"_id": ObjectId(documents.article_id(number))})
        return PlainArticle.model_validate(found).title

    async def write(self, number: int) -> None:
        """Validate, and write by ``insert_one``."""
        await self._notes.insert_one(PlainNote(**documents.note(number)).model_dump())

    async def list(self, limit: int) -> int:
        """Read by ``find``, and validate each."""
        found = await self._articles.find({}, limit=limit).to_list(None)
        return len([PlainArticle.model_validate(each) for each in found])


class BeanieContender(Contender):
    """Beanie's own documents, bound by ``init_beanie``."""

    async def read(self, number: int) -> str:
        """Read by ``get``."""
        found = await BeanieArticle.get(documents.article_id(number))
        return found.title if found else ""

    async def write(self, number: int) -> None:
        """Write by ``insert``."""
        await BeanieNote(**documents.note(number)).insert()

    async def list(self, limit: int) -> int:
        """Read by ``find_all`` into a list."""
        return len(await BeanieArticle.find_all(limit=limit or None).to_list())

    async def aggregate(self) -> int:
        """Run ``aggregate``."""
        return len(await BeanieArticle.aggregate(documents.PIPELINE).to_list())


class RepositoryContender(Contender):
    """This project's repositories."""

    def __init__(self, name: str, title: str, db: Connection, transport: Transport) -> None:
        super().__init__(name, title, transport)
        self._db = db
        self._articles = db.repository(Article)
        self._notes = db.repository(Note)

    async def read(self, number: int) -> str:
        """Read by ``get``."""
        return (await self._articles.get(documents.article_id(number))).title

    async def write(self, number: int) -> None:
        """Write by ``add``."""
        with self._db.bind():
            note = Note(**documents.note(number))
        await self._notes.add(note)

    async def list(self, limit: int) -> int:
        """Read by ``find`` into a list."""
        return len(await self._articles.find(limit=limit or None).to_list())

    async def aggregate(self) -> int:
        """Run ``aggregate``."""
        return len(await self._articles.aggregate(documents.PIPELINE))

    async def read_to(self, count: int) -> int:
        """Read the first *count* articles into a list; return how many came."""
        return len(await self._articles.find(_first(count)).to_list())

    async def stream_to(self, count: int) -> int:
        """Read them one by one."""
        came = 0
        async for _ in self._articles.stream(_first(count)):
            came += 1
        return came

    async def page_to(self, count: int) -> int:
        """Read them in pages, each after the one before."""
        came, token = 0, None
        while True:
            page = await self._articles.page_after(token, _first(count), size=PAGE_SIZE)
            came, token = came + len(page.items), page.next
            if token is None:
                return came


def _first(count: int) -> dict[str, Any]:
    return {"_id": {"$lt": ObjectId(documents.article_id(count))}}


@asynccontextmanager
async def driver(name: str, title: str, url: str) -> AsyncIterator[Contender]:
    """Open the driver under *url*."""
    from transports import open_transport

    async with open_transport(url) as transport:
        yield DriverContender(name, title, transport)


@asynccontextmanager
async def validated(name: str, title: str, url: str) -> AsyncIterator[Contender]:
    """Open the driver under *url*, whose documents are validated."""
    from transports import open_transport

    async with open_transport(url) as transport:
        yield ValidatedContender(name, title, transport)


@asynccontextmanager
async def beanie_documents(name: str, title: str, url: str) -> AsyncIterator[Contender]:
    """Open Beanie under *url*. Its binding is for the whole process: one of these at a time."""
    import beanie

    from transports import open_transport

    async with open_transport(url) as transport:
        models = [BeanieArticle, BeanieNote]
        await beanie.init_beanie(database=transport.database, document_models=models)
        yield BeanieContender(name, title, transport)


@asynccontextmanager
async def repositories(name: str, title: str, url: str) -> AsyncIterator[Contender]:
    """Open the repositories under *url*."""
    from odm import connect

    async with connect(url, models=[Article, Note]) as db:
        yield RepositoryContender(name, title, db, db.transport)
