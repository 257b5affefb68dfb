"""Well-kept deployments as facts, and a way to plant one fault in them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from odm.cli.doctor.facts import CallerFacts, Facts, FunctionFacts, Kind, ServerFacts, Unseen
from odm.cli.doctor.inspect_environment import environment_facts
from odm.cli.doctor.inspect_url import lambda_options, uri_facts
from transports.url import parse_url

TODAY = datetime.date(2026, 11, 22)
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:db-proxy"
URI = (
    "mongodb+srv://cluster0-pl-0.ab1cd.mongodb.net/cms"
    "?authSource=%24external&authMechanism=MONGODB-AWS"
)

Plant = Callable[..., Facts]


@pytest.fixture
def good_lambda() -> Facts:
    """A function, its caller and its server, of which every rule is followed."""
    url = parse_url("lambda://db-proxy:live/cms?region=eu-central-1")
    uri = uri_facts(URI, "the function's ODM_PROXY_MONGODB_URI")
    variables = {
        "ODM_PROXY_MONGODB_URI": URI,
        "ODM_PROXY_MAX_IDLE_TIME_MS": "60000",
        "ODM_PROXY_POLICY": "readWrite",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    return Facts(
        url=url,
        kind=Kind.LAMBDA,
        options=lambda_options(url),
        environment=dataclasses.replace(
            environment_facts({"AWS_REGION": "eu-central-1"}, lambda_function="api"),
            release="0.1.0",
            pymongo="4.17.0",
        ),
        caller=CallerFacts(name="api", configuration={"Timeout": 60}, reserved=None),
        function=FunctionFacts(
            name="db-proxy",
            qualifier="live",
            configuration={
                "FunctionName": "db-proxy",
                "FunctionArn": f"{ARN}:live",
                "Version": "7",
                "Runtime": "python3.13",
                "Handler": "transports.lambda_invoke.function.app.handler",
                "Timeout": 30,
                "MemorySize": 256,
                "State": "Active",
                "LastUpdateStatus": "Successful",
                "VpcConfig": {"VpcId": "vpc-1", "SubnetIds": ["subnet-1", "subnet-2"]},
                "TracingConfig": {"Mode": "Active"},
                "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            },
            variables=variables,
            uri=uri,
            reserved=15,
            provisioned=(),
            alias={"Name": "live", "FunctionVersion": "7"},
            account_concurrency=1000,
            policy=(),
            url_auth=None,
            retention_days=30,
        ),
        uri=uri,
        server=ServerFacts(
            hello={"setName": "rs0", "hosts": ["a", "b", "c"], "tags": {"region": "EU_CENTRAL_1"}},
            build={"version": "8.0.4", "versionArray": [8, 0, 4, 0]},
            status={
                "uptime": 86_400,
                "connections": {"current": 40, "available": 1460, "totalCreated": 9000},
            },
            roles=("readWrite@cms", "readWrite@odm_proxy"),
            release="0.1.0",
            init_ms=310.0,
        ),
        addresses={"cluster0-pl-0.ab1cd.mongodb.net": "private"},
        today=TODAY,
    )


@pytest.fixture
def good_direct(good_lambda: Facts) -> Facts:
    """A service of one's own that connects directly, as it should."""
    url = parse_url(URI + "&maxIdleTimeMS=60000")
    assert isinstance(good_lambda.server, ServerFacts)
    return dataclasses.replace(
        good_lambda,
        url=url,
        kind=Kind.DIRECT,
        options=None,
        environment=dataclasses.replace(good_lambda.environment, lambda_function=None),
        caller=None,
        function=Unseen("the URL leads through no function"),
        uri=uri_facts(url.raw, "the URL"),
        server=dataclasses.replace(good_lambda.server, release=None, init_ms=None),
    )


@pytest.fixture
def plant() -> Plant:
    """Return facts with others in their places: ``plant(facts, {"function.reserved": None})``.

    ``...`` takes a key away. ``uri`` and ``url`` take a text.
    """

    def planted(facts: Facts, changes: Mapping[str, Any]) -> Facts:
        for path, value in changes.items():
            facts = _with_uri(facts, value) if path == "uri" else facts
            facts = _with_url(facts, value) if path == "url" else facts
            if path not in ("uri", "url"):
                facts = _replaced(facts, path.split("."), value)
        return facts

    return planted


def _with_uri(facts: Facts, value: str | Unseen) -> Facts:
    uri = value if isinstance(value, Unseen) else uri_facts(value, "the URI here")
    facts = dataclasses.replace(facts, uri=uri)
    if facts.kind is Kind.DIRECT and isinstance(value, str):
        facts = dataclasses.replace(facts, url=parse_url(value))
    if isinstance(facts.function, FunctionFacts):
        facts = dataclasses.replace(facts, function=dataclasses.replace(facts.function, uri=uri))
    return facts


def _with_url(facts: Facts, value: str) -> Facts:
    url = parse_url(value)
    options = lambda_options(url)
    facts = dataclasses.replace(facts, url=url, options=options)
    if options is not None and isinstance(facts.function, FunctionFacts):
        function = dataclasses.replace(facts.function, qualifier=options.qualifier)
        facts = dataclasses.replace(facts, function=function)
    return facts


def _replaced(value: Any, path: list[str], new: Any) -> Any:
    name, *rest = path
    if isinstance(value, Mapping):
        if new is ... and not rest:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: _replaced(value.get(name, {}), rest, new) if rest else new}
    inner = _replaced(getattr(value, name), rest, new) if rest else new
    return dataclasses.replace(value, **{name: inner})
