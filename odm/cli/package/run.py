"""A bundle, run: its handler answers invocations in a process that has the bundle and no more.

Behind it is a MongoDB in memory, so that commands pass the whole of it: the envelope, the policy,
PyMongo's pool and its extension modules.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson

from odm.cli.package.broken import BrokenBundle
from odm.cli.package.build import Bundle
from odm.cli.package.interpreters import ISOLATED, Interpreter
from odm.cli.package.own import own_version
from odm.cli.proxy_function import HANDLER, POLICY_FILE
from transports import open_transport
from transports.lambda_invoke import envelope
from transports.lambda_invoke.bodies import Body
from transports.lambda_invoke.envelope import (
    CommandItem,
    DescribeItem,
    EnvelopeError,
    FailureResult,
    Item,
    MembersResult,
    ReplyResult,
    Response,
)

_SCRIPT = Path(__file__).with_name("serve_events.py")
_TIMEOUT_S = 60.0
_MAX_LINE_BYTES = 2 * envelope.MAX_PAYLOAD_BYTES
_ERROR_CHARS = 600
_DATABASE = "odm_package"
_UNAUTHORIZED = 13  # a policy may refuse even this, or mean the database of a URI to come
_PING = bytes(5) + bson.encode({"ping": 1, "$db": _DATABASE})


async def run(files: Mapping[str, bytes], bundle: Bundle, interpreter: Interpreter) -> float:
    """Have the bundle's *files* answer; return the milliseconds that the handler's import took.

    Raises:
        BrokenBundle: it does not start, does not answer, or takes something from elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="odm-package-") as directory:
        root = _unpack(files, Path(directory))
        async with open_transport(f"fake:///{_DATABASE}") as mongodb:
            variables = _variables(root, mongodb.uri, bundle)
            try:
                async with (
                    asyncio.timeout(_TIMEOUT_S),
                    _process(root, interpreter, variables) as it,
                ):
                    await _ping(it, bundle)
                    report = await it.report()
            except TimeoutError as error:
                raise BrokenBundle(f"it had not answered after {_TIMEOUT_S:.0f} s") from error
    return _judged(report, bundle)


def _unpack(files: Mapping[str, bytes], directory: Path) -> Path:
    root = directory.resolve() / "task"
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def _variables(root: Path, mongodb_uri: str, bundle: Bundle) -> dict[str, str]:
    """Return the whole environment: what AWS Lambda sets and the driver reads, and the settings."""
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{bundle.target.runtime}",
        "LAMBDA_TASK_ROOT": str(root),
        "TMPDIR": str(root.parent),
        "ODM_PROXY_MONGODB_URI": mongodb_uri,
    }
    # Without one, nothing is allowed: the URI names no database.
    variables["ODM_PROXY_POLICY"] = POLICY_FILE if bundle.has_policy else "unrestricted"
    return variables


async def _ping(it: _Process, bundle: Bundle) -> None:
    described = (await it.invoke([DescribeItem()])).results[0]
    if not isinstance(described, MembersResult) or not described.members:
        raise BrokenBundle(f"it does not find MongoDB: {_told(described)}")
    item = CommandItem(described.members[0][0], Body(_PING))
    response = await it.invoke([item, item])
    for result in response.results:
        answer = bson.decode(result.reply.data) if isinstance(result, ReplyResult) else {}
        refused = bundle.has_policy and answer.get("code") == _UNAUTHORIZED
        if answer.get("ok") != 1 and not refused:
            raise BrokenBundle(f"it does not answer a ping: {_told(result)}")
    if response.function.release != own_version():
        raise BrokenBundle(f"it takes itself for release {response.function.release}")


def _told(result: object) -> str:
    match result:
        case FailureResult():
            return result.message
        case ReplyResult(reply):
            return str(bson.decode(reply.data).get("errmsg"))
    return "it answers something else"


def _judged(report: dict[str, Any], bundle: Bundle) -> float:
    if report["stray"]:
        raise BrokenBundle(f"it takes modules from elsewhere: {', '.join(report['stray'])}")
    if not report["c_extensions"]:
        raise BrokenBundle("PyMongo does not load its extension modules: it would be slow")
    if bundle.bytecode and report["compiled_anew"]:
        raise BrokenBundle(f"bytecode is not taken of {', '.join(report['compiled_anew'])}")
    return float(report["import_ms"])


class _Process:
    """The handler's process: a line in, a line out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout

    async def invoke(self, items: list[Item]) -> Response:
        """Invoke the handler once."""
        self._stdin.write(envelope.encode_request(items) + b"\n")
        answer = await self._line()
        try:
            return envelope.decode_response(answer, expected=len(items))
        except EnvelopeError as error:
            raise BrokenBundle(f"its answer is not understood: {error}") from error

    async def report(self) -> dict[str, Any]:
        """End it, and return what it says of itself."""
        self._stdin.close()
        report: dict[str, Any] = json.loads(await self._line())
        return report

    async def _line(self) -> bytes:
        line = await self._stdout.readline()
        if not line.endswith(b"\n"):
            assert self._process.stderr is not None
            words = (await self._process.stderr.read()).decode(errors="replace").strip()
            reason = words.rpartition("\n")[2][:_ERROR_CHARS]  # a traceback's last line
            raise BrokenBundle(f"its handler does not run: {reason or 'it says nothing'}")
        return line


@asynccontextmanager
async def _process(
    root: Path, interpreter: Interpreter, variables: Mapping[str, str]
) -> AsyncIterator[_Process]:
    process = await asyncio.create_subprocess_exec(
        interpreter.path,
        *(*ISOLATED, _SCRIPT, root, HANDLER),
        cwd=root,
        env=variables,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
    )
    try:
        yield _Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
