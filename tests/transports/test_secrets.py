"""No credential and no content of a document in what this package says of itself.

Everything that has a representation, a message or a log line is made to speak while a canary is in
the URL, the credentials and the documents; what it says is searched for the canary.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from aiohttp import web
from pymongo.errors import PyMongoError

from transports import open_transport
from transports.endpoint import Deployment, Endpoint, Member, Request
from transports.endpoint.scram import Credential, Verifier
from transports.errors import CarriageError, ConnectionLost, TransportError, origin
from transports.lambda_invoke.function.policy import Policy
from transports.lambda_invoke.function.policy.refusal import Refused
from transports.lambda_invoke.function.settings import FunctionSettings
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.transport import LambdaTransport
from transports.url import parse_url, redact

CANARY = "canary0secret"
CONTENT = "canary0content"
DOCUMENT = {"_id": CONTENT, "text": CONTENT, "$db": "test"}
# Not botocore's and PyMongo's own: at DEBUG they write requests and commands out, as documented.
OURS = ("transports", "odm", "asyncio", "aiobotocore", "aiohttp")


@pytest.fixture(autouse=True)
def overheard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Listens at DEBUG to every logger of ours, and of what we make speak."""
    for name in (*OURS, ""):
        caplog.set_level(logging.DEBUG, name or None)
    yield caplog
    records = caplog.get_records("call")  # at the end of a fixture, `records` is another phase's
    ours = [record for record in records if record.name.startswith(OURS)]
    assert all(record.exc_info is None for record in ours if record.levelno > logging.DEBUG)
    said = "\n".join(caplog.handler.format(record) for record in ours)
    assert CANARY not in said
    assert CONTENT not in said


URIS = [
    f"mongodb://user:{CANARY}@127.0.0.1:1/db?serverSelectionTimeoutMS=50",
    f"mongodb+srv://user:{CANARY}@cluster0.example.invalid/db",
    f"mongodb://user:{CANARY}/x@127.0.0.1:1/db",
    f"mongodb://user:p@ss{CANARY}@127.0.0.1:1/db",
    f"mongodb://user:{CANARY}@127.0.0.1:port/db",
    f"mongodb://user:{CANARY}@127.0.0.1:99999/db",
    f"mongodb://user:{CANARY}%zz@127.0.0.1:1/db",
    f"mongodb://127.0.0.1:1/db?serverSelectionTimeoutMS=50&authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{CANARY}",
    f"mongodb://AKIA:{CANARY}@127.0.0.1:1/db?authMechanism=MONGODB-AWS&nonsense=1",
    f"mongodb://127.0.0.1:1/db?tls=true&tlsCertificateKeyFilePassword={CANARY}&x=y",
    f"motor+mongodb://user:{CANARY}@127.0.0.1:1/db?serverSelectionTimeoutMS=50",
    f"mongo://user:{CANARY}@127.0.0.1/db",
    f"user:{CANARY}@127.0.0.1/db",
    f"lambda://user:{CANARY}@f/db",
    f"fake://user:{CANARY}@x/db",
    f"lambda://f/db?endpoint=http://user:{CANARY}@127.0.0.1:1&openTimeoutMS=200",
    f"lambda://f/db?endpoint=http://user:{CANARY}@127.0.0.1:port",
    f"lambda://f/db?endpoint=ftp://user:{CANARY}@127.0.0.1",
]


def chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        if isinstance(error, TransportError):
            yield f"{error} {error!r}"
        error = error.__cause__


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("uri", URIS)
async def test_a_url_that_cannot_be_opened_is_told_without_its_credentials(uri: str) -> None:
    said: list[str] = []
    try:
        transport = open_transport(uri)
        said += [repr(transport), str(transport), repr(transport.url), str(transport.url)]
        said += [repr(transport.statistics())]
        async with asyncio.timeout(10), transport:
            said += [repr(transport)]
    except (TransportError, PyMongoError, ValueError, TimeoutError) as error:
        said += chain(error)
    assert said
    assert CANARY not in "\n".join(said)


