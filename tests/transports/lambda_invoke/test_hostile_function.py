"""A hostile or broken function, seen by its caller: one clean error, and memory that is bounded."""

from __future__ import annotations

import asyncio
import json
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from aiohttp import web

from transports.endpoint.backend import Request
from transports.errors import CarriageError
from transports.lambda_invoke.backend import LambdaBackend
from transports.lambda_invoke.bodies import MAX_BODY_BYTES
from transports.lambda_invoke.envelope import MAX_PAYLOAD_BYTES
from transports.lambda_invoke.invoker import Invoker
from transports.lambda_invoke.options import LambdaOptions
from transports.url import parse_url

FUNCTION = {
    "release": "0.1.0",
    "environment": "e1",
    "cold_start": False,
    "init_ms": 1.0,
    "duration_ms": 1.0,
    "timeout_ms": 3000,
}
FIND = Request(
    server="h:1",
    message=bytes(5) + bson.encode({"find": "c", "$db": "t"}),
    name="find",
    database="t",
)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def function_that(answer: Answer) -> AsyncIterator[LambdaBackend]:
    """A backend whose function is the test's own."""
    app = web.Application(client_max_size=2**25)
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    options = LambdaOptions.from_url(parse_url(f"lambda://f/t?endpoint=http://127.0.0.1:{port}"))
    try:
        async with Invoker(options) as invoker, asyncio.timeout(20):
            backend = LambdaBackend(invoker, options)
            yield backend
            await backend.aclose()
    finally:
        await runner.cleanup()


def saying(*replies: Any, **fields: Any) -> Answer:
    document = {"odm": 1, "function": FUNCTION, "replies": list(replies), **fields}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=json.dumps(document).encode())

    return answer


def packed(data: bytes) -> dict[str, Any]:
    return {"reply": b64encode(zlib.compress(data, 9)).decode(), "encoding": "zlib"}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"failure": {}},
        {"members": []},
        {"reply": 5},
        {"reply": "***"},
        {"reply": "AAAA", "encoding": "br"},
        {"reply": "AAAA", "encoding": "zlib"},
        {"staged": "i", "parts": 10**9},
        {"staged": "../../x", "parts": 1},
        {"failure": {"code": 10**30, "code_name": "", "message": "", "ran": "no"}},
        packed(bytes(MAX_BODY_BYTES + 1)),
        {**packed(b"abc"), "reply": b64encode(zlib.compress(b"abc") + b"x").decode()},
    ],
    ids=lambda reply: str(reply)[:40],
)
async def test_a_reply_that_is_none_is_a_protocol_error(reply: dict[str, Any]) -> None:
    async with function_that(saying(reply)) as backend:
        with pytest.raises(CarriageError) as caught:
            await backend.run(FIND)
    assert caught.value.code == 17
    assert len(caught.value.message) < 1000
    assert "find" in caught.value.message


@pytest.mark.parametrize("count", [0, 2, 500])
async def test_another_number_of_replies_is_a_protocol_error(count: int) -> None:
    async with function_that(saying(*[{"reply": ""}] * count)) as backend:
        with pytest.raises(CarriageError, match="replies to 1 items") as caught:
            await backend.run(FIND)
    assert caught.value.code == 17


@pytest.mark.parametrize("timeout_ms", [float("nan"), float("inf"), -1, 10**400, "1", None])
async def test_a_time_out_that_is_none_is_a_protocol_error(timeout_ms: Any) -> None:
    function = {**FUNCTION, "timeout_ms": timeout_ms}
    async with function_that(saying({"reply": ""}, function=function)) as backend:
        with pytest.raises(CarriageError) as caught:
            await backend.run(FIND)
        assert caught.value.code == 17


