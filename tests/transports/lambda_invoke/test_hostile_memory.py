"""What may unpack to much, in a real function process with as little memory as AWS Lambda sells."""

from __future__ import annotations

import io
import json
import struct
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import bson

from transports.local_lambda import FunctionConfiguration, LocalLambda

ROOT = Path(__file__).parents[3]
INT32 = struct.Struct("<i")


def sequence(name: bytes, documents: bytes) -> bytes:
    return b"\1" + INT32.pack(4 + len(name) + 1 + len(documents)) + name + b"\0" + documents


def op_msg(document: dict[str, Any]) -> bytes:
    return bytes(5) + bson.encode({**document, "$db": "test"})


def many_fields() -> bytes:
    content = b"\x02find\0" + INT32.pack(2) + b"c\0" + b"\x0aa\0" * 15_000_000
    content += b"\x02$db\0" + INT32.pack(5) + b"test\0"
    return bytes(5) + INT32.pack(len(content) + 5) + content + b"\0"


def large_insert() -> bytes:
    """42 MB of which a tenth does not compress: the largest envelope and the largest body."""
    filler = bson.encode({"y": bytes(16_000_000)})
    mixed = bson.encode({"x": Random(1).randbytes(4_000_000), "y": bytes(6_000_000)})
    return op_msg({"insert": "hostile", "ordered": True}) + sequence(
        b"documents", mixed + filler * 2
    )


async def test_an_environment_of_128_mb_survives(mongod_uri: str) -> None:
    configuration = FunctionConfiguration(
        name="small",
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={
            "ODM_PROXY_MONGODB_URI": mongod_uri,
            "ODM_PROXY_POLICY": '{"databases": ["test"]}',
        },
        memory_size_mb=128,
        timeout_s=60,
        reserved_concurrency=1,
    )
    async with LocalLambda([configuration]) as service, aiohttp.ClientSession() as session:
        url = f"{service.endpoint_url}/2015-03-31/functions/small/invocations"

        async def invoke(*items: dict[str, Any]) -> dict[str, Any]:
            payload = json.dumps({"odm": 1, "items": items}).encode()
            async with session.post(url, data=io.BytesIO(payload)) as response:
                assert "X-Amz-Function-Error" not in response.headers, await response.text()
                answer: dict[str, Any] = await response.json(content_type=None)
                return answer

        described = await invoke({"kind": "describe"})
        server = described["replies"][0]["members"][0]["address"]

        def command(message: bytes) -> dict[str, Any]:
            packed = b64encode(zlib.compress(message, 1)).decode()
            where = {"kind": "command", "server": server, "ack": True}
            return {**where, "message": packed, "encoding": "zlib"}

        empty = b"\5\0\0\0\0"
        for message in (
            bytes(200_000_000),
            many_fields(),
            op_msg({"update": "hostile"}) + sequence(b"updates", empty * 9_000_000),
            large_insert(),
        ):
            await invoke(command(message))
        await invoke(command(op_msg({"drop": "hostile"})))
        answer = await invoke(command(op_msg({"ping": 1})))
        assert answer["function"]["environment"] == described["function"]["environment"]
        assert bson.decode(b64decode(answer["replies"][0]["reply"]))["ok"] == 1.0
        (environment,) = service.environments("small")
        assert environment.memory_used_mb <= 128
