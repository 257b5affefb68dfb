"""Well-kept deployments as facts, and a way to plant one fault in them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import io
import json
import logging
import os
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from odm.cli.doctor.facts import CallerFacts, Facts, FunctionFacts, Kind, ServerFacts, Unseen
from odm.cli.doctor.inspect_environment import environment_facts
from odm.cli.doctor.inspect_url import lambda_options, uri_facts
from transports.local_lambda import FunctionConfiguration, LocalLambda
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
def good_application(good_direct: Facts) -> Facts:
    """A Lambda function that connects directly: as it should, but for not using the proxy."""
    uri = f"{URI}&maxIdleTimeMS=60000&maxPoolSize=4"
    return dataclasses.replace(
        good_direct,
        url=parse_url(uri),
        uri=uri_facts(uri, "the URL"),
        environment=dataclasses.replace(
            good_direct.environment,
            lambda_function="api",
            variables={"AWS_STS_REGIONAL_ENDPOINTS": "regional", "ODM_URL": URI},
        ),
        caller=CallerFacts(
            name="api",
            configuration={
                "Runtime": "python3.13",
                "Timeout": 30,
                "MemorySize": 3008,
                "VpcConfig": {"SubnetIds": ["subnet-1", "subnet-2"]},
            },
            reserved=20,
        ),
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


class Front:
    """A Lambda service on this machine: AWS's control plane by moto, invokes by a local Lambda.

    ``answers`` are canned: what moto does not know, and refusals.
    """

    def __init__(self, control_plane: str) -> None:
        self.control_plane = control_plane
        self.invokes: str | None = None
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.asked: list[str] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                front.asked.append(f"{self.command} {self.path}")
                length = int(self.headers.get("Content-Length") or 0)
                status, body, kind = front.answer(self, self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if kind:
                    self.send_header("x-amzn-ErrorType", kind)
                self.end_headers()
                self.wfile.write(body)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):  # any method
                    return self._handle
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, str]:
        for pattern, (status, answer) in self.answers.items():
            if re.search(pattern, request.path):
                return status, json.dumps(answer).encode(), str(answer.get("Code", ""))
        target = self.control_plane
        if "/invocations" in request.path and self.invokes is not None:
            target = self.invokes
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length", "connection")
        }
        forwarded = urllib.request.Request(
            target + request.path, data=body or None, headers=headers, method=request.command
        )
        try:
            with urllib.request.urlopen(forwarded, timeout=30) as reply:
                return reply.status, reply.read(), ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers.get("x-amzn-ErrorType", "")

    def lambda_url(self, function: str, **options: str) -> str:
        """Return the ``lambda://`` URL of a function behind this service."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        endpoint = urllib.parse.quote(self.url, safe="")
        return f"lambda://{function}/cms?region=eu-central-1&endpoint={endpoint}" + (
            f"&{query}" if query else ""
        )

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """AWS's control plane, imitated: one server for the session."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, moto_url: str, tmp_path: Path) -> None:
    """Credentials that are nobody's, a region, and no configuration of this machine's user."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIATESTING")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for service in ("CLOUDWATCH_LOGS", "SECRETS_MANAGER", "SSM"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", moto_url)


@pytest.fixture
def front(moto_url: str, aws_environment: None) -> Iterator[Front]:
    """A Lambda service whose control plane knows nothing yet."""
    with urllib.request.urlopen(
        urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST"), timeout=10
    ):
        pass
    opened = Front(moto_url)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def aws(front: Front) -> Callable[[str], Any]:
    """Return clients of the imitated control plane."""

    def client(service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload] # any service, by its name
            region_name="eu-central-1",
            endpoint_url=front.control_plane,
        )

    return client


GOOD_FUNCTION: dict[str, Any] = {
    "Runtime": "python3.13",
    "Handler": "transports.lambda_invoke.function.app.handler",
    "Timeout": 30,
    "MemorySize": 256,
    "VpcConfig": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    "TracingConfig": {"Mode": "Active"},
}
GOOD_VARIABLES = {
    "ODM_PROXY_MONGODB_URI": URI,
    "ODM_PROXY_MAX_POOL_SIZE": "4",
    "ODM_PROXY_MAX_IDLE_TIME_MS": "60000",
    "ODM_PROXY_POLICY": "readWrite",
    "AWS_STS_REGIONAL_ENDPOINTS": "regional",
}
BAD_VARIABLES = {
    "ODM_PROXY_MONGODB_URI": "mongodb://me:hunter2@db.example.com/cms?maxPoolSize=300",
    "ODM_PROXY_POLICY": "unrestricted",
    "ODM_PROXY_MAX_IDLE_TIME_MS": "3600000",
    "ODM_PROXY_STAGING": "staging",
    "API_TOKEN": "hunter3",
}

Deploy = Callable[..., None]


@pytest.fixture
def deploy(aws: Callable[[str], Any], front: Front) -> Deploy:
    """Deploy a function: ``deploy("db-proxy", good=True)``, its variables and more by keyword.

    A good one has version 1 under the alias ``live``, reserved concurrency and a log that expires.
    """

    def deployed(
        name: str, *, good: bool, variables: Mapping[str, str] | None = None, **configuration: Any
    ) -> None:
        iam, client, logs = aws("iam"), aws("lambda"), aws("logs")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "")
        given = GOOD_FUNCTION if good else {"Runtime": "python3.9", "Handler": "app.main"}
        if variables is None:
            variables = GOOD_VARIABLES if good else BAD_VARIABLES
        client.create_function(
            FunctionName=name,
            Role=role,
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": dict(variables)},
            **{**given, **configuration},
        )
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
        if not good:
            return
        logs.put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=30)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=15)
        version = client.publish_version(FunctionName=name)["Version"]
        client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)

    # What moto does not know: https://docs.getmoto.org/en/latest/docs/services/lambda.html
    front.answers["/provisioned-concurrency"] = (200, {"ProvisionedConcurrencyConfigs": []})
    front.answers["/account-settings"] = (200, {"AccountLimit": {"ConcurrentExecutions": 1000}})
    return deployed


@pytest.fixture(scope="session")
def local_proxy(mongod_uri: str) -> Iterator[str]:
    """The endpoint of a local Lambda with the DB proxy function, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    configuration = FunctionConfiguration(
        name="db-proxy",
        handler="transports.lambda_invoke.function.app.handler",
        code=(Path(__file__).parents[4],),
        environment={
            "ODM_PROXY_MONGODB_URI": mongod_uri.replace("/?", "/cms?"),
            "ODM_PROXY_POLICY": '{"databases": ["cms"], "commands": {"allow": ["serverStatus"]}}',
        },
        timeout_s=20,
        reserved_concurrency=2,
        aliases={"live": "1"},
    )
    service = LocalLambda([configuration])
    try:
        asyncio.run_coroutine_threadsafe(service.__aenter__(), loop).result(30)
        yield service.endpoint_url
    finally:
        asyncio.run_coroutine_threadsafe(service.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