async def test_parts_without_end_are_not_fetched() -> None:
    fetched = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal fetched
        (item,) = json.loads(await request.read())["items"]
        reply: dict[str, Any] = {"staged": "i", "parts": 11}
        if item["kind"] == "fetch":
            fetched += 1
            reply = {"reply": b64encode(bytes(6_000_000 * 3 // 4)).decode()}
        return web.Response(
            body=json.dumps({"odm": 1, "function": FUNCTION, "replies": [reply]}).encode()
        )

    async with function_that(answer) as backend:
        with pytest.raises(CarriageError, match="longer than"):
            await backend.run(FIND)
    assert fetched == 11


@pytest.mark.parametrize("failed", [True, False])
async def test_a_response_without_end_is_not_read(failed: bool) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        await request.read()
        response = web.StreamResponse()
        if failed:
            response.headers["X-Amz-Function-Error"] = "Unhandled"
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 100_000)
                sent += 100_000
        except ConnectionError:
            return response

    async with function_that(answer) as backend:
        with pytest.raises(CarriageError, match="longer than") as caught:
            await backend.run(FIND)
        assert caught.value.code == 10334
    assert sent < 8 * MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    "hello", [b"", b"\xff" * 30, bson.encode({"ok": 1})[:-1], bson.encode({"ok": 1}) + b"x"]
)
async def test_a_hello_that_is_no_document_is_a_protocol_error(hello: bytes) -> None:
    member = {"address": "h:1", "hello": b64encode(hello).decode()}
    async with function_that(saying({"members": [member]})) as backend:
        with pytest.raises(CarriageError, match="not a BSON document") as caught:
            await backend.describe()
        assert caught.value.code == 17


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"errorType": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"errorMessage": "' + b"x" * 100_000 + b'"}',
        b'{"errorType": "\\ud800", "errorMessage": "\\udfff"}',
    ],
    ids=range(6),
)
async def test_a_function_error_of_any_shape_is_one(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"X-Amz-Function-Error": "Unhandled"})

    async with function_that(answer) as backend:
        with pytest.raises(CarriageError, match="the function failed") as caught:
            await backend.run(FIND)
    assert caught.value.code == 6
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 502])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 5000, b'{"Message": {"a": [1]}}'])
async def test_what_is_no_lambda_service_is_a_clean_error(status: int, body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with function_that(answer) as backend:
        with pytest.raises(CarriageError) as caught:
            await backend.run(FIND)
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "message",
    [
        b"\xff" * 40,
        bytes(5) + bson.encode({"getMore": bson.Int64(1), "$db": "t"})[:-3],
        bytes(4) + b"\1\x0e\0\0\0documents\0" + b"\0" + bson.encode({"getMore": 1, "$db": "t"}),
        bytes(5) + bson.encode({"getMore": "x" * 1000, "$db": "t"}),
    ],
    ids=range(4),
)
async def test_a_message_that_cannot_be_read_here_is_sent_as_it_is(message: bytes) -> None:
    """What is wrong with it, the function or the server says."""
    received: list[str] = []
    cursor = {"cursor": {"id": bson.Int64(1), "firstBatch": [{"a": 1}], "ns": "t.c"}, "ok": 1.0}

    async def answer(request: web.Request) -> web.Response:
        (item,) = json.loads(await request.read())["items"]
        received.append(item["message"])
        reply = {"reply": b64encode(bson.encode(cursor)).decode()}
        return web.Response(
            body=json.dumps({"odm": 1, "function": FUNCTION, "replies": [reply]}).encode()
        )

    async with function_that(answer) as backend:
        await backend.run(FIND)  # from now on cursors are known
        odd = Request(server="h:1", message=message, name="getMore", database="t")
        await backend.run(odd)
    assert received[1] == b64encode(message).decode()


async def test_giving_up_what_cannot_be_read_is_still_giving_up() -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        arrived.set()
        await released.wait()
        return web.Response()

    document = bson.encode({"find": "c", "lsid": {"a": 1}, "$db": "t"})
    broken = Request(
        server="h:1",
        message=bytes(5)
        + document.replace(b"\x10a\0", b"\x99a\0").replace(b"\x03lsid", b"\x99lsid"),
        name="find",
        database="t",
    )
    async with function_that(answer) as backend:
        task = asyncio.create_task(backend.run(broken))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
