"""A handler around another one, that notes when it got how far from import to reply.

``ODM_BENCH_HANDLER`` names the other one, ``ODM_BENCH_IMPORTS`` modules that it imports. Its import
makes its client, so they are imported before: the driver, then ours, then the rest. The times go
back in the first response, ``{"stamps": [[name, ns], …], "response": …}``.

It stands alone: the process has this directory, `transports` and PyMongo.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from stamps import STAMPS, stamp  # type: ignore[import-not-found]  # beside this file

stamp("runtime client")

from pymongo import monitoring  # noqa: E402  # what is measured

stamp("driver")


class _Searching(monitoring.ServerHeartbeatListener):
    def started(self, event: Any) -> None:
        stamp("searching")

    def succeeded(self, event: Any) -> None:
        stamp("found")

    def failed(self, event: Any) -> None:
        stamp("not found")


class _Connecting(monitoring.ConnectionPoolListener):
    def connection_created(self, event: Any) -> None:
        stamp("connecting")

    def connection_ready(self, event: Any) -> None:
        stamp("connected")

    def _ignore(self, event: Any) -> None:
        pass

    pool_created = pool_ready = pool_cleared = pool_closed = connection_closed = _ignore
    connection_check_out_started = connection_check_out_failed = _ignore
    connection_checked_out = connection_checked_in = _ignore


class _Authenticating(monitoring.CommandListener):
    def started(self, event: Any) -> None:
        if event.command_name.startswith("sasl"):
            stamp("authenticating")

    def succeeded(self, event: Any) -> None:
        pass

    failed = succeeded


for listener in (_Searching(), _Connecting(), _Authenticating()):
    monitoring.register(listener)
for module in os.environ["ODM_BENCH_IMPORTS"].split():
    import_module(module)
stamp("modules")
_module, _, _name = os.environ["ODM_BENCH_HANDLER"].rpartition(".")
_handle = getattr(import_module(_module), _name)
stamp("initialised")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Have the other handler answer, and tell when it did."""
    stamp("event")
    response = _handle(event, context)
    stamp("answered")
    return {"stamps": STAMPS, "response": response}
