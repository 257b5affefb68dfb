"""A bundle for this machine, built once, of the files that are installed: no index is asked."""

from __future__ import annotations

import asyncio
import os
import sys
import venv
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path

import pytest

from odm.cli import proxy_function
from odm.cli.package.archive import write_archive
from odm.cli.package.build import Bundle, build
from odm.cli.package.interpreters import Interpreter, find_interpreter
from odm.cli.package.target import Target, this_architecture, this_runtime
from odm.cli.package.wheels import Wanted
from transports import open_transport
from transports.lambda_invoke.transport import LambdaTransport
from transports.local_lambda import FunctionConfiguration, LocalLambda

Patch = Callable[[Mapping[str, bytes | None]], Path]


@pytest.fixture(scope="session")
def target() -> Target:
    """This machine and this Python."""
    here = Target(this_architecture(), this_runtime())
    if not here.is_this_machine:
        pytest.skip("a bundle runs on Linux only")
    return here


@pytest.fixture(scope="session")
def interpreter(target: Target) -> Interpreter:
    found = find_interpreter(target)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def bundle(target: Target, interpreter: Interpreter) -> Bundle:
    return build(target, Wanted(pins={}, installed=True), interpreter=interpreter)


@pytest.fixture(scope="session")
def bundle_zip(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "db-proxy.zip"
    path.write_bytes(bundle.archive)
    return path


@pytest.fixture
def patched(bundle: Bundle, tmp_path: Path) -> Patch:
    """Write the bundle as another release would have it: path → contents, None for no such file."""

    def patch(changes: Mapping[str, bytes | None]) -> Path:
        files = {**bundle.files, **changes}
        path = tmp_path / "patched.zip"
        path.write_bytes(write_archive({name: data for name, data in files.items() if data}))
        return path

    return patch


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has AWS's runtime client and nothing else: no PyMongo, nothing of ours."""
    directory = tmp_path_factory.mktemp("python")
    venv.create(directory, with_pip=False, symlinks=True)
    minor = f"python3.{sys.version_info.minor}"
    packages = directory / "lib" / minor / "site-packages"
    installed = Path(str(distribution("awslambdaric").locate_file("")))
    names = ["awslambdaric", "simplejson", "snapshot_restore_py.py"]
    for name in (*names, *(path.name for path in installed.glob("runtime_client*.so"))):
        (packages / name).symlink_to(installed / name)
    return directory / "bin" / "python"


@pytest.fixture
def wheel_of(tmp_path: Path) -> Callable[..., Path]:
    """Pack an installed distribution as the wheel it was, into a directory of wheels."""

    def pack(name: str, tags: str, changes: Mapping[str, bytes | None] | None = None) -> Path:
        found = distribution(name)
        files = {
            path.as_posix(): Path(str(path.locate())).read_bytes()
            for path in found.files or ()
            if ".." not in path.parts and path.suffix != ".pyc"
        }
        wheels = tmp_path / "wheels"
        wheels.mkdir(exist_ok=True)
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w") as wheel:
            for path, data in {**files, **(changes or {})}.items():
                if data is not None:
                    wheel.writestr(path, data)
        wheel_name = f"{name.replace('-', '_')}-{found.version}-{tags}.whl"
        (wheels / wheel_name).write_bytes(buffer.getvalue())
        return wheels

    return pack


@pytest.fixture
def bundled(bare_python: Path, mongod_uri: str) -> Callable[[Path], FunctionConfiguration]:
    """The DB proxy function of a zip, on that interpreter, in front of the session's server."""

    def configuration(code: Path) -> FunctionConfiguration:
        return FunctionConfiguration(
            name=proxy_function.NAME,
            handler=proxy_function.HANDLER,
            code=(code,),
            environment={
                proxy_function.URI_VARIABLE: mongod_uri,
                proxy_function.POLICY_VARIABLE: "unrestricted",
            },
            memory_size_mb=256,
            timeout_s=10,
            reserved_concurrency=2,
            python=bare_python,
        )

    return configuration


@pytest.fixture
def use() -> Callable[[LocalLambda], Awaitable[str]]:
    """Do through it what an application does; return the release that the function names."""

    async def through(service: LocalLambda) -> str:
        url = proxy_function.url(service.endpoint_url, "bundled")
        async with open_transport(url) as transport:
            things = transport.database.things
            await things.drop()
            await things.insert_many([{"_id": i, "n": 0} for i in range(10)])
            assert len(await things.find({}, batch_size=3).to_list()) == 10
            async with (
                transport.client.start_session() as session,
                await session.start_transaction(),
            ):
                await things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
            found = await asyncio.gather(*(things.find_one({"_id": i}) for i in range(4)))
            assert found == [{"_id": i, "n": int(i == 1)} for i in range(4)]
            large = {"_id": "large", "data": os.urandom(7_000_000)}  # more than an invoke carries
            await things.insert_one(large)
            assert await things.find_one({"_id": "large"}) == large
            await transport.client.drop_database("bundled")
            assert isinstance(transport, LambdaTransport)
            assert transport.function is not None
        assert service.statistics(proxy_function.NAME).errors == 0
        return transport.function.release

    return through
