"""The connections to the Lambda service, and the requests on them, signed.

An invoke is one signed POST. Building a request out of the service's model and parsing the response
by it, as the SDK does, costs more than the invoke itself, and is left out. What an application has
configured is the SDK's to find (`transports.lambda_invoke.service`).

Nothing is repeated here, and no redirect is followed: the function would run again.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

from typing import Self

from transports.driver import driver_info
from transports.lambda_invoke.envelope import MAX_PAYLOAD_BYTES
from transports.lambda_invoke.http_client import HttpClient, Response, Sending
from transports.lambda_invoke.options import LambdaOptions
from transports.lambda_invoke.service import Service, resolve


class Connections:
    """Sends invokes. An asynchronous context manager."""

    def __init__(self, options: LambdaOptions) -> None:
        self._options = options
        self._service: Service | None = None
        self._http: HttpClient | None = None

    async def __aenter__(self) -> Self:
        self._service = await resolve(self._options)
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
        return await http.post(await service.headers(payload), payload, sending)


def _user_agent() -> str:
    """Return how the service's logs know the caller."""
    known = driver_info()
    return f"{known.name}/{known.version}" if known.version else known.name
