"""The HTTP connections to the Lambda service, and the requests on them, signed.

An invoke is one signed POST. The SDK resolves what an application configures, once, when the
transport is opened: endpoint, region, credentials and how they are refreshed, proxy, certificates.
Building a request out of the service's model and parsing the response by it, which costs more than
the invoke itself, is left out.

Nothing is repeated here, and no redirect is followed: the function would run again.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import CoroutineType
from typing import Any, Self
from urllib.parse import quote

from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke.envelope import MAX_PAYLOAD_BYTES
from transports.lambda_invoke.http_client import HttpClient, Origin, Response, Sending
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.signing import Signer
from transports.lambda_invoke.tracing import invoke_header

try:
    from aiobotocore.session import AioSession
    from botocore import exceptions as aws
    from botocore.credentials import Credentials
    from botocore.httpsession import get_cert_path
    from botocore.utils import get_environ_proxies

    from transports.lambda_invoke.service_data import LambdaData
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

_SERVICE = "lambda"
_LOCAL_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class _Service:
    """What an application has configured of the Lambda service, resolved.

    Attributes:
        origin: where the function is invoked.
        signer: signs what is posted there.
        credentials: the SDK's, which refresh themselves; None if there are none.
    """

    origin: Origin
    signer: Signer
    credentials: Any = field(repr=False)


@cache
def _data() -> LambdaData:
    """Return the process's one reader of the SDK's data: reading is most of a client's cost."""
    return LambdaData()


@cache
def _trusting(certificates: str) -> ssl.SSLContext:
    """Return what trusts a file of certificates; reading those of the world takes 20 ms."""
    return ssl.create_default_context(cafile=certificates)


class Connections:
    """Sends invokes. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._service: _Service | None = None
        self._http: HttpClient | None = None

    async def __aenter__(self) -> Self:
        self._service = await _resolve(self._options)
        self._http = HttpClient(
            self._service.origin,
            connect_timeout_s=self._options.connect_timeout_s,
            max_body_bytes=MAX_PAYLOAD_BYTES,
            user_agent=_user_agent(),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def post(self, payload: bytes, sending: Sending) -> Response:
        """Post one invoke and return the response.

        Args:
            payload: the event.
            sending: is told when sending begins.

        Raises:
            botocore.exceptions.BotoCoreError: there are no credentials.
            NotConnected: there is no connection.
            ConnectionBroken: it ended, or what it carried was no HTTP.
            ResponseTooLong: it is longer than a function's can be.
        """
        service, http = self._service, self._http
        assert service is not None, "the invoker is not open"
        assert http is not None, "the invoker is not open"
        return await http.post(await _signed(service, payload), payload, sending)


async def _resolve(options: LambdaOptions) -> _Service:
    """Ask the SDK for what an application has configured, as its own client would."""
    session = AioSession(profile=options.profile)
    # Another one for the endpoint: credentials may need other services, of which it knows little.
    finder = AioSession(profile=options.profile)
    finder.register_component("data_loader", _data())
    region = options.region
    credentials: Any = None
    if options.is_local:
        region = region or session.get_config_variable("region") or _LOCAL_REGION
        credentials = Credentials("local", "local")
    try:
        async with finder.create_client(
            _SERVICE,
            region_name=region,
            endpoint_url=options.endpoint,
            # It sends nothing.
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106  # none
        ) as client:
            endpoint, region = client.meta.endpoint_url, client.meta.region_name
        if credentials is None:
            credentials = await session.get_credentials()
    except (aws.NoRegionError, aws.InvalidRegionError) as error:
        raise InvalidURL(
            f"lambda://{options.display_name}: {error} Write ?region=eu-central-1 in the URL "
            "or set AWS_DEFAULT_REGION (the SDK for Python does not read AWS_REGION)."
        ) from error
    except aws.ProfileNotFound as error:
        raise InvalidURL(
            f"lambda://{options.display_name}: {error} Write ?profile= one of "
            f"{', '.join(session.available_profiles) or 'none: no profile is configured'}."
        ) from error
    url = f"{endpoint}/2015-03-31/functions/{quote(options.function, safe='')}/invocations"
    if options.qualifier:
        url += f"?Qualifier={quote(options.qualifier, safe='')}"
    proxy = get_environ_proxies(endpoint).get(endpoint.partition(":")[0])
    if proxy is not None and "://" not in proxy:
        proxy = f"http://{proxy}"
    trust = None
    if "https" in {address.partition(":")[0] for address in (endpoint, proxy or "")}:
        bundle = session.get_config_variable("ca_bundle")
        trust = _trusting(get_cert_path(bundle or True))
    return _Service(
        origin=Origin(url, trust, proxy),
        signer=Signer(url, region, _SERVICE),
        credentials=credentials,
    )


def _user_agent() -> str:
    """Return how the service's logs know the caller."""
    try:
        return f"odm-transports/{version('odm-transports')}"
    except PackageNotFoundError:  # a bundle without the distribution's metadata
        return "odm-transports"


async def _signed(service: _Service, payload: bytes) -> Mapping[str, str]:
    """Return the headers of a request."""
    credentials = service.credentials
    if credentials is None:
        raise aws.NoCredentialsError
    frozen = credentials.get_frozen_credentials()
    if isinstance(frozen, CoroutineType):  # all but the fixed ones of a local service
        frozen = await frozen
    headers = service.signer.headers(frozen, payload)
    if trace := invoke_header():
        headers["X-Amzn-Trace-Id"] = trace  # not signed: the SDK leaves it out, too
    return headers
