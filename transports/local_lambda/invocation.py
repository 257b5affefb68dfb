"""One invocation on its way through an execution environment.

Owns what travels: the event, the identity that the Runtime API hands to the function, and the
outcome. Specification: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from transports.local_lambda.faults import Outcome


@dataclass(slots=True, eq=False)
class Invocation:
    """An event for a function.

    Args:
        request_id: ``x-amzn-RequestId``; the function sees it as ``context.aws_request_id``.
        payload: JSON, as the caller sent it.
        function_arn: the ARN that was invoked, with its qualifier if there was one.
        version: the version that runs it.
        client_context: JSON, or empty.
        trace_id: ``X-Amzn-Trace-Id``.
        want_log: whether the last 4 KB of the log are to be kept.
    """

    request_id: str
    payload: bytes
    function_arn: str
    version: str
    client_context: str = ""
    trace_id: str = ""
    want_log: bool = False

    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    log_tail: bytes = b""
    deadline: float | None = None
    """The loop's time at which it times out; set at delivery, or before a repeated init phase."""
    deadline_epoch_ms: int = 0
    started: float = 0.0
    log_offset: int = 0

    def undelivered(self) -> None:
        """Make it ready to be given to another environment."""
        self.outcome = asyncio.get_running_loop().create_future()

    @property
    def runtime_headers(self) -> dict[str, str]:
        """The headers of ``/runtime/invocation/next``."""
        headers = {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(self.deadline_epoch_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self.function_arn,
            "Lambda-Runtime-Trace-Id": self.trace_id,
        }
        if self.client_context:
            headers["Lambda-Runtime-Client-Context"] = self.client_context
        return headers
