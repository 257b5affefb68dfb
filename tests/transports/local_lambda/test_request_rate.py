"""So many synchronous requests a second for each environment, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from transports.local_lambda import LocalLambda
from transports.local_lambda.concurrency import Concurrency
from transports.local_lambda.faults import ServiceError
from transports.local_lambda.request_rate import RequestRate


def taken(rate: RequestRate, concurrency: int, now: float) -> int:
    """Take all that there is."""
    count = 0
    while rate.take(concurrency, now):
        count += 1
    return count


def test_bucket_holds_a_second_and_fills_evenly() -> None:
    rate = RequestRate(10)
    assert taken(rate, 3, 1000.0) == 30
    assert taken(rate, 3, 1000.5) == 15
    assert taken(rate, 3, 1000.51) == 0
    assert taken(rate, 3, 5000.0) == 30


def test_concurrency_that_changes_changes_the_rate() -> None:
    rate = RequestRate(10)
    assert taken(rate, 1, 0.0) == 10
    assert taken(rate, 4, 0.5) == 20
    assert taken(rate, 0, 9.0) == 0


@pytest.fixture
def a_function(function: Any) -> Any:
    """Make what `Concurrency` looks at of a function."""

    class Stand:
        concurrent_executions = 0
        max_concurrent_executions = 0

        def __init__(self, reserved_concurrency: int | None) -> None:
            self.configuration = function(reserved_concurrency=reserved_concurrency)

    return Stand


def refused(concurrency: Concurrency, function: Any, **options: Any) -> str:
    """Let it run until it is refused; return the reason."""
    for _ in range(1000):
        try:
            unreserved = concurrency.admit(function, **options)
        except ServiceError as error:
            return error.reason
        concurrency.release(function, unreserved=unreserved)
    return ""


def test_reserved_functions_have_a_rate_of_their_own_the_others_share_one(a_function: Any) -> None:
    concurrency = Concurrency(10, 10, clock=lambda: 0.0)
    concurrency.reserve(2)
    first, second, own = a_function(None), a_function(None), a_function(2)
    assert refused(concurrency, first) == "FunctionInvocationRateLimitExceeded"
    with pytest.raises(ServiceError):
        concurrency.admit(second)
    assert refused(concurrency, own) == "ReservedFunctionInvocationRateLimitExceeded"
    assert own.concurrent_executions == first.concurrent_executions == 0


def test_asynchronous_requests_have_no_rate(a_function: Any) -> None:
    concurrency = Concurrency(10, 10, clock=lambda: 0.0)
    assert refused(concurrency, a_function(2), synchronous=False) == ""


def test_without_a_rate_there_is_none(a_function: Any) -> None:
    assert refused(Concurrency(10), a_function(None)) == ""


async def invoke_often(client: Any) -> None:
    for _ in range(100):
        await client.invoke(FunctionName="f")


async def test_sdk_is_told_the_reason(serve: Any, connect: Any) -> None:
    service = await serve(request_rate=1, reserved_concurrency=1)
    client = await connect(service)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        await invoke_often(client)
    error = caught.value.response
    assert error["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
    assert error["Error"]["Message"] == "Rate Exceeded."
    assert service.statistics("f").throttles == 1


@pytest.mark.parametrize("rate", [0, -1])
def test_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="10 on AWS, or None"):
        LocalLambda(request_rate=rate)
