from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import beanie
import pytest
from pydantic import BaseModel, SecretStr
from pymongo import AsyncMongoClient
from pymongo.errors import InvalidOperation, OperationFailure

from odm import (
    Connection,
    Document,
    InvalidConfiguration,
    NotConnected,
    Settings,
    View,
    connect,
)
from transports import InvalidURL
from transports.base import Transport
from transports.url import parse_url

Open = Callable[..., Any]
NewURL = Callable[[], str]


class Thing(Document):
    name: str = ""

    class Settings:
        name = "things"
        indexes = ["name"]  # noqa: RUF012 - Beanie's form


async def test_it_opens_and_closes(new_url: NewURL) -> None:
    url = new_url()
    async with connect(url, models=[Thing]) as db:
        await db.ping()
        assert [db.is_open] == [True]
        assert db.models == (Thing,)
        assert db.database.name == url.rsplit("/", 1)[1].partition("?")[0]
        assert db.client is db.transport.client
        assert db.statistics().transport == "direct"
        assert repr(db) == f"<Connection {url} (open)>"
        assert db.url == url
    assert not db.is_open
    assert "closed" in repr(db)
    await db.aclose()
    with pytest.raises(NotConnected, match="connect"):
        await db.ping()


def test_what_needs_an_open_connection_says_how_to_open_it() -> None:
    db = connect("mongodb://localhost/cms", models=[Thing])
    uses: list[Callable[[], Any]] = [
        lambda: db.client,
        lambda: db.database,
        db.transaction,
        db.bind,
        lambda: db.repository(Thing),
    ]
    for use in uses:
        with pytest.raises(NotConnected, match=r"closed: write 'async with connect\("):
            use()


async def test_several_tasks_open_it_once(new_url: NewURL) -> None:
    db = connect(new_url(), models=[Thing])
    try:
        await asyncio.gather(db.open(), db.open(), db.open())
        assert db.is_open
        assert await Thing.count() == 0
    finally:
        await db.aclose()


