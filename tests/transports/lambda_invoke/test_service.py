"""The SDK says where the function is, who may invoke it, and which way is to be taken; once."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore import exceptions as aws

from transports.errors import InvalidURL
from transports.lambda_invoke import service
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.service import resolve

REMOTE = LambdaOptions(function="p", region="eu-central-1")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing of the machine's own, and a service that is not a local one."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(LambdaOptions, "is_local", False)
    return monkeypatch


def keys(environment: pytest.MonkeyPatch, **more: str) -> None:
    values = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", **more}
    for name, value in values.items():
        environment.setenv(name, value)


def credentials_file(
    environment: pytest.MonkeyPatch, directory: Path, profile: str, key: str
) -> None:
    file = directory / "credentials"
    file.write_text(f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))


async def test_a_request_is_signed_with_what_the_environment_says(
    environment: pytest.MonkeyPatch,
) -> None:
    keys(environment, AWS_SESSION_TOKEN="session", HTTPS_PROXY="http://proxy.example:3128")
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:p"
    resolved = await resolve(LambdaOptions(function=arn, qualifier="live", region="eu-central-1"))
    headers = await resolved.headers(b"{}")

    assert resolved.origin.url == (
        "https://lambda.eu-central-1.amazonaws.com/2015-03-31/functions/"
        "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Ap/invocations?Qualifier=live"
    )
    assert resolved.origin.proxy == "http://proxy.example:3128"
    assert resolved.origin.trust is not None
    assert headers["X-Amz-Security-Token"] == "session"
    assert "Credential=AKIDEXAMPLE/" in headers["Authorization"]
    assert "/eu-central-1/lambda/aws4_request" in headers["Authorization"]
    assert "AKIDEXAMPLE" not in repr(resolved)


async def test_a_local_service_needs_no_configuration(environment: pytest.MonkeyPatch) -> None:
    environment.undo()
    resolved = await resolve(LambdaOptions(function="p", endpoint="http://127.0.0.1:9001"))
    assert resolved.origin.url == "http://127.0.0.1:9001/2015-03-31/functions/p/invocations"
    assert resolved.origin.trust is None
    assert "Credential=local/" in (await resolved.headers(b"{}"))["Authorization"]


def test_credentials_of_the_environment_need_no_asynchronous_sdk(
    environment: pytest.MonkeyPatch,
) -> None:
    """It takes a third of a caller's imports, and a Lambda function's credentials are there."""
    keys(environment, AWS_DEFAULT_REGION="eu-central-1")
    script = """
import asyncio, sys
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.connections import Connections
async def main():
    async with Connections(LambdaOptions(function="p")):
        assert not {"aiobotocore", "aiohttp", "boto3"} & set(sys.modules)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_a_profile_that_is_named_comes_before_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys(environment)
    credentials_file(environment, tmp_path, "other", "AKIDOTHER")
    options = LambdaOptions(function="p", region="eu-central-1", profile="other")
    headers = await (await resolve(options)).headers(b"{}")
    assert "Credential=AKIDOTHER/" in headers["Authorization"]


async def test_credentials_of_a_file_are_found(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials_file(environment, tmp_path, "default", "AKIDFILE")
    headers = await (await resolve(REMOTE)).headers(b"{}")
    assert "Credential=AKIDFILE/" in headers["Authorization"]


async def test_credentials_of_the_environment_are_read_again_when_they_expire(
    environment: pytest.MonkeyPatch,
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)  # within the time in which the SDK refreshes
    keys(environment, AWS_CREDENTIAL_EXPIRATION=soon.isoformat())
    resolved = await resolve(REMOTE)
    later = datetime.now(UTC) + timedelta(hours=5)
    keys(
        environment,
        AWS_ACCESS_KEY_ID="AKIDNEW",
        AWS_CREDENTIAL_EXPIRATION=later.isoformat(),
    )
    assert "Credential=AKIDNEW/" in (await resolved.headers(b"{}"))["Authorization"]


async def test_credentials_of_another_service_are_still_found(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Finding the endpoint reads little of AWS's data; a role that is assumed needs more of it."""
    token = tmp_path / "token"
    token.write_text("a web identity's")
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/caller")
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # as far as this test goes
    environment.setenv("AWS_MAX_ATTEMPTS", "1")
    resolved = await resolve(REMOTE)
    with pytest.raises(aws.ProxyConnectionError):
        await resolved.headers(b"{}")


async def test_without_credentials_a_request_is_not_signed() -> None:
    resolved = await resolve(REMOTE)
    with pytest.raises(aws.NoCredentialsError):
        await resolved.headers(b"{}")


@pytest.mark.parametrize(
    "proxy", ["http://user:secret/1@proxy.example:3128", "socks5://secret.example:1", "http://"]
)
async def test_a_proxy_that_is_none_is_refused_and_not_shown(
    environment: pytest.MonkeyPatch, proxy: str
) -> None:
    keys(environment, HTTPS_PROXY=proxy)
    with pytest.raises(InvalidURL, match="HTTPS_PROXY is no URL") as caught:
        await resolve(REMOTE)
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert "secret" not in shown.replace(__file__, "")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
async def test_a_proxy_may_be_named_without_a_scheme(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    environment.setenv(name, "proxy.example:3128")
    assert (await resolve(REMOTE)).origin.proxy == "http://proxy.example:3128"


async def test_certificates_are_read_once() -> None:
    """Reading those of the world takes longer than an invoke."""
    service._trusting.cache_clear()
    for _ in range(2):
        await resolve(REMOTE)
    assert service._trusting.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_CONFIG_FILE": "broken"}, "broken"),
        ({"AWS_PROFILE": "nobody"}, r"\?profile= one of none: no profile is configured"),
        ({"AWS_DEFAULT_REGION": "a b"}, r"\?region=eu-central-1"),
        ({}, r"\?region=eu-central-1"),
    ],
)
async def test_a_configuration_that_the_sdk_does_not_take_is_told_in_one_error(
    environment: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    environment.chdir(tmp_path)
    Path("broken").write_text("[default\n")
    for name, value in variables.items():
        environment.setenv(name, value)
    region = "eu-central-1" if variables and "AWS_DEFAULT_REGION" not in variables else None
    with pytest.raises(InvalidURL, match=words) as caught:
        await resolve(LambdaOptions(function="p", region=region))
    assert str(caught.value).startswith("lambda://p: ")
