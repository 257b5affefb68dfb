"""Contenders without a driver: the bare invoke and the bare POST as floors, and the proxy of 2020.

The floors send envelopes that were encoded beforehand, the command of one query in each, and look
at no reply but to see that there is one. Nothing that carries one command an invoke is faster.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bson
from bson import Binary, ObjectId

from odm.cli.bench import documents
from odm.cli.bench.contenders import Contender
from odm.cli.bench.functions import protocol_2020
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DescribeItem,
    MembersResult,
    decode_response,
    encode_request,
)
from transports.lambda_invoke.options import LambdaOptions
from transports.url import parse_url

if TYPE_CHECKING:
    from aiobotocore.client import AioBaseClient
    from aiobotocore.session import AioSession

Post = Callable[[bytes], Awaitable[bytes]]
"""Sends one invoke's payload and returns the reply's."""

_READS = 100
_MAX_CONNECTIONS = 1000
_WHOLE = 1_000_000  # a batch of all there is
_FLAGS_AND_KIND = bytes(5)  # an OP_MSG's, after its header: no flags, a section of kind 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorPlace:
    """Where a floor is measured.

    Attributes:
        url: the function's, ``lambda://…``.
        documents: how many articles there are.
        ceiling: invokes at a time; more would be throttled.
        ca_bundle: the file of certificates to trust; None for those of the SDK.
    """

    url: str
    documents: int
    ceiling: int
    ca_bundle: str | None = None

    @property
    def database(self) -> str:
        """The URL's database."""
        return parse_url(self.url).database

    @property
    def options(self) -> LambdaOptions:
        """The URL's options."""
        return LambdaOptions.from_url(parse_url(self.url))


class FloorContender(Contender):
    """Invokes of envelopes made beforehand, one per query.

    Args:
        name: in tables.
        title: what it is.
        database: where the documents are.
        post: sends an invoke.
        place: where the documents are, and how many invokes there may be at a time.
        post: sends an invoke.
    """

    def __init__(self, name: str, title: str, place: FloorPlace, post: Post) -> None:
        super().__init__(name, title)
        self._database = place.database
        self._count = place.documents
        self._post = post
        self._slots = asyncio.Semaphore(place.ceiling)
        self._invokes = 0
        self._server = ""
        self._payloads: dict[tuple[str, int], bytes] = {}

    def invokes(self) -> int:
        """Return how many invokes it made until now."""
        return self._invokes

    async def prepare(self) -> None:
        """Ask which server there is, and encode what will be sent."""
        response = decode_response(await self._invoke(encode_request([DescribeItem()])), expected=1)
        [members] = response.results
        assert isinstance(members, MembersResult), members
        self._server = next(address for address, hello in members.members if _is_writable(hello))
        for number in range(_READS):
            self._payloads["read", number] = self._encoded(read_command(number))
        for limit in (0, 10, documents.LIST_LENGTH):
            self._payloads["list", limit] = self._encoded(_list(limit))
        self._payloads["aggregate", 0] = self._encoded(
            {"aggregate": documents.ARTICLES, "pipeline": documents.PIPELINE, "cursor": {}}
        )

    async def read(self, number: int) -> str:
        """Invoke with a ``find`` of one; the reply says whether it is that one."""
        payload = await self._invoke(self._payloads["read", number % _READS])
        return documents.title(number) if _is_answer(payload) else ""

    async def write(self, number: int) -> None:
        """Invoke with an ``insert``; encoded now, for an id can be used once."""
        note = {"_id": ObjectId(), **documents.note(number)}
        await self._invoke(self._encoded({"insert": documents.NOTES, "documents": [note]}))

    async def list(self, limit: int) -> int:
        """Invoke with a ``find`` whose first batch is all there is."""
        payload = await self._invoke(self._payloads["list", limit])
        return (limit or self._count) if _is_answer(payload) else 0

    async def aggregate(self) -> int:
        """Invoke with an ``aggregate``."""
        payload = await self._invoke(self._payloads["aggregate", 0])
        return len(documents.STATUSES) if _is_answer(payload) else 0

    async def _invoke(self, payload: bytes) -> bytes:
        async with self._slots:
            self._invokes += 1
            return await self._post(payload)

    def _encoded(self, command: dict[str, Any]) -> bytes:
        return encoded(self._server, self._database, command)


def encoded(server: str, database: str, command: dict[str, Any]) -> bytes:
    """Return an invoke's payload that carries one command, in a session of its own."""
    session = {"id": Binary(uuid4().bytes, 4)}
    message = bson.encode({**command, "lsid": session, "$db": database})
    return encode_request([CommandItem(server, Body(_FLAGS_AND_KIND + message))])


def read_command(number: int) -> dict[str, Any]:
    """Return the command that reads the *number*-th article."""
    query = {"_id": ObjectId(documents.article_id(number))}
    return {"find": documents.ARTICLES, "filter": query, "limit": 1, "singleBatch": True}


