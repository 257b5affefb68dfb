"""The little that is read of AWS's services leads to the endpoints that all of it leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import EndpointVariantError
from botocore.loaders import create_loader

from transports.lambda_invoke.service_data import LambdaData

FULL = create_loader()
SLIM = LambdaData()
REGIONS = [
    region
    for partition in FULL.load_data("endpoints")["partitions"]
    for region in sorted(partition["regions"])[:2]
]
PSEUDO_REGIONS = ["af-south-1", "fips-us-east-1", "us-gov-west-1-fips", "eu-nowhere-7"]


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    return file


async def resolved(loader: Any, **options: Any) -> Any:
    """What a client of the SDK's knows of where it is; or why there is none."""
    session = AioSession()
    session.register_component("data_loader", loader)
    try:
        async with session.create_client(
            "lambda", aws_access_key_id="x", aws_secret_access_key="x", **options
        ) as client:
            return client.meta.endpoint_url, client.meta.region_name, client.meta.partition
    except EndpointVariantError as error:
        return type(error)


@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("dual_stack", [False, True])
async def test_every_region_has_the_endpoint_that_the_sdk_gives_it(
    fips: bool, dual_stack: bool
) -> None:
    config = AioConfig(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack)
    compared = 0
    for region in [*REGIONS, *PSEUDO_REGIONS]:
        expected = await resolved(FULL, region_name=region, config=config)
        # Of isolated partitions the SDK's older table knows fewer than its newer rules do.
        if expected is not EndpointVariantError:
            compared += 1
            assert await resolved(SLIM, region_name=region, config=config) == expected
    assert compared >= 10


async def test_what_an_application_configures_counts(
    monkeypatch: pytest.MonkeyPatch, configuration: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "https://vpce.example")
    assert (await resolved(SLIM, region_name="eu-central-1"))[0] == "https://vpce.example"
    monkeypatch.delenv("AWS_ENDPOINT_URL_LAMBDA")
    configuration.write_text(
        "[default]\nregion = ap-south-1\nservices = here\n"
        "[services here]\nlambda =\n  endpoint_url = https://configured.example\n"
    )
    assert (await resolved(SLIM))[:2] == ("https://configured.example", "ap-south-1")


async def test_no_other_file_of_the_sdk_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = LambdaData()
    read: list[str] = []
    load = loader.file_loader.load_file

    def noted(path: str) -> Any:
        content = load(path)
        if content is not None:
            read.append(Path(path).name)
        return content

    monkeypatch.setattr(loader.file_loader, "load_file", noted)
    await resolved(loader, region_name="eu-central-1")
    small = ["_retry", "endpoint-rule-set-1", "partitions", "sdk-default-configuration"]
    assert sorted(read) == small
