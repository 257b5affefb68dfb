"""Errors of the transports.

What the server says stays what it is: a reply, raised by the driver as the driver's own
exception. These are the failures that no server reports: a URL that means nothing, a package
that is not installed, a deployment that nobody answers for, an invoke that did not arrive.

::

    TransportError
    ├── InvalidURL            (also a ValueError)       the URL cannot be understood
    ├── MissingExtra          (also an ImportError)     a package is missing
    ├── ServerUnreachable     (also a ConnectionError)  nothing answered at open()
    ├── AuthenticationRefused (also a PermissionError)  the credentials were not accepted at open()
    ├── TransportClosed       (also a RuntimeError)     used before open() or after aclose()
    ├── WrongEventLoop        (also a RuntimeError)     used in another event loop than opened in
    ├── OpenedBeforeFork      (also a RuntimeError)     used in a forked child of the process
    └── CarriageError                                   a command was not carried there and back
        └── ConnectionLost                              the server's connection broke
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import PurePath


class TransportError(Exception):
    """The root of everything that `transports` raises itself."""


class InvalidURL(TransportError, ValueError):
    """The URL cannot be understood; the message says what to write instead."""


class MissingExtra(TransportError, ImportError):
    """A transport needs a package that is not installed.

    Args:
        what: what was asked for, e.g. ``"lambda://"``.
        package: the distribution that is missing, e.g. ``"aiobotocore"``.
        extra: the extra of this distribution that brings it, e.g. ``"lambda"``.
        otherwise: what else would do, where the extra does not help everybody.
    """

    def __init__(self, what: str, package: str, extra: str, *, otherwise: str = "") -> None:
        super().__init__(
            f"{what} needs the package {package!r}, which is not installed: "
            f"pip install 'odm-transports[{extra}]' {otherwise}".rstrip()
        )
        self.package = package
        self.extra = extra


class ServerUnreachable(TransportError, ConnectionError):
    """Nothing answered within the time allowed when the transport was opened."""


class AuthenticationRefused(TransportError, PermissionError):
    """The deployment answered and refused the URL's credentials when the transport was opened."""


class TransportClosed(TransportError, RuntimeError):
    """The transport was used before ``open()`` or after ``aclose()``."""


class WrongEventLoop(TransportError, RuntimeError):
    """Used in another event loop than the one it was opened in; the message says what to do."""


class OpenedBeforeFork(TransportError, RuntimeError):
    """Used in a child that was forked when it was open; the message says what to do."""


class CarriageError(TransportError):
    """A command could not be carried to a server and back.

    An endpoint turns it into the reply that a server in that place would give, so that the driver
    raises its own exception: ``{"ok": 0.0, "errmsg": …, "code": …, "codeName": …,
    "errorLabels": […]}``.

    Args:
        message: the cause in words; names the function, the command and what happened.
        code: a MongoDB error code, e.g. 6 (HostUnreachable), 89 (NetworkTimeout).
        code_name: its name in the server's list of error codes.
        labels: error labels, e.g. ``"RetryableWriteError"``, ``"TransientTransactionError"``.
    """

    def __init__(
        self, message: str, *, code: int, code_name: str, labels: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.code_name = code_name
        self.labels = tuple(labels)

    def __repr__(self) -> str:
        labels = f", labels={list(self.labels)}" if self.labels else ""
        return f"CarriageError({self.code} {self.code_name}: {self.message}{labels})"


class ConnectionLost(CarriageError):
    """The connection to the server broke while it had the command.

    An endpoint closes the client's connection in turn: the driver then raises what it raises for a
    connection of its own (``AutoReconnect``), adds its own labels, and looks at the server anew.
    """


def origin(error: BaseException) -> str:
    """Return what a log may say of an *error* that nobody expected: its type, and where it arose.

    Not its message and no traceback, which repeats it: codecs and drivers quote documents and
    addresses there. ``"KeyError at cursors.py:44 < backend.py:101"``, the innermost first.
    """
    lines = [
        f"{PurePath(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    where = " < ".join(reversed(lines[-5:]))
    return f"{type(error).__name__} at {where}" if where else type(error).__name__