def _list(limit: int) -> dict[str, Any]:
    batch = {"limit": limit} if limit else {"batchSize": _WHOLE}
    return {"find": documents.ARTICLES, "filter": {}, **batch}


def _is_answer(payload: bytes) -> bool:
    return b'"reply"' in payload[:2000]


def _is_writable(hello: bytes) -> bool:
    described = bson.decode(hello)
    return bool(described.get("isWritablePrimary") or described.get("ismaster"))


class Proxy2020Contender(Contender):
    """The protocol of 2020: Extended JSON, one invoke per query, a new client per invoke.

    What each application's process did not do again, reading the SDK's service model, is not done
    again here either: the clients are of one session. By TLS each has a handshake of its own, as
    each had, and trusts one certificate; reading all of the world's is a cost of Python's.

    Args:
        name: in tables.
        title: what it is.
        function: the function's name.
        endpoint: the local Lambda's.
        ca_bundle: file of the certificate to trust, None without TLS.
        ceiling: invokes at a time; more would be throttled, and wait longer for their repetition.
    """

    def __init__(
        self,
        name: str,
        title: str,
        function: str,
        *,
        endpoint: str,
        ca_bundle: str | None,
        ceiling: int,
    ) -> None:
        super().__init__(name, title)
        self._function = function
        self._endpoint = endpoint
        self._verify = ca_bundle or False
        self._session = _session()
        self._slots = asyncio.Semaphore(ceiling)
        self._invokes = 0

    def invokes(self) -> int:
        """Return how many invokes it made until now."""
        return self._invokes

    async def read(self, number: int) -> str:
        """Query ``findOne``."""
        query = {"_id": ObjectId(documents.article_id(number))}
        found = await self.query(documents.ARTICLES, "findOne", query)
        return str(found["title"])

    async def write(self, number: int) -> None:
        """Query ``insertOne``."""
        await self.query(documents.NOTES, "insertOne", documents.note(number))

    async def list(self, limit: int) -> int:
        """Query ``find``."""
        return len(await self.query(documents.ARTICLES, "find", {}, limit))

    async def aggregate(self) -> int:
        """Query ``aggregate``."""
        return len(await self.query(documents.ARTICLES, "aggregate", documents.PIPELINE))

    async def query(self, collection: str, operation: str, *arguments: Any) -> Any:
        """Run one query: one client, one invoke."""
        async with self._slots:
            self._invokes += 1
            request = protocol_2020.encode_request(collection, operation, *arguments)
            async with self._session.create_client(
                "lambda",
                region_name="us-east-1",
                endpoint_url=self._endpoint,
                verify=self._verify,
                aws_access_key_id="local",
                aws_secret_access_key="local",  # noqa: S106 - the local Lambda looks at none
            ) as client:
                response = await client.invoke(
                    FunctionName=self._function, Payload=json.dumps(request).encode()
                )
                payload = await response["Payload"].read()
        return protocol_2020.decode_response(json.loads(payload))


def _session() -> AioSession:
    from aiobotocore.session import AioSession
    from botocore.loaders import create_loader

    session = AioSession()
    session.register_component("data_loader", create_loader())
    return session


@asynccontextmanager
async def bare_invoke(name: str, title: str, place: FloorPlace) -> AsyncIterator[Contender]:
    """Open the function under *url* by the SDK: one aiobotocore client, its retries off."""
    from aiobotocore.config import AioConfig

    options = place.options
    target = {"FunctionName": options.function}
    if options.qualifier:
        target["Qualifier"] = options.qualifier
    session = _session()
    if options.profile:
        session.set_config_variable("profile", options.profile)
    credentials = (
        {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if options.is_local else {}
    )
    async with session.create_client(
        "lambda",
        region_name=options.region or ("us-east-1" if options.is_local else None),
        endpoint_url=options.endpoint,
        verify=place.ca_bundle,
        config=AioConfig(
            max_pool_connections=_MAX_CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
        ),
        **credentials,
    ) as client:
        floor = FloorContender(name, title, place, lambda p: _sdk_post(client, target, p))
        await floor.prepare()
        yield floor


async def _sdk_post(client: AioBaseClient, target: dict[str, str], payload: bytes) -> bytes:
    response = await client.invoke(**target, Payload=payload)
    body: bytes = await response["Payload"].read()
    return body


@asynccontextmanager
async def bare_post(name: str, title: str, place: FloorPlace) -> AsyncIterator[Contender]:
    """Open the function under *url* by HTTP alone, unsigned: a local Lambda's."""
    import aiohttp

    options = place.options
    where = f"{options.endpoint}/2015-03-31/functions/{options.function}/invocations"
    trusted = ssl.create_default_context(cafile=place.ca_bundle) if place.ca_bundle else True
    connector = aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, ssl=trusted)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(payload: bytes) -> bytes:
            async with session.post(where, data=payload) as response:
                return await response.read()

        floor = FloorContender(name, title, place, post)
        await floor.prepare()
        yield floor
