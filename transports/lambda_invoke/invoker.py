"""One invoke: bytes to the function, bytes back, or one `InvokeError` that says what happened.

The only module that talks to AWS. One aiobotocore client per transport, its own retries off:
botocore would post an invoke five times after a time-out, and the function would run five times.
Only a throttled invoke, which certainly did not run, is tried again here.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke.admission import Admission
from transports.lambda_invoke.envelope import MAX_PAYLOAD_BYTES, Ran
from transports.lambda_invoke.options import MAX_FUNCTION_TIMEOUT_S, LambdaOptions

try:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from botocore import exceptions as aws
    from botocore.loaders import Loader, create_loader
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

if TYPE_CHECKING:
    from aiobotocore.client import AioBaseClient

# More than one process can use: a limit here would let long polls starve short commands.
_MAX_CONNECTIONS = 1000
# Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_BACKOFF_BASE_S = 0.02
# aiohttp wants larger bodies as files, which it sends piece by piece.
_LARGE_BODY_BYTES = 2**20 - 1
_BACKOFF_CAP_S = 1.0


class InvokeError(Exception):
    """An invoke that brought no response of the function's handler.

    Attributes:
        kind: ``throttled``, ``timeout``, ``network``, ``refused`` (by AWS), ``too_large``,
            ``crashed`` (the function) or ``reply_too_large``.
        message: what happened, in words.
        ran: whether the function may have run the commands.
    """

    def __init__(self, kind: str, message: str, ran: Ran) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.ran = ran


@dataclass(slots=True)
class InvokeCounters:
    """Counts of one invoker."""

    invokes: int = 0
    throttles: int = 0
    failures: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


# These stop a function before its handler is called.
_BEFORE_HANDLER = frozenset(
    f"Runtime.{reason}"
    for reason in (
        "HandlerNotFound",
        "ImportModuleError",
        "InvalidEntrypoint",
        "MalformedHandlerName",
        "UserCodeSyntaxError",
    )
)


@cache
def _loader() -> Loader:
    """Return the one loader of AWS's service models: reading them is most of a client's cost."""
    loader: Loader = create_loader()
    return loader


class Invoker:
    """Invokes one function. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._stack = AsyncExitStack()
        self._client: AioBaseClient | None = None
        self._target: dict[str, str] = {"FunctionName": options.function}
        if options.qualifier:
            self._target["Qualifier"] = options.qualifier
        self.counters = InvokeCounters()
        self.admission = Admission()

    async def __aenter__(self) -> Self:
        options = self._options
        session = AioSession(profile=options.profile)
        session.register_component("data_loader", _loader())
        credentials: dict[str, str] = {}
        region = options.region
        if options.is_local:
            region = region or session.get_config_variable("region") or "us-east-1"
            credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        config = AioConfig(
            connect_timeout=options.connect_timeout_s,
            # Every wait is bounded by invoke(); this must only never be the first to end.
            read_timeout=MAX_FUNCTION_TIMEOUT_S + 60,
            max_pool_connections=_MAX_CONNECTIONS,
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
        )
        try:
            self._client = await self._stack.enter_async_context(
                session.create_client(
                    "lambda",
                    region_name=region,
                    endpoint_url=options.endpoint,
                    config=config,
                    **credentials,
                )
            )
        except (aws.NoRegionError, aws.InvalidRegionError) as error:
            raise InvalidURL(
                f"lambda://{options.display_name}: {error} Write ?region=eu-central-1 in the URL "
                "or set AWS_REGION."
            ) from error
        except aws.ProfileNotFound as error:
            raise InvalidURL(
                f"lambda://{options.display_name}: {error} Write ?profile= one of "
                f"{', '.join(session.available_profiles) or 'none: no profile is configured'}."
            ) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def invoke(self, payload: bytes, *, timeout_s: float) -> bytes:
        """Invoke the function and return its payload.

        Args:
            payload: at most `MAX_PAYLOAD_BYTES`.
            timeout_s: seconds to wait for one response.

        Raises:
            InvokeError: there is no response of the handler; throttled invokes have been tried
                again until ``throttle_timeout_s``.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InvokeError(
                "too_large",
                f"the request is {len(payload):,} bytes, AWS Lambda takes {MAX_PAYLOAD_BYTES:,}",
                "no",
            )
        deadline = time.monotonic() + self._options.throttle_timeout_s
        attempt = 0
        while True:
            await self._admit(deadline, first=attempt > 0)
            try:
                body = await self._invoke_once(payload, timeout_s)
            except InvokeError as error:
                if error.kind != "throttled":
                    self.counters.failures += 1
                    self.admission.succeeded()
                    raise
                self.counters.throttles += 1
                self.admission.throttled()
                backoff = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2**attempt)
                delay = random.uniform(0, backoff)  # noqa: S311 - jitter
                if time.monotonic() + delay > deadline:
                    self.counters.failures += 1
                    raise
            except BaseException:
                self.admission.succeeded()
                raise
            else:
                self.admission.succeeded()
                return body
            attempt += 1
            await asyncio.sleep(delay)

    async def _admit(self, deadline: float, *, first: bool) -> None:
        try:
            await self.admission.enter(max(deadline - time.monotonic(), 0), first=first)
        except TimeoutError as error:
            self.counters.failures += 1
            raise InvokeError(
                "throttled",
                f"waited {self._options.throttle_timeout_s:g} s for its turn: AWS Lambda admits "
                f"{self.admission.limit:.0f} invokes at a time",
                "no",
            ) from error

    async def _invoke_once(self, payload: bytes, timeout_s: float) -> bytes:
        assert self._client is not None, "the invoker is not open"
        self.counters.invokes += 1
        self.counters.bytes_sent += len(payload)
        large = len(payload) > _LARGE_BODY_BYTES
        body_or_file = io.BytesIO(payload) if large else payload
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._client.invoke(**self._target, Payload=body_or_file)
                body: bytes = await response["Payload"].read()
        except aws.ClientError as error:
            raise _refused(error) from error
        except TimeoutError as error:
            raise InvokeError(
                "timeout",
                f"no response within {timeout_s:g} s; the function may have run",
                "unknown",
            ) from error
        except (aws.EndpointConnectionError, aws.ConnectTimeoutError) as error:
            hint = " Is 'odm local' running there?" if self._options.is_local else ""
            raise InvokeError("network", f"{error}.{hint}", "no") from error
        except aws.HTTPClientError as error:
            raise InvokeError("network", str(error), "unknown") from error
        except aws.BotoCoreError as error:  # no credentials, a parameter of the wrong form
            raise InvokeError("refused", str(error), "no") from error
        self.counters.bytes_received += len(body)
        if "FunctionError" in response:
            raise _function_error(body)
        return body


def _refused(error: aws.ClientError) -> InvokeError:
    """Translate an error response of the Lambda service itself: the function did not run."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    details: dict[str, Any] = dict(error.response.get("Error", {}))
    code = str(details.get("Code") or status)
    message = str(details.get("Message") or error.response.get("message") or error)
    if status == 429:
        reason = error.response.get("Reason") or code
        return InvokeError("throttled", f"throttled by AWS Lambda ({reason}): {message}", "no")
    if status == 413:
        return InvokeError("too_large", f"AWS Lambda refused the request: {message}", "no")
    if status >= 500:
        # The service, not the function; AWS does not say how far the invoke got.
        return InvokeError("network", f"AWS Lambda answered {status} {code}: {message}", "unknown")
    hint = ""
    if code == "ResourceNotFoundException":
        hint = ". Is its name, qualifier and region right? Write lambda://<function>[:<alias>]/…"
    elif code.startswith("AccessDenied"):
        hint = ". The caller needs lambda:InvokeFunction on it"
    return InvokeError("refused", f"AWS Lambda answered {code}: {message}{hint}", "no")


def _function_error(body: bytes) -> InvokeError:
    """Translate HTTP 200 with ``X-Amz-Function-Error``: time-out, crash, exception, init error."""
    try:
        details = json.loads(body)
    except ValueError:
        details = None
    if not isinstance(details, dict):
        details = {}
    kind = str(details.get("errorType", ""))
    message = str(details.get("errorMessage", "it failed without a message"))[:500]
    if kind == "Function.ResponseSizeTooLarge":
        return InvokeError("reply_too_large", message, "yes")
    if kind == "Sandbox.Timedout" or "Task timed out" in message:
        return InvokeError("timeout", f"the function was stopped: {message}", "unknown")
    before_handler = kind in _BEFORE_HANDLER
    text = f"the function failed: {kind}: {message}" if kind else f"the function failed: {message}"
    return InvokeError("crashed", text, "no" if before_handler else "unknown")
