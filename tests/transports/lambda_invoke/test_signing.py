"""Signatures, held against the SDK's own for the same request at the same time."""

from __future__ import annotations

import datetime as dt

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from transports.lambda_invoke.signing import Signer

FUNCTION = "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions"


def of_the_sdk(
    url: str, region: str, keys: ReadOnlyCredentials, payload: bytes, now: float
) -> dict[str, str]:
    request = AWSRequest(method="POST", url=url, data=payload)
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
        auth.SigV4Auth(keys, "lambda", region).add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize(
    "url",
    [
        f"{FUNCTION}/db-proxy/invocations",
        f"{FUNCTION}/db-proxy/invocations?Qualifier=live",
        f"{FUNCTION}/db-proxy/invocations?Qualifier=%24LATEST",
        f"{FUNCTION}/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Ap/invocations?Qualifier=7",
        "http://127.0.0.1:9001/2015-03-31/functions/db-proxy/invocations",
        "http://localhost:80/2015-03-31/functions/db-proxy/invocations",
        "https://[::1]:8443/2015-03-31/functions/db_proxy-2/invocations",
    ],
)
@given(
    secret=st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1),
    token=st.one_of(st.none(), st.text("abcXYZ0189+/=", min_size=1)),
    payload=st.binary(max_size=2000),
    now=st.integers(0, 4_000_000_000),
)
def test_a_signature_is_the_one_that_the_sdk_makes(
    url: str, secret: str, token: str | None, payload: bytes, now: int
) -> None:
    keys = ReadOnlyCredentials("AKIDEXAMPLE", secret, token)
    expected = of_the_sdk(url, "eu-west-1", keys, payload, now)
    assert Signer(url, "eu-west-1", "lambda").headers(keys, payload, now) == expected


def test_a_key_is_made_anew_for_other_credentials_and_another_day() -> None:
    url = f"{FUNCTION}/db-proxy/invocations"
    signer = Signer(url, "eu-west-1", "lambda")
    for secret, now in (("a", 0), ("b", 0), ("b", 86_400), ("a", 86_400), ("a", 0)):
        keys = ReadOnlyCredentials("AKIDEXAMPLE", secret, None)
        expected = of_the_sdk(url, "eu-west-1", keys, b"{}", now)
        assert signer.headers(keys, b"{}", now) == expected


@pytest.mark.parametrize("token", [" token", "token\n", "token\r\n"])
def test_a_token_read_from_a_file_loses_the_line_end(token: str) -> None:
    url = f"{FUNCTION}/db-proxy/invocations"
    expected = of_the_sdk(
        url, "eu-west-1", ReadOnlyCredentials("AKIDEXAMPLE", "secret", "token"), b"{}", 0
    )
    keys = ReadOnlyCredentials("AKIDEXAMPLE", "secret", token)
    assert Signer(url, "eu-west-1", "lambda").headers(keys, b"{}", 0) == expected


def test_a_signature_is_of_now() -> None:
    signer = Signer(f"{FUNCTION}/p/invocations", "eu-west-1", "lambda")
    keys = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    date = dt.datetime.strptime(signer.headers(keys, b"")["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    assert before <= date.replace(tzinfo=dt.UTC) <= dt.datetime.now(dt.UTC)


def test_a_line_end_behind_an_access_key_is_not_sent() -> None:
    signer = Signer(f"{FUNCTION}/p/invocations", "eu-west-1", "lambda")
    from_a_file = ReadOnlyCredentials("AKIDEXAMPLE\n", "secret", None)
    as_meant = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)
    assert signer.headers(from_a_file, b"", 0) == signer.headers(as_meant, b"", 0)
