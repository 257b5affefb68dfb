"""What a function's process finds around it: variables, directories, the interpreter.

Owns the list of environment variables that AWS documents, unpacking of ``.zip`` code, and the
question where ``awslambdaric`` lives. Specification:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from transports.errors import MissingExtra
from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.qualifiers import Account

# Prints the version and, if it is there, where the runtime client is.
_PROBE = """
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("awslambdaric")
print("%d.%d.%d" % sys.version_info[:3], pathlib.Path(spec.origin).parent.parent if spec else "")
"""
_PROBE_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A function's code and interpreter, ready to run; shared by its environments.

    Raises nothing; made by :func:`prepare`.
    """

    interpreter: Path
    python_version: str
    runtime_directory: Path
    code: tuple[Path, ...]

    @property
    def task_root(self) -> Path:
        """The working directory."""
        return self.code[0]

    def variables(
        self,
        configuration: FunctionConfiguration,
        account: Account,
        *,
        version: str,
        environment_id: str,
        runtime_api: str,
        temporary: Path,
    ) -> dict[str, str]:
        """Return the whole environment of a process; the parent's is not inherited."""
        minor = ".".join(self.python_version.split(".")[:2])
        # As the read-only /var/task: without it, code rewritten within a second would be hidden
        # by its own stale bytecode.
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "local-lambda-has-no-secret",
            "AWS_SESSION_TOKEN": "local-lambda-has-no-session",
        }
        variables.update(configuration.environment)
        path = [*map(str, self.code), str(self.runtime_directory)]
        if inherited := variables.get("PYTHONPATH"):
            path.append(inherited)
        variables.update(
            {
                "PYTHONPATH": os.pathsep.join(path),
                "_HANDLER": configuration.handler,
                "AWS_REGION": account.region,
                "AWS_DEFAULT_REGION": account.region,
                "AWS_EXECUTION_ENV": f"AWS_Lambda_python{minor}",
                "AWS_LAMBDA_FUNCTION_NAME": configuration.name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory_size_mb),
                "AWS_LAMBDA_FUNCTION_VERSION": version,
                "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{configuration.name}",
                "AWS_LAMBDA_LOG_STREAM_NAME": log_stream_name(version, environment_id),
                "AWS_LAMBDA_RUNTIME_API": runtime_api,
                "LAMBDA_TASK_ROOT": str(self.task_root),
                "LAMBDA_RUNTIME_DIR": str(self.runtime_directory),
            }
        )
        variables.update(_initialization(configuration, version))
        if configuration.is_restored(version):  # AWS: not available in SnapStart functions
            del variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]
        return variables


def _initialization(configuration: FunctionConfiguration, version: str) -> dict[str, str]:
    kind = "AWS_LAMBDA_INITIALIZATION_TYPE"
    if configuration.is_restored(version):
        return {kind: "snap-start"}
    if (processes := configuration.per_execution_environment_max_concurrency) is not None:
        return {kind: "lambda-managed-instances", "AWS_LAMBDA_MAX_CONCURRENCY": str(processes)}
    return {kind: "on-demand"}


def log_stream_name(version: str, environment_id: str) -> str:
    """E.g. ``2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef``."""
    return f"{datetime.now(UTC):%Y/%m/%d}/[{version}]{environment_id}"


async def prepare(configuration: FunctionConfiguration, directory: Path) -> Sandbox:
    """Unpack the code below ``directory`` and find the runtime client.

    Raises:
        OSError: the interpreter cannot be run, or the code not be unpacked.
        MissingExtra: the interpreter has no ``awslambdaric``.
    """
    code = await asyncio.to_thread(_unpack, configuration.code, directory)
    version, runtime_directory = await _probe(configuration.interpreter)
    return Sandbox(configuration.interpreter, version, runtime_directory, code)


def require_runtime_client() -> None:
    """Raise MissingExtra if the own interpreter has no ``awslambdaric``."""
    if importlib.util.find_spec("awslambdaric") is None:
        raise MissingExtra("transports.local_lambda", "awslambdaric", "local")


def _unpack(code: tuple[Path, ...], directory: Path) -> tuple[Path, ...]:
    directories = []
    for number, path in enumerate(code):
        target = path
        if not path.is_dir():
            target = directory / str(number)
            target.mkdir(parents=True)
            with zipfile.ZipFile(path) as archive:
                archive.extractall(target)
        directories.append(target)
    if not directories:
        target = directory / "empty"
        target.mkdir(parents=True)
        directories.append(target)
    return tuple(directories)


async def _probe(interpreter: Path) -> tuple[str, Path]:
    if interpreter == Path(sys.executable):
        spec = importlib.util.find_spec("awslambdaric")
        if spec is None or spec.origin is None:
            raise MissingExtra("transports.local_lambda", "awslambdaric", "local")
        return ".".join(map(str, sys.version_info[:3])), Path(spec.origin).parent.parent
    process = await asyncio.create_subprocess_exec(
        str(interpreter),
        "-c",
        _PROBE,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _PROBE_TIMEOUT_S)
    except BaseException:
        process.kill()
        raise
    version, _, found = output.decode().strip().partition(" ")
    if not version:
        raise OSError(f"{interpreter} is not a Python that can run a function")
    if not found:
        raise MissingExtra(f"{interpreter} as a function's Python", "awslambdaric", "local")
    return version, Path(found)
