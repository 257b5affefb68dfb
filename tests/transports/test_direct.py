from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from transports import open_transport
from transports.errors import AuthenticationRefused, InvalidURL, ServerUnreachable

# The driver leaves a connection whose handshake was cancelled to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored in. <(socket|function _SelectorTransport)"
    ":pytest.PytestUnraisableExceptionWarning",
)


async def test_reaches_the_database_that_the_url_names(mongod_uri: str) -> None:
    async with open_transport(mongod_uri.replace("/?", "/direct_test?")) as transport:
        assert transport.database.name == "direct_test"
        assert (await transport.database.command("ping"))["ok"] == 1.0
        assert transport.uri == transport.url.raw


async def test_tells_the_server_who_calls(mongod_uri: str) -> None:
    async with open_transport(mongod_uri) as transport:
        operations = await transport.client.admin.aggregate([{"$currentOp": {"allUsers": True}}])
        drivers = [
            operation.get("clientMetadata", {}).get("driver", {}).get("name", "")
            async for operation in operations
        ]

    assert any("odm-transports" in name for name in drivers)


async def test_nobody_there_names_hosts_cause_and_remedy(unused_tcp_port: int) -> None:
    url = f"mongodb://127.0.0.1:{unused_tcp_port}/cms?serverSelectionTimeoutMS=50"

    with pytest.raises(ServerUnreachable) as caught:
        await open_transport(url).open()

    message = str(caught.value)
    assert f"127.0.0.1:{unused_tcp_port}" in message
    assert "within 0.05 s" in message
    assert "Is the server running, and is the port right?" in message
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.__cause__ is not None


async def test_server_that_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        transport = open_transport(f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=50")
        with pytest.raises(ServerUnreachable, match=str(port)):
            await transport.open()


async def test_replica_set_of_another_name_says_which_option(mongod_uri: str) -> None:
    host = urlsplit(mongod_uri).netloc
    url = f"mongodb://{host}/?replicaSet=other&serverSelectionTimeoutMS=200"

    with pytest.raises(ServerUnreachable, match="replicaSet="):
        await open_transport(url).open()


async def test_refused_credentials_are_told_without_showing_them(mongod_uri: str) -> None:
    url = mongod_uri.replace("mongodb://", "mongodb://nobody:hunter2@")

    with pytest.raises(AuthenticationRefused) as caught:
        await open_transport(url).open()

    assert "authSource" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mongodb://host/?nonsense=1", "Unknown option: nonsense"),
        ("mongodb://host/?maxPoolSize=many", "maxpoolsize must be an integer"),
        ("mongodb://user:hun:ter2@host/", "must be escaped"),
        ("mongodb://host:notaport/", "Port"),
        ("mongodb://host/?readPreference=nearby", "readpreference"),
    ],
)
async def test_what_the_driver_refuses_is_an_invalid_url(url: str, reason: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        await open_transport(url).open()

    assert reason.lower() in str(caught.value).lower()
    assert "hun:ter2" not in str(caught.value)


async def test_missing_dns_records_are_told_in_words() -> None:
    with pytest.raises(ServerUnreachable) as caught:
        await open_transport("mongodb+srv://cluster.invalid/?serverSelectionTimeoutMS=50").open()

    assert "cluster.invalid" in str(caught.value)
