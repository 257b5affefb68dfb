"""The URI by reference, against moto's Secrets Manager and Parameter Store."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest
from moto.server import ThreadedMotoServer

from transports import open_transport
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings
from transports.local_lambda import FunctionConfiguration, LocalLambda

ROOT = Path(__file__).parents[3]
CANARY = "canary0secret"
URI = f"mongodb+srv://user:{CANARY}@cluster0.example.net/cms"
REGION = "eu-central-1"
SECRET = "ODM_PROXY_MONGODB_URI_SECRET"
PARAMETER = "ODM_PROXY_MONGODB_URI_PARAMETER"
# What Lambda gives every function.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_SESSION_TOKEN": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}
SECRETS = {
    "plain": f"{URI}\n",
    "json": json.dumps({"uri": URI, "password": CANARY, "port": 27017}),
    "list": json.dumps([CANARY]),
    "password": CANARY,
}


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        secrets = boto3.client("secretsmanager", endpoint_url=endpoint)
        for name, text in SECRETS.items():
            secrets.create_secret(Name=name, SecretString=text)
        secrets.create_secret(Name="bytes", SecretBinary=URI.encode())
        parameters = boto3.client("ssm", endpoint_url=endpoint)
        parameters.put_parameter(Name="/odm/uri", Value=URI, Type="SecureString")
        parameters.put_parameter(Name="/odm/password", Value=CANARY, Type="SecureString")
        secrets.close()
        parameters.close()
    yield endpoint
    server.stop()


@pytest.fixture(autouse=True)
def environment(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", aws)


@pytest.mark.parametrize(
    ("variable", "reference"), [(SECRET, "plain"), (SECRET, "json#uri"), (PARAMETER, "/odm/uri")]
)
def test_the_uri_is_read_from_where_it_is_kept(variable: str, reference: str) -> None:
    settings = FunctionSettings.from_environment({variable: reference})
    assert settings.mongodb_uri == URI
    assert CANARY not in repr(settings)


def test_a_secret_is_found_by_its_arn(aws: str) -> None:
    client = boto3.client("secretsmanager", endpoint_url=aws)
    arn = client.describe_secret(SecretId="json")["ARN"]
    client.close()
    assert FunctionSettings.from_environment({SECRET: f"{arn}#uri"}).mongodb_uri == URI


@pytest.mark.parametrize(
    ("variable", "reference", "words"),
    [
        (SECRET, "missing", "none of that name in this account and region"),
        (SECRET, "bytes", "store the URI as text"),
        (SECRET, "json", "name the key that holds the URI, as in json#uri"),
        (SECRET, "json#url", "holds no text under 'url'"),
        (SECRET, "json#port", "holds no text under 'port'"),
        (SECRET, "json#password", "'password' of the secret 'json'"),
        (SECRET, "list#uri", "holds no text under 'uri'"),
        (SECRET, "plain#uri", "holds no JSON"),
        (SECRET, "password", "does not hold a MongoDB URI"),
        (SECRET, "#uri", "could not be read"),
        (PARAMETER, "/odm/missing", "none of that name in this account and region"),
        (PARAMETER, "/odm/password", "does not hold a MongoDB URI"),
    ],
)
def test_what_is_wrong_is_said_without_what_is_held(
    variable: str, reference: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FunctionSettings.from_environment({variable: reference})
    assert words in str(caught.value)
    assert variable in str(caught.value)
    # Lambda logs an initialisation error with its traceback.
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_role_that_may_not_read_it_is_told_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = json.dumps({"__type": "AccessDeniedException", "message": "not authorized"}).encode()
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    with OneAnswer(answer % (len(refusal), refusal)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", endpoint)
        with pytest.raises(ConfigurationError, match="needs ssm:GetParameter on it, and kms"):
            FunctionSettings.from_environment({PARAMETER: "/odm/uri"})


def test_a_service_that_is_not_reached_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = taken.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{port}")
        with pytest.raises(ConfigurationError, match="interface endpoint for secretsmanager"):
            FunctionSettings.from_environment({SECRET: "plain"})


def test_a_region_that_is_not_set_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="must specify a region"):
        FunctionSettings.from_environment({SECRET: "plain"})


@pytest.mark.parametrize("second", [SECRET, PARAMETER])
def test_there_is_one_uri(second: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FunctionSettings.from_environment({"ODM_PROXY_MONGODB_URI": URI, second: "plain"})
    said = str(caught.value)
    assert re.search(rf"set one of ODM_PROXY_MONGODB_URI and {second}, not both", said)
    assert CANARY not in said


def test_a_variable_that_is_empty_is_not_set() -> None:
    """Templates set what is not wanted to nothing."""
    environment = {"ODM_PROXY_MONGODB_URI": URI, SECRET: "", PARAMETER: " "}
    assert FunctionSettings.from_environment(environment).mongodb_uri == URI


def test_a_function_that_is_given_its_uri_loads_no_botocore() -> None:
    code = (
        "import sys\n"
        "from transports.lambda_invoke.function.settings import FunctionSettings\n"
        "FunctionSettings.from_environment({'ODM_PROXY_MONGODB_URI': 'mongodb://h'})\n"
        "print([name for name in sys.modules if name.startswith('botocore')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_function_that_reads_its_secret_serves(aws: str, mongod_uri: str) -> None:
    # The local Lambda's region, where the function looks.
    client = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1")
    client.create_secret(Name="served", SecretString=json.dumps({"uri": mongod_uri}))
    client.close()
    configuration = FunctionConfiguration(
        name="db-proxy",
        handler="transports.lambda_invoke.function.app.handler",
        code=(ROOT,),
        environment={
            SECRET: "served#uri",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
            "ODM_PROXY_POLICY": "unrestricted",
        },
        timeout_s=10,
    )
    async with LocalLambda([configuration]) as service:
        endpoint = quote(service.endpoint_url, safe="")
        url = f"lambda://db-proxy/references?region=us-east-1&endpoint={endpoint}"
        async with open_transport(url) as transport:
            assert (await transport.client.admin.command("ping"))["ok"] == 1.0


class OneAnswer:
    """An HTTP server that gives everybody the same answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(self._answer)
