from __future__ import annotations

import pytest

from odm.cli.doctor.facts import Kind, Unseen, UriFacts
from odm.cli.doctor.inspect_environment import environment_facts
from odm.cli.doctor.inspect_url import kind_of, uri_facts
from transports.url import parse_url


def uri_of(text: str) -> UriFacts:
    facts = uri_facts(text, "the URL")
    assert isinstance(facts, UriFacts)
    return facts


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("mongodb://h/x", Kind.DIRECT),
        ("mongodb+srv://h.example.com/x", Kind.DIRECT),
        ("motor+mongodb://h/x", Kind.DIRECT),
        ("lambda://f/x", Kind.LAMBDA),
        ("fake:///x", Kind.LOCAL),
        ("embedded:///x", Kind.LOCAL),
    ],
)
def test_what_a_url_leads_through(url: str, kind: Kind) -> None:
    assert kind_of(parse_url(url)) is kind


@pytest.mark.parametrize(
    ("uri", "hosts", "database"),
    [
        ("mongodb://a:1,b:2/x", ("a", "b"), "x"),
        ("mongodb://[::1]:27017/", ("::1",), None),
        ("mongodb://%2Ftmp%2Fmongodb.sock/x?a=b", ("/tmp/mongodb.sock",), "x"),
        ("mongodb://A.Example.com", ("a.example.com",), None),
        ("motor+mongodb://h/x", ("h",), "x"),
    ],
)
def test_hosts_and_database(uri: str, hosts: tuple[str, ...], database: str | None) -> None:
    facts = uri_of(uri)
    assert facts.hosts == hosts
    assert facts.database == database


@pytest.mark.parametrize(
    ("uri", "secrets", "mechanism"),
    [
        ("mongodb://h/x", (), ""),
        ("mongodb://me@h/x?authMechanism=MONGODB-X509", (), "MONGODB-X509"),
        ("mongodb://me:hunter2@h/x", ("password",), "SCRAM"),
        (
            "mongodb://key:hunter2@h/x?authMechanism=MONGODB-AWS"
            "&authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
            ("password", "AWS_SESSION_TOKEN in authMechanismProperties"),
            "MONGODB-AWS",
        ),
        (
            "mongodb://h/x?tlsCertificateKeyFilePassword=hunter2",
            ("tlscertificatekeyfilepassword",),
            "",
        ),
    ],
)
def test_secrets_are_named_and_not_kept(uri: str, secrets: tuple[str, ...], mechanism: str) -> None:
    facts = uri_of(uri)
    assert facts.secrets == secrets
    assert facts.mechanism == mechanism
    assert "hunter2" not in repr(facts)


@pytest.mark.parametrize(
    ("uri", "tls"),
    [
        ("mongodb://h/x", False),
        ("mongodb://h/x?tls=true", True),
        ("mongodb://h/x?ssl=true", True),
        ("mongodb+srv://h.example.com/x", True),
        ("mongodb+srv://h.example.com/x?tls=false", False),
    ],
)
def test_whether_a_uri_asks_for_tls(uri: str, tls: bool) -> None:
    assert uri_of(uri).tls is tls


@pytest.mark.parametrize("text", ["db.example.com", "lambda://f/x", "mongodb://me:p@w@h/x/y"])
def test_what_is_no_uri_is_unseen(text: str) -> None:
    assert isinstance(uri_facts(text, "the variable"), Unseen)


def test_the_environment_says_which_function_and_region_it_is() -> None:
    facts = environment_facts(
        {"AWS_LAMBDA_FUNCTION_NAME": "api", "AWS_DEFAULT_REGION": "eu-west-1", "X": "hunter2"}
    )
    assert facts.lambda_function == "api"
    assert facts.region == "eu-west-1"
    assert facts.pymongo
    assert "hunter2" not in repr(facts)
