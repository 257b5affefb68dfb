from __future__ import annotations

import pytest

from transports.errors import InvalidURL
from transports.lambda_invoke.options import BatchOptions, LambdaOptions
from transports.url import parse_url

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:db-proxy"


@pytest.mark.parametrize(
    ("target", "function", "qualifier", "region"),
    [
        ("db-proxy", "db-proxy", None, None),
        ("db-proxy:live", "db-proxy", "live", None),
        ("db-proxy:$LATEST", "db-proxy", "$LATEST", None),
        ("123456789012:function:db-proxy:7", "123456789012:function:db-proxy", "7", None),
        (ARN, ARN, None, "eu-west-1"),
        (f"{ARN}:live", ARN, "live", "eu-west-1"),
    ],
)
def test_a_function_is_a_name_or_an_arn_with_or_without_qualifier(
    target: str, function: str, qualifier: str | None, region: str | None
) -> None:
    options = LambdaOptions.from_url(parse_url(f"lambda://{target}/cms"))
    assert (options.function, options.qualifier, options.region) == (function, qualifier, region)


def test_times_are_milliseconds_in_the_url_and_seconds_inside() -> None:
    url = "lambda://p/cms?invokeTimeoutMS=1500&throttleTimeoutMS=250&openTimeoutMS=9000"
    options = LambdaOptions.from_url(parse_url(url))
    assert options.invoke_timeout_s == 1.5
    assert options.throttle_timeout_s == 0.25
    assert options.open_timeout_s == 9.0


def test_batches_have_bounds() -> None:
    url = "lambda://p/cms?maxCommandsPerInvoke=1&batchWaitMS=3&batchLimitMS=200"
    batches = LambdaOptions.from_url(parse_url(url)).batches
    assert (batches.max_size, batches.wait_s, batches.limit_ms) == (1, 0.003, 200)
    assert LambdaOptions.from_url(parse_url("lambda://p/cms")).batches == BatchOptions()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("lambda://db proxy/cms", "is no function"),
        ("lambda://p/cms?regoin=eu", "did you mean 'region'"),
        ("lambda://p/cms?endpoint=127.0.0.1:9001", "write endpoint=http://127.0.0.1:9001"),
        ("lambda://p/cms?invokeTimeoutMS=2s", "whole number of milliseconds"),
        ("lambda://p/cms?invokeTimeoutMS=0", "above 0"),
        ("lambda://p/cms?relayHello=yes", "must be true or false"),
        ("lambda://p/cms?maxCommandsPerInvoke=0", "a number from 1"),
        ("lambda://p/cms?maxCommandsPerInvoke=1001", "to 1000"),
        ("lambda://p/cms?batchWaitMS=-1", "above 0"),
        ("lambda://p/cms?batchLimitMS=99999999999", "whole number of milliseconds"),
    ],
)
def test_a_wrong_option_says_what_to_write(url: str, words: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        LambdaOptions.from_url(parse_url(url))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:9001", True),
        ("http://localhost:9001", True),
        ("http://[::1]:9001", True),
        ("https://lambda.eu-west-1.amazonaws.com", False),
    ],
)
def test_only_an_endpoint_on_this_machine_needs_no_credentials(endpoint: str, local: bool) -> None:
    options = LambdaOptions.from_url(parse_url(f"lambda://p/cms?endpoint={endpoint}"))
    assert options.is_local is local