@pytest.mark.parametrize("uri", URIS)
def test_the_function_s_configuration_is_told_without_its_credentials(uri: str) -> None:
    said = redact(uri)
    try:
        made = FunctionSettings.from_environment({"ODM_PROXY_MONGODB_URI": uri})
        policy = Policy.from_text("", mongodb_uri=uri, staging=made.staging)
        said += f"{made!r} {made} {policy!r} {policy.summary}"
    except ValueError as error:
        said += f"{error!r}"
    assert CANARY not in said


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "a:" * 500_000, "a:b@" * 250_000, "mongodb://" * 100_000, "=@" * 500_000],
)
def test_a_long_text_is_searched_once(text: str) -> None:
    """It may be anybody's. A search that began anew at every character would take days."""
    assert len(redact(text)) <= len(text) + 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at mongodb://u:p@h/x?a=b failed", "at mongodb://***@h/x?a=b failed"),
        ("'mongodb://u:p@h'", "'mongodb://***@h'"),
        ("u:p@h:1", "***@h:1"),
        ("mongodb://u:p/@?@h", "mongodb://***@h"),
        ("mail@example.com", "mail@example.com"),
        ("a://u:p@h b://u:p@h", "a://***@h b://***@h"),
    ],
)
def test_credentials_are_found_wherever_they_stand(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_credentials_and_their_keepers_show_none() -> None:
    credential = Credential(username="user", password=CANARY)
    verifier = Verifier(credential, iterations=1)
    backend = Broken(ValueError(CONTENT))
    endpoint = Endpoint(backend, listen="127.0.0.1:0", credential=credential)
    said = f"{credential!r} {verifier!r} {endpoint!r} {endpoint.statistics()!r}"
    assert CANARY not in said


def test_requests_and_items_that_are_logged_by_mistake_are_named_by_their_type() -> None:
    """A refusal names rules and commands, not what the command holds."""
    message = bytes(5) + bson.encode({"eval": CONTENT, "args": [CONTENT], "$db": "test"})
    policy = Policy.from_text('{"databases": ["test"]}')
    with pytest.raises(Refused) as caught:
        policy.check(message)
    assert CONTENT not in f"{caught.value!r} {caught.value} {caught.value.message}"
    nested = {"find": "c", "filter": {"$where": CONTENT}, "$db": "test"}
    with pytest.raises(Refused) as caught:
        policy.check(bytes(5) + bson.encode(nested))
    assert CONTENT not in f"{caught.value!r} {caught.value.message}"


def test_an_origin_is_a_type_and_places() -> None:
    def inner() -> None:
        raise KeyError(CONTENT)

    try:
        inner()
    except KeyError as error:
        said = origin(error)
    assert said.startswith("KeyError at test_secrets.py:")
    assert CONTENT not in said
    assert origin(ValueError(CONTENT)) == "ValueError"


class Broken:
    """A backend whose every command fails with an error that quotes a document."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def describe(self) -> Deployment:
        hello = {"ok": 1.0, "isWritablePrimary": True, "maxWireVersion": 17, "minWireVersion": 0}
        return Deployment(members=(Member(address="db:1", hello=hello),))

    async def run(self, request: Request) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CONTENT),
        KeyError(CONTENT),
        bson.errors.InvalidBSON(CONTENT),
        CarriageError("it broke", code=6, code_name="HostUnreachable"),
        ConnectionLost("it broke", code=6, code_name="HostUnreachable"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_fails_in_the_endpoint_is_logged_without_contents(error: Exception) -> None:
    from pymongo import AsyncMongoClient

    async with (
        Endpoint(Broken(error)) as endpoint,
        AsyncMongoClient[dict[str, Any]](endpoint.uri, retryWrites=False) as client,
    ):
        with pytest.raises(PyMongoError) as caught:
            await client.test.c.insert_one({"_id": CONTENT})
        assert CONTENT not in str(caught.value)
        said = [repr(endpoint), repr(endpoint.statistics())]
        said += [repr(connection) for connection in endpoint.connections]
    assert CONTENT not in "\n".join(said)


FUNCTION = {
    "release": "0.1.0",
    "environment": "e1",
    "cold_start": False,
    "init_ms": 1.0,
    "duration_ms": 1.0,
    "timeout_ms": 3000,
}


@asynccontextmanager
async def service(*answers: bytes) -> AsyncIterator[str]:
    """A Lambda service that answers with *answers*, the last of them for ever."""
    waiting = list(answers)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return web.Response(body=body)

    app = web.Application(client_max_size=2**25)
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def replies(*found: dict[str, Any]) -> bytes:
    return json.dumps({"odm": 1, "function": FUNCTION, "replies": list(found)}).encode()


async def test_a_lambda_transport_in_trouble_tells_neither_keys_nor_contents(
    monkeypatch: pytest.MonkeyPatch, overheard: pytest.LogCaptureFixture
) -> None:
    from base64 import b64encode

    monkeypatch.setattr(LambdaOptions, "is_local", False)  # signed as for AWS itself
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{CANARY}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    hello = bson.encode((await Broken(ValueError()).describe()).members[0].hello)
    members = {"members": [{"address": "db:1", "hello": b64encode(hello).decode()}]}
    broken = {"reply": b64encode(bson.encode(DOCUMENT)[:-3]).decode()}
    packed = {"reply": b64encode(CONTENT.encode()).decode(), "encoding": "zlib"}
    async with service(
        replies(members), replies(broken), replies(packed), CONTENT.encode(), b'{"odm": 1}'
    ) as where:
        url = parse_url(f"lambda://f/db?endpoint={where}&region=eu-central-1")
        said = [repr(LambdaOptions.from_url(url))]
        async with LambdaTransport(url) as transport:
            for _ in range(4):
                with pytest.raises(PyMongoError) as caught:
                    await transport.client.test.c.update_many(
                        {"_id": CONTENT}, {"$set": {"a": CONTENT}}
                    )
                said += [str(caught.value)]
            said += [repr(transport), repr(transport.statistics()), repr(transport.function)]
            said += [str(transport.url)]
    assert CANARY not in "\n".join(said)
    assert CONTENT not in "\n".join(said)
    assert overheard.records, "something was said"
