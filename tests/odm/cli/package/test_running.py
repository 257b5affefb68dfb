"""The zip in AWS's own emulator and on the local Lambda, in front of a real server.

The interpreter has AWS's runtime client and nothing else; the caller is this process, with all of
its packages.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import bson
import pytest
from pymongo.errors import OperationFailure

from odm.cli import proxy_function
from odm.cli.package.build import Bundle
from odm.cli.package.target import Target
from tests.transports.lambda_invoke.emulator import emulated
from transports import open_transport
from transports.lambda_invoke import envelope
from transports.lambda_invoke.envelope import MembersResult, ReplyResult, Result
from transports.lambda_invoke.transport import LambdaTransport
from transports.local_lambda import FunctionConfiguration, LocalLambda

Patch = Callable[[Mapping[str, bytes | None]], Path]
Bundled = Callable[[Path], FunctionConfiguration]
Use = Callable[[LocalLambda], Awaitable[str]]


async def test_the_bundle_serves_under_the_runtime_interface_emulator(
    bundle_zip: Path, bare_python: Path, mongod_uri: str, tmp_path: Path
) -> None:
    task = tmp_path / "task"
    with zipfile.ZipFile(bundle_zip) as archive:
        archive.extractall(task)
    environment = {
        "PATH": os.defpath,
        "LAMBDA_TASK_ROOT": str(task),
        "ODM_PROXY_MONGODB_URI": mongod_uri,
        "ODM_PROXY_POLICY": "unrestricted",
    }
    async with (
        emulated(
            bare_python, "-B", task_root=task, directory=tmp_path, environment=environment
        ) as endpoint,
        open_transport(f"lambda://function/bundled?endpoint={endpoint}") as transport,
    ):
        things = transport.database.things
        await things.insert_many([{"_id": i} for i in range(10)])
        assert len(await things.find({}, batch_size=3).to_list()) == 10
        await transport.client.drop_database("bundled")
        assert isinstance(transport, LambdaTransport)
        assert transport.function is not None
        assert transport.function.release == version("odm-transports")


async def test_the_bundle_serves_on_the_local_lambda(
    bundle_zip: Path, bundled: Bundled, use: Use
) -> None:
    async with LocalLambda([bundled(bundle_zip)]) as service:
        assert await use(service) == version("odm-transports")


async def test_without_the_bundle_that_interpreter_has_nothing_to_serve_with(
    bare_python: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(bare_python, "-c", "import awslambdaric, pymongo"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert b"No module named 'pymongo'" in stderr


@pytest.mark.parametrize("release", ["0.0.1", "0.1.99", "7.0.0.dev1"])
async def test_a_function_of_another_release_serves_this_caller(
    bundle: Bundle, patched: Patch, bundled: Bundled, use: Use, release: str
) -> None:
    about = [path for path in bundle.files if path.startswith("odm_transports-")]
    metadata = f"Metadata-Version: 2.1\nName: odm-transports\nVersion: {release}\n".encode()
    there = {f"odm_transports-{release}.dist-info/METADATA": metadata}
    code = patched({**dict.fromkeys(about), **there})
    async with LocalLambda([bundled(code)]) as service:
        assert await use(service) == release


async def test_fields_that_either_end_does_not_know_are_passed_over(
    bundle_zip: Path, bundled: Bundled
) -> None:
    """A later caller's envelope is understood, and so is a later function's answer."""
    async with (
        LocalLambda([bundled(bundle_zip)]) as service,
        aiohttp.ClientSession(service.endpoint_url) as session,
    ):

        async def invoke(item: dict[str, Any]) -> dict[str, Any]:
            request = {"odm": 1, "items": [{**item, "later": [1]}], "later": {"any": "thing"}}
            path = f"/2015-03-31/functions/{proxy_function.NAME}/invocations"
            async with session.post(path, data=json.dumps(request)) as posted:
                answer: dict[str, Any] = json.loads(await posted.read())
            answer["later"] = answer["function"]["later"] = answer["replies"][0]["later"] = {"x": 1}
            return answer

        members = understood(await invoke({"kind": "describe"}))
        assert isinstance(members, MembersResult)
        message = base64.b64encode(bytes(5) + bson.encode({"ping": 1, "$db": "admin"})).decode()
        server = members.members[0][0]
        pong = understood(
            await invoke({"kind": "command", "server": server, "message": message, "ack": True})
        )
    assert isinstance(pong, ReplyResult)
    assert bson.decode(pong.reply.data)["ok"] == 1


def understood(answer: dict[str, Any]) -> Result:
    return envelope.decode_response(json.dumps(answer).encode(), expected=1).results[0]


async def test_odm_local_serves_a_bundle_with_its_own_policy(
    bundle: Bundle, patched: Patch, watched: Any, mongod_uri: str
) -> None:
    code = patched({"policy.json": b'{"databases": ["bundled"], "readOnly": true}'})
    watched.start("local", "--bundle", str(code), "--mongodb-uri", mongod_uri, "--port", "0")
    url = watched.wait_for("lambda://", on="stdout").split()[1]
    policy = watched.wait_for("policy", on="stdout")
    async with open_transport(url) as transport:
        things = transport.client["bundled"].things
        assert await things.find_one({"_id": "none"}) is None
        with pytest.raises(OperationFailure) as caught:
            await things.insert_one({})
        assert caught.value.code == 13
    watched.signal(signal.SIGINT)
    assert watched.finish().code == 130
    assert policy.split()[1:] == ["readOnly", "on", "bundled"]


@pytest.mark.parametrize(
    ("suffix", "told"),
    [
        (".cpython-39-x86_64-linux-gnu.so", "is for python3.9 on x86_64, and this is python3."),
        (".cpython-313-s390x-linux-gnu.so", "is for python3.13 on s390x, and this is python3."),
        (None, "is for no Python in particular"),
    ],
)
def test_odm_local_refuses_a_bundle_for_another_machine_or_python(
    bundle: Bundle,
    patched: Patch,
    target: Target,
    odm_here: Any,
    suffix: str | None,
    told: str,
) -> None:
    changes: dict[str, bytes | None] = {
        path: None for path in bundle.files if path.startswith("bson/_cbson.")
    }
    if suffix is not None:
        changes[f"bson/_cbson{suffix}"] = b"\x7fELF"
    code = patched(changes)
    # Whose policy it is makes no difference.
    for more in ((), ("--policy", "readOnly")):
        ran = odm_here("local", "--bundle", str(code), "--mongodb-uri", "mongodb://h/cms", *more)
        assert ran.code == 2
        assert told in ran.err
        wanted = f"--architecture {target.architecture} --runtime {target.runtime}"
        assert f"odm package {wanted} --output patched-local.zip" in ran.err


def test_odm_local_refuses_a_zip_that_is_no_bundle(odm_here: Any, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("app.py", "")
    uri = ("--mongodb-uri", "mongodb://h/cms")
    for name, told in (("text.zip", "cannot be read"), ("other.zip", "run odm package")):
        ran = odm_here("local", "--bundle", str(tmp_path / name), *uri)
        assert ran.code == 2
        assert told in ran.err
    ran = odm_here("local", "--function", "a=b.c", "--bundle", str(tmp_path / "other.zip"))
    assert "--bundle needs --mongodb-uri or --embedded" in ran.err
