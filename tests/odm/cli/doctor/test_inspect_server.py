"""What is asked of a server, against a real one, and where its names lead."""

from __future__ import annotations

import pymongo
import pytest

from odm.cli.doctor.facts import ServerFacts, Unseen, UriFacts, known
from odm.cli.doctor.inspect_server import addresses_of, server_facts, sort_of
from odm.cli.doctor.inspect_url import uri_facts
from transports.errors import InvalidURL
from transports.url import parse_url


def silent(_: str) -> None:
    pass


def uri_of(text: str) -> UriFacts:
    facts = uri_facts(text, "the URL")
    assert isinstance(facts, UriFacts)
    return facts


async def test_a_real_server_tells_what_it_is(mongod_uri: str) -> None:
    seen = await server_facts(parse_url(mongod_uri), silent, timeout_s=20)
    assert seen.error is None
    assert known(seen.build)["versionArray"][:2] == [6, 0]
    assert known(seen.hello)["setName"] == "rs0"
    connections = known(seen.status)["connections"]
    assert connections["current"] >= 1
    assert connections["available"] > 0
    assert seen.roles is None  # it has no users
    assert seen.release is None


async def test_a_users_roles_are_seen(mongod_uri: str) -> None:
    client: pymongo.MongoClient[dict[str, object]]
    with pymongo.MongoClient(mongod_uri) as client:
        client["doctor_roles"].command(
            "createUser", "reader", pwd="pw", roles=[{"role": "read", "db": "doctor_roles"}]
        )
        try:
            url = mongod_uri.replace("://", "://reader:pw@", 1)
            url += "&authSource=doctor_roles" if "?" in url else "/?authSource=doctor_roles"
            seen = await server_facts(parse_url(url), silent, timeout_s=20)
            assert seen.roles == ("read@doctor_roles",)
        finally:
            client["doctor_roles"].command("dropUser", "reader")


async def test_who_does_not_answer_is_told_without_the_password() -> None:
    url = parse_url("mongodb://me:hunter2@127.0.0.1:9/x?serverSelectionTimeoutMS=100")
    seen = await server_facts(url, silent, timeout_s=20)
    assert seen.error is not None
    assert "127.0.0.1:9" in seen.error
    assert "hunter2" not in seen.error


async def test_opening_is_bounded() -> None:
    url = parse_url("mongodb://127.0.0.1:9/x")
    seen = await server_facts(url, silent, timeout_s=0.1)
    assert seen.error is not None
    assert "0.1 s" in seen.error


async def test_an_option_that_no_driver_knows_is_wrong_usage() -> None:
    with pytest.raises(InvalidURL, match="readPreferense"):
        await server_facts(
            parse_url("mongodb://127.0.0.1:9/x?readPreferense=primary"), silent, timeout_s=1
        )


async def test_a_lambda_url_without_region_is_told_and_no_usage_error(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    seen = await server_facts(parse_url("lambda://db-proxy/cms"), silent, timeout_s=5)
    assert isinstance(seen, ServerFacts)
    assert seen.error is not None
    assert "region" in seen.error


@pytest.mark.parametrize(
    ("host", "sort"),
    [
        ("localhost", "local"),
        ("127.0.0.1", "local"),
        ("::1", "local"),
        ("/tmp/mongodb-27017.sock", "local"),
        ("10.1.2.3", "private"),
        ("192.168.0.4", "private"),
        ("fd00::1", "private"),
        ("8.8.8.8", "public"),
        ("203.0.113.7", "public"),
        ("cluster0-pl-0.ab1cd.mongodb.net", "private"),
        ("cluster0-pri.ab1cd.mongodb.net", "private"),
        ("cluster0-shard-00-00-pri.ab1cd.mongodb.net", "private"),
        ("cluster0.ab1cd.mongodb.net", None),
        ("db.example.com", None),
    ],
)
def test_what_a_name_or_address_says_of_itself(host: str, sort: str | None) -> None:
    assert sort_of(host) == sort


async def test_names_are_looked_up_only_if_they_may_be() -> None:
    uri = uri_of("mongodb://ip6-localhost.invalid,10.0.0.1/x")
    assert await addresses_of(uri, silent, look_up=False) == {"10.0.0.1": "private"}
    assert await addresses_of(uri, silent, look_up=True) == {"10.0.0.1": "private"}


async def test_an_srv_name_is_not_looked_up() -> None:
    told: list[str] = []
    uri = uri_of("mongodb+srv://cluster0.ab1cd.mongodb.net/x")
    assert await addresses_of(uri, told.append, look_up=True) == {}
    assert told == []


async def test_a_refused_question_is_unseen_and_the_others_are_answered(mongod_uri: str) -> None:
    """A server without test commands answers all four; a failpoint refuses one."""
    client: pymongo.MongoClient[dict[str, object]]
    with pymongo.MongoClient(mongod_uri) as client:
        client.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": 1},
            data={"failCommands": ["connectionStatus"], "errorCode": 13},
        )
        seen = await server_facts(parse_url(mongod_uri), silent, timeout_s=20)
    assert isinstance(seen.roles, Unseen)
    assert "connectionStatus was refused" in seen.roles.reason
    assert not isinstance(seen.status, Unseen)
