"""``configureFailPoint``.

Spec: https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point
"""

from __future__ import annotations

from transports.fake.commands.registry import command
from transports.fake.operation import Operation
from transports.fake.values import Document


@command("configureFailPoint", fields={"mode": "", "data": "object"}, admin_only=True, api_v1=False)
def run_configure_fail_point(operation: Operation) -> Document:
    """Turn a failpoint on or off: ``{"count": times it has fired}``."""
    command = operation.command
    failpoints = operation.server.failpoints
    return {
        "count": failpoints.configure(
            command["configureFailPoint"], command.get("mode"), command.get("data")
        )
    }