class SlowTransport(Transport):
    """Opens when it is told to, to a database that does not answer."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__(parse_url("mongodb://localhost:1/cms?serverSelectionTimeoutMS=10"))
        self.opening, self.may_open = asyncio.Event(), asyncio.Event()

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        self.opening.set()
        await self.may_open.wait()
        return AsyncMongoClient(self.url.driver_uri)


async def test_it_is_not_open_before_its_models_are_bound(new_url: NewURL) -> None:
    db = connect(new_url(), models=[Thing])

    async def count_when_open() -> int:
        while not db.is_open:  # noqa: ASYNC110 - it must be seen in its very first moment
            await asyncio.sleep(0)
        return await Thing.count()

    counted, _ = await asyncio.gather(count_when_open(), db.open())
    await db.aclose()
    assert counted == 0


@pytest.mark.parametrize("models", [(), (Thing,)])
async def test_closed_while_it_is_being_opened_it_says_so(models: Any) -> None:
    transport = SlowTransport()
    db = Connection(transport, models)
    opening = asyncio.create_task(db.open())
    await transport.opening.wait()
    closing = asyncio.create_task(db.aclose())
    asyncio.get_running_loop().call_soon(transport.may_open.set)
    with pytest.raises(NotConnected, match="closed while it was being opened"):
        await opening
    await closing
    assert not db.is_open
    assert not transport.is_open


async def test_cancelling_aclose_closes_it_all_the_same(new_url: NewURL) -> None:
    db = await connect(new_url(), models=[Thing])
    client = db.client
    await Thing.count()  # a session, so closing sends a command
    closing = asyncio.create_task(db.aclose())
    asyncio.get_running_loop().call_soon(closing.cancel)
    with pytest.raises(asyncio.CancelledError):
        await closing
    await db.aclose()
    with pytest.raises(InvalidOperation):
        await client.admin.command("ping")


async def test_the_outermost_block_closes_it(new_url: NewURL) -> None:
    db = connect(new_url(), models=[Thing])
    async with db:
        async with db as same:
            assert same is db
        assert await Thing.count() == 0
    assert not db.is_open
    async with db:
        await db.aclose()
        assert [db.is_open] == [False]
    assert not db.is_open


async def test_it_is_awaited_and_closed_by_hand(new_url: NewURL) -> None:
    db = await connect(new_url(), models=[Thing])
    try:
        assert await db.open() is db
        assert await Thing.count() == 0
    finally:
        await db.aclose()


async def test_the_url_may_come_from_the_environment(
    new_url: NewURL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_url()
    monkeypatch.setenv("ODM_URL", url)
    async with connect(models=[Thing]) as db:
        assert db.url == url
    other = new_url()
    async with connect(settings=Settings(url=SecretStr(other))) as db:
        assert db.url == other


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_a_url_the_error_says_what_to_export(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("ODM_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("ODM_URL", value)
    with pytest.raises(InvalidConfiguration, match="export ODM_URL=mongodb://"):
        connect(models=[Thing])


def test_credentials_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "mongodb://user:hunter2@localhost:1/db"
    monkeypatch.setenv("ODM_URL", secret)
    db = connect(models=[Thing])
    assert "hunter2" not in repr(db) + db.url + repr(Settings()) + repr(db.transport)
    assert db.url == "mongodb://***@localhost:1/db"


class NotAModel(BaseModel):
    pass


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("Thing", r"models is a list: write connect\(…, models=\[Thing\]\)"),
        (Thing, r"models is a list: write connect\(…, models=\[Thing\]\)"),
        (None, r"models is a list: write connect\(…, models=\["),
        (5, r"models is a list: write connect\(…, models=\["),
        ([NotAModel], "NotAModel.*is no model"),
        ([Thing()], "is no model"),
        ([Document], "derive a class from it"),
        ([View], "derive a class from it"),
        (["Thing"], "cannot be imported"),
        (["no.such.Thing"], "cannot be imported"),
        (["odm.document.Nothing"], "cannot be imported"),
    ],
)
def test_what_cannot_be_bound_is_refused_at_once(models: Any, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        connect("mongodb://localhost", models=models)


def test_models_in_the_place_of_the_url_are_refused() -> None:
    models: Any = [Thing]
    with pytest.raises(InvalidConfiguration, match=r"models=\[…\]"):
        connect(models)


def test_a_bad_url_is_refused_at_once() -> None:
    with pytest.raises(InvalidURL, match="did you mean"):
        connect("mongo://localhost")


async def test_models_may_be_dotted_paths(new_url: NewURL) -> None:
    async with connect(new_url(), models=["models.categories.Category"]) as db:
        assert [model.__name__ for model in db.models] == ["Category"]


async def test_a_model_that_is_named_twice_is_bound_once(opened: Open) -> None:
    assert (await opened(Thing, Thing)).models == (Thing,)


async def test_no_models_need_no_command(listening: Open) -> None:
    _, commands = await listening()
    assert commands.names == []


async def test_models_need_few_commands(listening: Open) -> None:
    class Plain(Document):
        name: str

    _, commands = await listening(Thing, Plain)
    assert sorted(commands.names) == ["buildInfo", "createIndexes", "listCollections"]


async def test_what_fails_while_opening_closes_again(new_url: NewURL) -> None:
    class Bad(Document):
        name: str = ""

        class Settings:
            indexes = [[("name", "no such kind")]]  # noqa: RUF012

    db = connect(new_url(), models=[Bad])
    with pytest.raises(OperationFailure):
        await db.open()
    assert not db.is_open
    assert not db.transport.is_open
    with pytest.raises(NotConnected):
        await Bad.count()


async def test_custom_init_runs_on_the_connection_that_is_opened(opened: Open) -> None:
    class Seeded(Document):
        name: str

        @classmethod
        async def custom_init(cls) -> None:
            await cls(name="seed").insert()

    one, two = [await opened(Seeded) for _ in range(2)]
    assert await one.repository(Seeded).count() == 1
    assert await two.repository(Seeded).count() == 1


async def test_a_connection_that_is_never_closed_warns(new_url: NewURL) -> None:
    db: Connection | None = await connect(new_url())
    assert db is not None
    await db.client.close()
    db = None
    with pytest.warns(ResourceWarning, match="was never closed"):
        gc.collect()


async def test_settings_hold_where_arguments_say_nothing(new_url: NewURL) -> None:
    quiet = Settings(create_indexes=False)
    async with connect(new_url(), models=[Thing], settings=quiet) as db:
        assert list(await db.database["things"].index_information()) == []
    async with connect(new_url(), models=[Thing], settings=quiet, create_indexes=True) as db:
        assert "name_1" in await db.database["things"].index_information()


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import odm", ("beanie", "pymongo", "pydantic", "transports")),
        (
            "from odm import Document, Repository, connect",
            ("aiobotocore", "boto3", "botocore", "motor", "typer", "rich", "transports.fake"),
        ),
    ],
)
def test_importing_is_cheap(code: str, forbidden: tuple[str, ...]) -> None:
    script = f"{code}; import sys; print([m for m in {forbidden!r} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert printed.stdout.strip() == "[]", printed.stdout + printed.stderr


def test_all_that_is_promised_is_there() -> None:
    import odm

    assert all(getattr(odm, name) is not None for name in odm.__all__)
    assert dir(odm) == sorted(odm.__all__)
    assert odm.PydanticObjectId is beanie.PydanticObjectId
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        odm.Nothing  # noqa: B018
