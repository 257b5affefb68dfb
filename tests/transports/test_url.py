from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import InvalidURL
from transports.url import SCHEMES, check_options, parse_url, redact


def test_driver_url_keeps_what_the_driver_needs() -> None:
    url = parse_url("mongodb://u:p@a:1,b:2/cms?replicaSet=rs0&w=1")

    assert (url.scheme, url.target, url.database) == ("mongodb", "a:1,b:2", "cms")
    assert url.driver_uri == "mongodb://u:p@a:1,b:2/cms?replicaSet=rs0&w=1"
    assert url.options == {}


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_motor_url_gives_the_driver_its_own_scheme(scheme: str) -> None:
    assert parse_url(f"motor+{scheme}://host/cms").driver_uri == f"{scheme}://host/cms"


def test_database_defaults_to_the_drivers_default() -> None:
    assert parse_url("mongodb://localhost").database == "test"
    assert parse_url("fake:///").database == "test"


def test_function_may_be_named_with_qualifier_or_arn() -> None:
    assert parse_url("lambda://proxy:live/cms?region=eu-west-1").target == "proxy:live"
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:proxy:live"
    url = parse_url(f"lambda://{arn}/cms")
    assert (url.target, url.database) == (arn, "cms")


def test_options_of_our_own_schemes_are_parsed_and_read_only() -> None:
    url = parse_url("lambda://proxy/cms?region=eu-west-1&endpoint=http%3A%2F%2Flocalhost%3A9001")

    assert url.options == {"region": "eu-west-1", "endpoint": "http://localhost:9001"}
    with pytest.raises(TypeError):
        url.options["region"] = "other"  # type: ignore[index]  # that is the point


def test_surrounding_space_and_case_of_the_scheme_do_not_matter() -> None:
    assert parse_url(" FAKE:///cms\n").scheme == "fake"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "expected a URL such as"),
        ("localhost:27017/cms", "has no scheme"),
        ("mongo://localhost/cms", "did you mean 'mongodb://localhost:27017/cms'?"),
        ("postgresql://localhost/cms", "known: mongodb://"),
        ("mongodb:///cms", "names no host"),
        ("lambda:///cms", "names no function"),
        ("lambda://key:secret@proxy/cms", "carries credentials"),
        ("fake://name/a/b", "'/' is not allowed"),
        ("fake:///" + "x" * 64, "longer than 63 bytes"),
        ("fake:///cms?a=1&a=2", "gives an option twice"),
    ],
)
def test_bad_url_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)

    assert advice in str(caught.value)
    assert "secret" not in str(caught.value)


def test_unknown_option_names_the_closest_known_one() -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url("lambda://proxy/cms?regoin=x", options=("region", "endpoint"))

    assert "did you mean 'region'?" in str(caught.value)
    assert "Known: endpoint, region." in str(caught.value)


def test_option_where_none_is_taken_says_so() -> None:
    with pytest.raises(InvalidURL) as caught:
        check_options(["x"], (), "fake:///cms?x=1")

    assert "It takes no options." in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://user:hunter2@host/cms",
        "could not reach mongodb+srv://user:hunter2@host/ or mongodb://x:hunter2@y/",
        "mongodb://host/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2&w=1",
        "mongodb://host/?tlsCertificateKeyFilePassword=hunter2",
    ],
)
def test_redact_hides_credentials_anywhere_in_a_text(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://user:hunter2/x@host/cms",
        "mongodb://user:x@hunter2@host/cms",
        "mongodb://user:hunter2?x@host/cms",
        "mongodb://user:x hunter2@host/cms",
        "mongodb:/user:hunter2@host/cms",
        "user:hunter2@host/cms",
        "mogodb://user:hunter2@host/cms",
    ],
)
def test_a_password_that_was_not_escaped_is_not_shown(url: str) -> None:
    try:
        parsed = parse_url(url)
        shown = f"{parsed!r} {parsed}"
    except InvalidURL as error:
        shown = str(error)
    assert "hunter2" not in shown


def test_redact_leaves_other_text_alone() -> None:
    text = "mongodb://host/cms?replicaSet=rs0 answered user@example.org"
    assert redact(text) == text


def test_credentials_are_in_no_repr() -> None:
    url = parse_url("mongodb://user:hunter2@host/cms")

    assert "hunter2" not in repr(url)
    assert str(url) == "mongodb://***@host/cms"


@given(st.sampled_from(SCHEMES), st.text())
def test_any_text_is_parsed_or_refused_as_invalid(scheme: str, rest: str) -> None:
    try:
        url = parse_url(f"{scheme}://{rest}")
    except InvalidURL:
        return
    assert url.scheme == scheme
    assert 0 < len(url.database.encode()) <= 63


@given(st.from_regex(r"[A-Za-z0-9%!'()*,;=._~-]{4,20}", fullmatch=True))
def test_no_password_survives_an_error(password: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(f"mongodb://user:{password}@host/a$b?x=1")

    assert f":{password}@" not in str(caught.value)


def test_redact_keeps_the_scheme_of_a_url_in_brackets() -> None:
    assert redact("at h (mongodb+srv://user:hunter2@h/cms)") == "at h (mongodb+srv://***@h/cms)"
    assert redact("(user:pa://hunter2@h)") == "***@h)"
