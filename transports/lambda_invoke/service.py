"""The Lambda service as an application has configured it: asked of the SDK once, at opening.

Endpoint, region, profile, proxy, certificates, credentials and how they are refreshed are the SDK's
to find, as its own client would. What is loaded for it is little. Credentials that lie in the
environment, as in every Lambda function, are read there; only for others, which may have to be
asked for, is the asynchronous SDK imported: it brings an HTTP client, a third of a caller's
imports.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cache
from types import CoroutineType
from typing import Any
from urllib.parse import quote, urlsplit

from transports.errors import InvalidURL, MissingExtra
from transports.lambda_invoke.http_client import Origin
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.signing import Signer
from transports.lambda_invoke.tracing import invoke_header

try:
    from botocore import exceptions as aws
    from botocore.credentials import Credentials, EnvProvider
    from botocore.httpsession import get_cert_path
    from botocore.session import Session
    from botocore.utils import get_environ_proxies

    from transports.lambda_invoke.service_data import LambdaData
except ImportError as error:
    raise MissingExtra("lambda://", "aiobotocore", "lambda") from error

_SERVICE = "lambda"
_LOCAL_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Service:
    """What an application has configured, resolved.

    Attributes:
        origin: where the function is invoked.
        signer: signs what is posted there.
        credentials: the SDK's, which refresh themselves; None if there are none.
    """

    origin: Origin
    signer: Signer
    credentials: Any = field(repr=False)

    async def headers(self, payload: bytes) -> dict[str, str]:
        """Return the headers of a request that posts *payload*, its signature among them.

        Raises:
            botocore.exceptions.BotoCoreError: there are no credentials.
        """
        if self.credentials is None:
            raise aws.NoCredentialsError
        frozen = self.credentials.get_frozen_credentials()
        if isinstance(frozen, CoroutineType):  # of the asynchronous SDK
            frozen = await frozen
        headers = self.signer.headers(frozen, payload)
        if trace := invoke_header():
            headers["X-Amzn-Trace-Id"] = trace  # not signed: the SDK leaves it out, too
        return headers


async def resolve(options: LambdaOptions) -> Service:
    """Return what an application has configured for *options*.

    Raises:
        InvalidURL: the SDK does not take it; with what to write.
    """
    session = Session(profile=options.profile)
    try:
        return await _resolved(session, options)
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
    except aws.BotoCoreError as error:
        raise InvalidURL(
            f"lambda://{options.display_name}: AWS's SDK does not take its configuration, "
            f"the variables AWS_… and the files in ~/.aws: {error}"
        ) from error


async def _resolved(session: Session, options: LambdaOptions) -> Service:
    region = options.region
    if options.is_local:
        region = region or session.get_config_variable("region") or _LOCAL_REGION
    # One of its own: of services but this one it knows little.
    finder = Session(profile=options.profile)
    finder.register_component("data_loader", _data())
    client = finder.create_client(
        _SERVICE,
        region_name=region,
        endpoint_url=options.endpoint,
        # It sends nothing.
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106  # none
    )
    endpoint, region = client.meta.endpoint_url, client.meta.region_name
    client.close()
    url = f"{endpoint}/2015-03-31/functions/{quote(options.function, safe='')}/invocations"
    if options.qualifier:
        url += f"?Qualifier={quote(options.qualifier, safe='')}"
    return Service(
        origin=_origin(session, url),
        signer=Signer(url, region, _SERVICE),
        credentials=await _credentials(options),
    )


def _origin(session: Session, url: str) -> Origin:
    proxy = _proxy(url)
    trust = None
    if "https" in {address.partition(":")[0] for address in (url, proxy or "")}:
        bundle = session.get_config_variable("ca_bundle")
        trust = _trusting(get_cert_path(bundle or True))
    return Origin(url, trust, proxy)


def _proxy(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for *url*."""
    scheme = url.partition(":")[0]
    proxy: str | None = get_environ_proxies(url).get(scheme)
    if proxy is None:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none: a part of a password, perhaps
        fits = False
    if not fits:  # and is not shown
        raise InvalidURL(
            f"lambda://: the proxy in {scheme.upper()}_PROXY is no URL like "
            "http://user:password@host:port. Encode all but letters and digits of user and "
            "password by percent signs; proxies other than HTTP's are not supported."
        )
    return proxy


async def _credentials(options: LambdaOptions) -> Any:
    """Return the SDK's credentials, None if there are none."""
    if options.is_local:
        return Credentials("local", "local")
    if options.profile is None:  # then the environment comes first
        found = EnvProvider().load()
        if found is not None:
            return found
    try:
        from aiobotocore.session import AioSession
    except ImportError as error:
        raise MissingExtra("lambda://", "aiobotocore", "lambda") from error
    return await AioSession(profile=options.profile).get_credentials()


@cache
def _data() -> LambdaData:
    """Return the process's one reader of the SDK's data: reading is most of a client's cost."""
    return LambdaData()


@cache
def _trusting(certificates: str) -> ssl.SSLContext:
    """Return what trusts a file of certificates; reading those of the world takes 20 ms."""
    return ssl.create_default_context(cafile=certificates)
