"""One invoke is one request, whatever AWS's configuration says; none on a stale connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.transports.lambda_invoke import faulty_relay as faults
from tests.transports.lambda_invoke.faulty_relay import FaultyRelay
from transports.lambda_invoke.invoke_errors import InvokeError
from transports.lambda_invoke.invoker import Invoker
from transports.lambda_invoke.options import LambdaOptions

OK = faults.answered(b'"ok"')


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FaultyRelay]:
    async with FaultyRelay("http://127.0.0.1:1") as opened:
        yield opened


def options(service: FaultyRelay) -> LambdaOptions:
    return LambdaOptions(function="p", endpoint=service.url, throttle_timeout_s=0.0001)


async def invoke(invoker: Invoker) -> bytes:
    async with asyncio.timeout(10):
        return await invoker.invoke(b"{}", timeout_s=5)


async def failed(invoker: Invoker) -> InvokeError:
    with pytest.raises(InvokeError) as caught:
        await invoke(invoker)
    return caught.value


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
@pytest.mark.parametrize("source", ["environment", "file"])
async def test_botocore_repeats_nothing_whatever_it_is_configured_to(
    service: FaultyRelay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, source: str
) -> None:
    if source == "environment":
        monkeypatch.setenv("AWS_RETRY_MODE", mode)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    else:
        file = tmp_path / "config"
        file.write_text(f"[default]\nretry_mode = {mode}\nmax_attempts = 7\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    async with Invoker(options(service)) as invoker:
        for fault, kind in (
            (faults.refused(500, "ServiceException"), "network"),
            (faults.answered(b"", status=502), "network"),
            (faults.answered(b"", status=503), "network"),
            (faults.throttled, "throttled"),
            (faults.reset_before, "network"),
            (faults.refused(403, "RequestExpired"), "refused"),
            (faults.refused(400, "ThrottlingException"), "refused"),
        ):
            service.invokes.clear()
            service.on("", fault)
            assert (await failed(invoker)).kind == kind
            assert service.invokes.total() == 1


async def test_a_time_out_is_not_repeated(service: FaultyRelay) -> None:
    async with Invoker(options(service)) as invoker:
        service.on("", OK)
        await invoke(invoker)
        service.invokes.clear()
        service.on("", faults.silent)
        with pytest.raises(InvokeError) as caught:
            await invoker.invoke(b"{}", timeout_s=0.05)
        assert (caught.value.kind, caught.value.ran) == ("timeout", "unknown")
        assert service.invokes.total() == 1


async def test_a_request_on_a_connection_that_is_closed_as_it_arrives_is_not_repeated(
    service: FaultyRelay,
) -> None:
    """HTTP lets a client repeat idempotent methods on a kept connection; a POST is none."""

    async def closed(exchange: faults.Exchange) -> None:
        exchange.close()

    async with Invoker(options(service)) as invoker:
        service.on("", OK)
        await invoke(invoker)
        for large in (False, True):
            service.invokes.clear()
            service.on("", closed)
            with pytest.raises(InvokeError) as caught:
                await invoker.invoke(b" " * (2_000_000 * large) + b"{}", timeout_s=5)
            assert (caught.value.kind, caught.value.ran) == ("network", "unknown")
            assert service.invokes.total() == 1


async def answered_and_closed(exchange: faults.Exchange) -> None:
    await OK(exchange)
    exchange.close()


async def test_a_connection_that_the_service_closed_is_not_used_again(
    service: FaultyRelay,
) -> None:
    async with Invoker(options(service)) as invoker:
        for expected in (1, 2, 3):
            service.on("", answered_and_closed)
            assert await invoke(invoker) == b'"ok"'
            assert service.connections == expected
            await service.idle()
            for _ in range(3):  # the event loop looks at its sockets
                await asyncio.sleep(0)


@pytest.mark.parametrize("size", [2, 900_000, 2_000_000])
async def test_a_connection_that_is_closed_while_it_is_taken_does_not_carry_the_request(
    service: FaultyRelay, size: int
) -> None:
    """The end has arrived, and the event loop has not looked yet."""
    async with Invoker(options(service)) as invoker:
        service.on("", answered_and_closed)
        service.on("", OK)
        await invoke(invoker)
        await service.idle()
        assert await invoker.invoke(b" " * size + b"{}", timeout_s=5) == b'"ok"'
        assert service.connections == 2
        assert service.invokes.total() == 2


async def test_without_credentials_nothing_is_sent(
    service: FaultyRelay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(LambdaOptions, "is_local", False)
    remote = LambdaOptions(function="p", region="eu-central-1", endpoint=service.url)
    async with Invoker(remote) as invoker:
        error = await failed(invoker)
    assert (error.kind, error.ran) == ("refused", "no")
    assert "credentials" in error.message
    assert service.invokes.total() == 0


async def test_a_region_that_is_none_is_not_reached() -> None:
    nowhere = LambdaOptions(function="p", region="eu-nowhere-7", endpoint=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.delenv(name, raising=False)
        async with Invoker(nowhere) as invoker:
            error = await failed(invoker)
    assert (error.kind, error.ran) == ("network", "no")
    assert "lambda.eu-nowhere-7.amazonaws.com" in error.message


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_is_not_followed(service: FaultyRelay, status: int) -> None:
    """The function would run again."""
    service.on("", faults.answered(b"", status=status, Location=f"{service.url}/elsewhere"))
    async with Invoker(options(service)) as invoker:
        error = await failed(invoker)
    assert (error.kind, error.ran) == ("refused", "no")
    assert str(status) in error.message
    assert service.invokes.total() == 1


async def test_a_key_of_two_lines_is_refused_before_anything_is_sent(
    service: FaultyRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its second line would be a header."""
    monkeypatch.setattr(LambdaOptions, "is_local", False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID\r\nX-Injected: yes")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    remote = LambdaOptions(function="p", region="eu-central-1", endpoint=service.url)
    async with Invoker(remote) as invoker:
        error = await failed(invoker)
    assert (error.kind, error.ran) == ("refused", "no")
    assert "Authorization" in error.message
    assert "AKID" not in error.message
    assert service.invokes.total() == 0
