"""Asking AWS: clients with short time-outs, and what a refusal means for what could be seen.

Every call is one question of its own. A question that is not answered makes its fact `Unseen`,
with the permission that would have answered it; it ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from odm.cli.doctor.facts import Unreachable, Unseen
from transports.errors import MissingExtra
from transports.lambda_invoke.options import LambdaOptions
from transports.url import redact

try:
    import boto3
    from botocore import exceptions as refusals
    from botocore.config import Config
except ImportError as error:
    raise MissingExtra("odm doctor", "boto3", "lambda") from error

_T = TypeVar("_T")

CALL_TIMEOUT_S = 5
"""Seconds to connect and seconds to read, for one of two attempts of a call."""

_DENIED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized")
_UNKNOWN_TO_LOCAL = ("404", "405", "501", "UnknownOperationException", "InternalFailure")
_BAD_CREDENTIALS = (
    "UnrecognizedClientException",
    "ExpiredToken",
    "InvalidSignatureException",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
)


@dataclass(slots=True)
class Aws:
    """The account that a URL leads to.

    Args:
        options: of the ``lambda://`` URL.

    Raises:
        Unreachable: the profile does not exist, or no region is known.
    """

    options: LambdaOptions
    unreachable: Unreachable | None = None
    _session: Any = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._session = boto3.Session(
                profile_name=self.options.profile, region_name=self.options.region
            )
        except refusals.BotoCoreError as error:
            raise Unreachable(_words(error)) from error

    @property
    def region(self) -> str | None:
        """The region that calls go to."""
        region = self._session.region_name
        return region if isinstance(region, str) else None

    def client(self, service: str) -> Any:
        """Return a client of *service*; the URL's endpoint is the Lambda service's."""
        arguments: dict[str, Any] = {}
        if service == "lambda" and self.options.endpoint:
            arguments["endpoint_url"] = self.options.endpoint
        if self.options.is_local:
            arguments["region_name"] = self.region or "us-east-1"
            if self._session.get_credentials() is None:
                arguments |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        try:
            return self._session.client(
                service,
                config=Config(
                    connect_timeout=CALL_TIMEOUT_S,
                    read_timeout=CALL_TIMEOUT_S,
                    retries={"total_max_attempts": 2},
                ),
                **arguments,
            )
        except (refusals.BotoCoreError, ValueError) as error:
            self.unreachable = Unreachable(_words(error))
            raise self.unreachable from error

    def ask(
        self,
        call: Callable[[], _T],
        permission: str,
        *,
        missing: Callable[[], _T] | None = None,
        apart: bool = False,
    ) -> _T | Unseen:
        """Return what *call* returns, or why it could not be seen.

        Args:
            call: one or more calls of a client.
            permission: the IAM action that they need.
            missing: what it means that AWS knows no such thing; None if that is a refusal, too.
            apart: it is another service's than AWS Lambda's, whose silence says nothing of that.
        """
        if self.unreachable is not None:
            return self.unreachable
        try:
            return call()
        except refusals.ClientError as error:
            return self._refused(error, permission, missing)
        except refusals.BotoCoreError as error:
            if apart:
                return Unseen(_words(error), permission)
            self.unreachable = Unreachable(_words(error))
            return self.unreachable

    def _refused(
        self,
        error: Any,
        permission: str,
        missing: Callable[[], _T] | None,
    ) -> _T | Unseen:
        code = str(error.response.get("Error", {}).get("Code", ""))
        operation = getattr(error, "operation_name", permission)
        if missing is not None and "NotFound" in code:
            return missing()
        if any(sign in code for sign in _DENIED):
            return Unseen(f"{operation} was denied: grant {permission}", permission)
        if any(sign in code for sign in _BAD_CREDENTIALS):
            self.unreachable = Unreachable(_words(error))
            return self.unreachable
        if self.options.endpoint and code in _UNKNOWN_TO_LOCAL:
            return Unseen(f"{redact(self.options.endpoint)} does not answer {operation}")
        return Unseen(f"{operation}: {_words(error)}")


def _words(error: Exception) -> str:
    return redact(str(error).strip()) or type(error).__name__
