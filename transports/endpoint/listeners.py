"""Where an endpoint listens: one private unix socket or one port for each member.

Knows directories, permissions and sockets; nothing of what is said over them.

A unix socket lies in a directory of mode 0700 and has mode 0600, so that only this user reaches
it. A port is reached by every user of the machine; and who may rename what lies in a directory may
put a socket of their own in the place of ours: `is_private` tells where. A path is all lower case,
because drivers put addresses from ``hello`` in lower case, ends in ``.sock``, by which they tell it
from a host, and fits ``sockaddr_un``.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import shutil
import socket
import stat
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
MAX_PATH_BYTES = 103
"""``sun_path`` holds 104 bytes on BSD and macOS and 108 on Linux, its zero byte included."""

_BACKLOG = 1024
_LONGEST_NAME = "/m999.sock"


class ListenError(OSError):
    """The endpoint cannot listen there; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """A parsed ``listen``: a socket path, or host and port."""

    path: str | None = None
    host: str = ""
    port: int = 0

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_listen(listen: str) -> ListenAddress:
    """Parse ``127.0.0.1:27018``, ``[::1]:27018`` or ``/path/x.sock``.

    Raises:
        ValueError: it is neither; the message says what to write.
    """
    if listen.endswith(".sock") or "/" in listen:
        _check_path(listen)
        return ListenAddress(path=listen)
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535 or not host:
        raise ValueError(
            f"cannot listen on {listen!r}: write '127.0.0.1:27018' or '/path/name.sock'"
        )
    return ListenAddress(host=host.removeprefix("[").removesuffix("]"), port=int(port))


def _check_path(path: str) -> None:
    if not Path(path).is_absolute() or not path.endswith(".sock") or path != path.lower():
        raise ValueError(
            f"cannot listen on {path!r}: a socket's path must be absolute, all lower case "
            "(drivers put addresses in lower case) and end in '.sock'"
        )
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ValueError(f"cannot listen on {path!r}: longer than {MAX_PATH_BYTES} bytes")


def is_private(listen: ListenAddress | None) -> bool:
    """Whether nobody but this user and root can connect there, or listen in its place."""
    if listen is None:
        return HAS_UNIX_SOCKETS and _is_out_of_reach(_temporary_directory())
    return listen.path is not None and _is_out_of_reach(Path(listen.path).parent)


def private_directory() -> Path:
    """Make a directory of mode 0700 whose name suits sockets, in the temporary directory."""
    # mkdtemp() makes it with that mode, never wider, and never takes one that is there.
    return Path(tempfile.mkdtemp(prefix="odm-", dir=_temporary_directory()))


def _temporary_directory() -> Path:
    """Return the one of this process, or of POSIX where that is too long or has upper case."""
    suitable = [p for p in map(Path, (tempfile.gettempdir(), "/tmp")) if _suits_sockets(p)]  # noqa: S108 - made private
    return next(filter(_is_out_of_reach, suitable), suitable[0])


def _suits_sockets(parent: Path) -> bool:
    path = f"{parent}/odm-12345678{_LONGEST_NAME}"
    return path == path.lower() and len(os.fsencode(path)) <= MAX_PATH_BYTES


def _is_out_of_reach(directory: Path) -> bool:
    """Whether no other user can rename *directory*, a directory above it, or what lies in it."""
    if os.name != "posix":
        return True  # access is by inherited lists there, not by mode
    try:
        real = directory.resolve(strict=True)
        above = {directory, *directory.parents, real, *real.parents}
        return all(_is_left_alone(path.stat()) for path in above)
    except OSError:
        return False


def _is_left_alone(status: os.stat_result) -> bool:
    theirs = status.st_uid not in (0, os.geteuid())
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not theirs and (not writable or bool(status.st_mode & stat.S_ISVTX))


def bind_unix(path: str) -> socket.socket:
    """Return a socket bound to *path* with mode 0600; one left behind by the dead is replaced.

    Raises:
        ListenError: something else is there, or somebody listens on it.
    """
    _remove_dead_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):  # Linux gives the path the mode of the descriptor
            os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
        if stat.S_IMODE(Path(path).lstat().st_mode) != 0o600:
            Path(path).chmod(0o600)  # before listen(): nobody can have connected yet
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise ListenError(exc.errno, f"cannot listen on {path}: {exc.strerror}") from exc
    return sock


def _remove_dead_socket(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(errno.EEXIST, f"cannot listen on {path}: it exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise ListenError(errno.EADDRINUSE, f"cannot listen on {path}: somebody else does")


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a socket listening on *host* and *port*, 0 for any free one.

    Raises:
        ListenError: the address is taken, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ListenError(exc.errno, f"cannot listen on {host}:{port}: {reason}") from exc
    return sock


class Addresses:
    """Hands out the sockets of an endpoint, one after another, and removes what it made.

    Args:
        listen: where the first one goes; None for a private directory, or loopback ports where
            the platform has no unix sockets.
    """

    def __init__(self, listen: ListenAddress | None) -> None:
        self._listen = listen
        self._directory: Path | None = None
        self._removal: weakref.finalize[..., Addresses] | None = None
        self._count = 0
        self._paths: set[str] = set()
        self._owner = os.getpid()

    def bind(self) -> tuple[socket.socket, str]:
        """Return the next listening socket and its address as a driver writes it.

        Raises:
            ListenError: it cannot be had.
        """
        index, listen = self._count, self._listen
        if listen is not None and listen.path is None:
            sock = bind_tcp(listen.host, listen.port if index == 0 else 0)
            address = _host_and_port(listen.host, sock.getsockname()[1])
        elif listen is None and not HAS_UNIX_SOCKETS:
            sock = bind_tcp("127.0.0.1", 0)
            address = _host_and_port("127.0.0.1", sock.getsockname()[1])
        else:
            address = self._path(index)
            sock = bind_unix(address)
            self._paths.add(address)
        self._count += 1
        return sock, address

    def release(self, address: str) -> None:
        """Remove the socket of *address* from the file system, if it lies there."""
        if address in self._paths and os.getpid() == self._owner:  # and not a forked child's
            self._paths.discard(address)
            with contextlib.suppress(OSError):
                Path(address).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove every socket and the directory. Idempotent."""
        for address in tuple(self._paths):
            self.release(address)
        if self._removal is not None:
            self._removal()

    def _path(self, index: int) -> str:
        if self._listen is not None:
            assert self._listen.path is not None
            path = self._listen.path
            # Further members stand beside the first: /run/x.sock, /run/x.m1.sock, …
            path = path if index == 0 else f"{path.removesuffix('.sock')}.m{index}.sock"
            _check_path(path)
            return path
        if self._directory is None:
            self._directory = private_directory()
            # Also at the exit of an application that does not close what it opens.
            self._removal = weakref.finalize(self, _remove, self._directory, os.getpid())
        return str(self._directory / f"m{index}.sock")


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child shares the directory and must leave it
        shutil.rmtree(directory, ignore_errors=True)


def _host_and_port(host: str, port: int) -> str:
    # What listens on every interface is told to drivers of this machine by one they can reach.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host).lower()  # noqa: S104 - compared
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
