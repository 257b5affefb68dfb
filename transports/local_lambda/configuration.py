"""What a function is, in AWS's words, and the limits that AWS Lambda sets.

Owns the value object that describes a function and its validation. Knows nothing of processes.
Specification: https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html and
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

MAX_PAYLOAD_BYTES = 6_291_456
"""A synchronous invocation's payload, each way."""
MAX_EVENT_PAYLOAD_BYTES = 1_048_576
"""An asynchronous invocation's payload (262,144 until October 2025)."""
MAX_CLIENT_CONTEXT_BYTES = 3_583
MAX_TIMEOUT_S = 900
MAX_UNZIPPED_BYTES = 262_144_000
LATEST = "$LATEST"
LONG_INIT_TIMEOUT_S = 130.0
"""The least that Managed Instances, and the taking of a snapshot, have for the init code."""
_MAX_PROCESSES = 1_600

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_ALIAS = re.compile(r"(?!\d+$)[a-zA-Z0-9-_]{1,128}")
_VERSION = re.compile(r"\$LATEST|[1-9][0-9]*")

RESERVED_ENVIRONMENT = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""Variables a function cannot set, as on AWS. Credentials, which AWS reserves as well, can be
given here: they stand for the execution role."""


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class FunctionConfiguration:
    """A function and how it runs.

    Args:
        name: 1 to 64 of ``[a-zA-Z0-9-_]``.
        handler: ``module.function``, e.g. ``"app.handler"``.
        code: directories or ``.zip`` files for the import path. The first is the working directory
            and ``LAMBDA_TASK_ROOT``; the others are what layers are on AWS.
        environment: the function's environment variables. Values never appear in ``repr``.
        memory_size_mb: 128 to 10,240. An environment that grows beyond it is killed.
        timeout_s: how long one invocation may take, up to 900. Fractions are allowed, for tests.
        init_timeout_s: how long the init phase may take; 10 on AWS.
        reserved_concurrency: invocations at one time; None draws on the account's concurrency,
            0 throttles every invocation.
        python: the interpreter, by default the one that runs the local Lambda. Another one must
            have ``awslambdaric`` installed.
        aliases: alias → ``"$LATEST"`` or a version number. There is one code behind all of them;
            the version is what the function and the caller are told.
        idle_timeout_s: an environment idle for so long is shut down.
        has_extension: AWS sends SIGTERM at shutdown only to functions with an extension (Lambda
            Insights is one); the others are ended without a word.
        snap_start: environments of published versions, not those of ``$LATEST``, are copies of one
            process that has initialised.
        per_execution_environment_max_concurrency: the function runs on Lambda Managed Instances:
            an environment has so many processes, each with an invocation of its own.

    Raises:
        ValueError: something of it AWS would not accept, or a code path that is not there.
    """

    name: str
    handler: str
    code: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=_empty, repr=False)
    memory_size_mb: int = 128
    timeout_s: float = 3
    init_timeout_s: float = 10
    reserved_concurrency: int | None = None
    python: Path | None = None
    aliases: Mapping[str, str] = field(default_factory=_empty)
    idle_timeout_s: float = 300
    has_extension: bool = True
    snap_start: bool = False
    per_execution_environment_max_concurrency: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", tuple(Path(path).absolute() for path in self.code))
        object.__setattr__(self, "environment", MappingProxyType(dict(self.environment)))
        object.__setattr__(self, "aliases", MappingProxyType(dict(self.aliases)))
        self._check_names()
        self._check_limits()
        self._check_concurrency()
        for path in self.code:
            _check_code(path)
        reserved = sorted(RESERVED_ENVIRONMENT & self.environment.keys())
        if reserved:
            raise ValueError(
                f"environment of {self.name!r}: {', '.join(reserved)} are reserved by AWS Lambda, "
                "which sets them itself: leave them out"
            )

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"function name {self.name!r}: write 1 to 64 of a-z A-Z 0-9 - _")
        if not self.handler or len(self.handler) > 128 or re.search(r"\s", self.handler):
            raise ValueError(f"handler {self.handler!r}: write module.function, e.g. 'app.handler'")
        for alias, version in self.aliases.items():
            if not _ALIAS.fullmatch(alias):
                raise ValueError(f"alias {alias!r}: write letters, digits, - and _, not a number")
            if not _VERSION.fullmatch(version):
                raise ValueError(f"alias {alias!r} → {version!r}: write '$LATEST' or a number")

    def _check_limits(self) -> None:
        if not 128 <= self.memory_size_mb <= 10_240:
            raise ValueError(f"memory_size_mb={self.memory_size_mb}: write 128 to 10240")
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(f"timeout_s={self.timeout_s}: write more than 0, up to 900")
        if not 0 < self.init_timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(f"init_timeout_s={self.init_timeout_s}: write more than 0, up to 900")
        if self.idle_timeout_s <= 0:
            raise ValueError(f"idle_timeout_s={self.idle_timeout_s}: write more than 0")

    def _check_concurrency(self) -> None:
        if self.reserved_concurrency is not None and self.reserved_concurrency < 0:
            raise ValueError(
                f"reserved_concurrency={self.reserved_concurrency}: write 0 or more, or None"
            )
        processes = self.per_execution_environment_max_concurrency
        if processes is None:
            return
        if not 1 <= processes <= _MAX_PROCESSES:
            raise ValueError(
                f"per_execution_environment_max_concurrency={processes}: write 1 to "
                f"{_MAX_PROCESSES}, or None for no Managed Instances"
            )
        if self.snap_start:
            raise ValueError("snap_start: Lambda Managed Instances have no SnapStart: leave it out")

    @property
    def interpreter(self) -> Path:
        """The Python that runs the function."""
        return self.python if self.python is not None else Path(sys.executable)

    @property
    def init_limit_s(self) -> float:
        """How long the init phase, or the restore of a snapshot, may take."""
        if self.per_execution_environment_max_concurrency is None:
            return self.init_timeout_s
        return max(LONG_INIT_TIMEOUT_S, self.timeout_s)

    def is_restored(self, version: str) -> bool:
        """Whether environments of a version are made of a snapshot."""
        return self.snap_start and version != LATEST

    @property
    def versions(self) -> frozenset[str]:
        """``$LATEST`` and every version an alias points to."""
        return frozenset({LATEST, *self.aliases.values()})


def _check_code(path: Path) -> None:
    if path.is_dir():
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise ValueError(f"code {str(path)!r}: neither a directory nor a .zip file")
    with zipfile.ZipFile(path) as archive:
        unzipped = sum(member.file_size for member in archive.infolist())
    if unzipped > MAX_UNZIPPED_BYTES:
        raise ValueError(
            f"code {str(path)!r}: {unzipped} bytes unzipped, must be smaller than "
            f"{MAX_UNZIPPED_BYTES} bytes"
        )
