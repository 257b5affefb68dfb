"""The local Lambda over TLS: who trusts its authority is served, and nobody else."""

from __future__ import annotations

import asyncio
import ssl
import stat
import subprocess
import sys
from typing import Any

import aiohttp
import pytest

from transports.local_lambda import LocalLambda


async def test_sdk_that_trusts_the_bundle_is_served(serve: Any, connect: Any) -> None:
    service = await serve(tls=True)
    assert service.endpoint_url.startswith("https://127.0.0.1:")
    client = await connect(service)
    answer = await client.invoke(FunctionName="f", Payload=b'{"do": "describe"}')
    assert answer["StatusCode"] == 200
    assert b'"version": "$LATEST"' in await answer["Payload"].read()


async def test_largest_payload_travels_both_ways(serve: Any, post: Any) -> None:
    service = await serve(tls=True, timeout_s=30)
    event = {"do": "length", "text": "x" * 6_000_000}
    assert (await post(service, event)).document == 6_000_000
    assert len((await post(service, {"do": "reply", "bytes": 6_000_000})).body) == 6_000_000


async def test_who_does_not_trust_it_is_not_served_and_disturbs_nobody(
    serve: Any, post: Any
) -> None:
    service = await serve(tls=True)
    url = f"{service.endpoint_url}/2015-03-31/functions/f/invocations"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.post(url, data=b"{}")
        with pytest.raises(aiohttp.ClientError):
            await session.post(url.replace("https:", "http:"), data=b"{}")
    assert (await post(service)).status == 200
    assert service.statistics("f").invocations == 1


async def test_bundle_holds_one_certificate_in_a_private_file_that_goes_with_the_service() -> None:
    async with LocalLambda(tls=True) as service:
        bundle = service.ca_bundle
        assert bundle is not None
        assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
        assert stat.S_IMODE(bundle.parent.stat().st_mode) == 0o700
        text = bundle.read_text()
        assert text.count("BEGIN CERTIFICATE") == 1
        # The key, which could vouch for any host, is nowhere.
        assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]
        assert "PRIVATE KEY" not in text
    assert not bundle.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_certificate_is_for_what_is_listened_on(host: str) -> None:
    async with LocalLambda(tls=True, host=host) as service:
        context = ssl.create_default_context(cafile=service.ca_bundle)
        port = int(service.endpoint_url.rpartition(":")[2])
        for name in (host, "localhost"):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
            writer.close()
            await writer.wait_closed()


async def test_connection_that_never_shakes_hands_does_not_keep_it_from_closing(
    function: Any, post: Any
) -> None:
    async with LocalLambda([function()], tls=True) as service:
        port = int(service.endpoint_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await post(service)).status == 200
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_without_tls_there_is_no_bundle() -> None:
    service = LocalLambda(tls=True)
    assert service.ca_bundle is None  # not yet
    async with LocalLambda() as service:
        assert service.ca_bundle is None
        assert service.endpoint_url.startswith("http://")


def test_missing_trustme_is_one_clear_error_of_who_wants_tls() -> None:
    program = (
        "import asyncio, sys; sys.modules['trustme'] = None\n"
        "from transports.errors import MissingExtra\n"
        "from transports.local_lambda import LocalLambda\n"
        "async def main(tls):\n    async with LocalLambda(tls=tls) as service:\n"
        "        print(service.endpoint_url)\n"
        "asyncio.run(main(False))\n"
        "try:\n    asyncio.run(main(True))\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    plain, missing = result.stdout.splitlines()
    assert plain.startswith("http://")
    assert "odm-transports[local]" in missing
