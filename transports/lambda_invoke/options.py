"""The options of a ``lambda://`` URL, checked and typed.

``lambda://<function>[:<qualifier>]/<database>?region=…&endpoint=…`` where the function is a name or
an ARN, as `Invoke` takes it: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from transports.errors import InvalidURL
from transports.url import TransportURL, check_options, redact_url

# The longest a function may run, and so the longest anybody may wait for one:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_FUNCTION_TIMEOUT_S = 900.0

OPTIONS = (
    "appName",
    "batchLimitMS",
    "batchWaitMS",
    "connectTimeoutMS",
    "endpoint",
    "invokeTimeoutMS",
    "maxCommandsPerInvoke",
    "openTimeoutMS",
    "profile",
    "region",
    "relayHello",
    "throttleTimeoutMS",
    "tracing",
)

MAX_APP_NAME_BYTES = 128
"""A server's own limit for ``appName``."""

_FUNCTION = re.compile(
    r"^(?:(?:(?P<arn>arn:aws[\w-]*:lambda:(?P<region>[\w-]+):\d{12}):function:)"
    r"|(?:\d{12}:function:))?"
    r"(?P<name>[\w-]{1,140})(?::(?P<qualifier>\$LATEST|[\w-]{1,128}))?$"
)


MAX_BATCH_SIZE = 1000
"""Most commands in one invoke that may be asked for: what an envelope holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How commands that wait at the same time share an invoke (`lambda_invoke.batching`).

    Attributes:
        max_size: the most commands in one invoke; 1 for one command each.
        wait_s: seconds that a command waits at most for others while there is room for its invoke.
        limit_ms: after how many milliseconds a command that is not alone is cut short, to be sent
            again by itself, and the function begins no further one.
    """

    max_size: int = 100
    wait_s: float = 0.01
    limit_ms: int = 50


_BATCHES = BatchOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaOptions:
    """Where the DB proxy function is and how long to wait for it.

    Attributes:
        function: name or ARN, without qualifier.
        qualifier: version or alias, None for ``$LATEST``.
        region: AWS region; None leaves it to the environment.
        endpoint: URL of another Lambda service, e.g. of a local Lambda.
        profile: profile of the AWS configuration files; None leaves it to the environment.
        connect_timeout_s: seconds to connect to the Lambda service.
        invoke_timeout_s: seconds to wait for an invoke's response; None waits as long as the
            function says it may run, and a little longer.
        open_timeout_s: seconds in which the first invoke has to answer.
        throttle_timeout_s: seconds during which a throttled invoke is tried again.
        relay_hello: send every ``hello`` of the driver to the server: true round-trip times, for
            one invoke a heartbeat.
        app_name: the application's name, which the server, its log and the function's see.
        tracing: whether invokes are OpenTelemetry spans; None leaves it to whether the
            application has loaded OpenTelemetry's SDK.
        batches: how commands share invokes.
    """

    function: str
    qualifier: str | None = None
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    connect_timeout_s: float = 5.0
    invoke_timeout_s: float | None = None
    open_timeout_s: float = 30.0
    throttle_timeout_s: float = 10.0
    relay_hello: bool = False
    app_name: str | None = None
    tracing: bool | None = None
    batches: BatchOptions = field(default_factory=BatchOptions)

    @property
    def display_name(self) -> str:
        """The function as messages name it: ``db-proxy:live``."""
        return f"{self.function}:{self.qualifier}" if self.qualifier else self.function

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine, where no AWS credentials are needed."""
        host = urlsplit(self.endpoint or "").hostname or ""
        return host == "localhost" or host == "::1" or host.startswith("127.")

    @classmethod
    def from_url(cls, url: TransportURL) -> LambdaOptions:
        """Read the options of *url*.

        Raises:
            InvalidURL: an option is unknown or wrong; the message says what to write.
        """
        check_options(url.options, OPTIONS, url.raw)
        match = _FUNCTION.match(url.target)
        if match is None:
            raise InvalidURL(
                f"{url.target!r} in {url.redacted!r} is no function: write its name or ARN, with "
                "a version or alias after a colon: lambda://db-proxy:live/cms"
            )
        qualifier = match["qualifier"]
        function = url.target.removesuffix(f":{qualifier}") if qualifier else url.target
        endpoint = url.options.get("endpoint")
        if endpoint is not None and not _is_service(endpoint):
            raise InvalidURL(
                f"endpoint={redact_url(endpoint)!r} in {url.redacted!r} is no URL of a Lambda "
                "service (without credentials): write endpoint=http://127.0.0.1:9001"
            )
        return cls(
            function=function,
            qualifier=qualifier,
            region=url.options.get("region") or match["region"],
            endpoint=endpoint,
            profile=url.options.get("profile"),
            connect_timeout_s=_seconds(url, "connectTimeoutMS") or 5.0,
            invoke_timeout_s=_seconds(url, "invokeTimeoutMS"),
            open_timeout_s=_seconds(url, "openTimeoutMS") or 30.0,
            throttle_timeout_s=_seconds(url, "throttleTimeoutMS") or 10.0,
            relay_hello=_boolean(url, "relayHello"),
            app_name=_app_name(url),
            tracing=_boolean(url, "tracing") if "tracing" in url.options else None,
            batches=BatchOptions(
                max_size=_batch_size(url) or _BATCHES.max_size,
                wait_s=_seconds(url, "batchWaitMS") or _BATCHES.wait_s,
                limit_ms=_milliseconds(url, "batchLimitMS") or _BATCHES.limit_ms,
            ),
        )


def _is_service(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:  # brackets or a port that are none
        return False
    # The SDK has its own credentials, and would write these into its logs.
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and port != 0


def _seconds(url: TransportURL, option: str) -> float | None:
    milliseconds = _milliseconds(url, option)
    return None if milliseconds is None else milliseconds / 1000


def _milliseconds(url: TransportURL, option: str) -> int | None:
    text = url.options.get(option)
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise InvalidURL(
            f"{option}={text!r} in {url.redacted!r} must be a whole number of milliseconds above 0"
        )
    return int(text)


def _batch_size(url: TransportURL) -> int | None:
    text = url.options.get("maxCommandsPerInvoke")
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MAX_BATCH_SIZE:
        raise InvalidURL(
            f"maxCommandsPerInvoke={text!r} in {url.redacted!r} must be a number from 1 (each "
            f"command has its own invoke) to {MAX_BATCH_SIZE}"
        )
    return int(text)


def _app_name(url: TransportURL) -> str | None:
    text = url.options.get("appName")
    if text is not None and not 1 <= len(text.encode()) <= MAX_APP_NAME_BYTES:
        raise InvalidURL(f"appName in {url.redacted!r} must have 1 to {MAX_APP_NAME_BYTES} bytes")
    return text


def _boolean(url: TransportURL, option: str) -> bool:
    text = url.options.get(option, "false")
    if text not in ("true", "false"):
        raise InvalidURL(f"{option}={text!r} in {url.redacted!r} must be true or false")
    return text == "true"
