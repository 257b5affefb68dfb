"""A bundle for this machine, built once, of the files that are installed: no index is asked."""

from __future__ import annotations

import sys
import venv
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path

import pytest

from odm.cli.package.archive import write_archive
from odm.cli.package.build import Bundle, build
from odm.cli.package.interpreters import Interpreter, find_interpreter
from odm.cli.package.target import Target, this_architecture, this_runtime
from odm.cli.package.wheels import Wanted

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
    for name in ("awslambdaric", "snapshot_restore_py", "simplejson"):
        (packages / name).symlink_to(Path(str(distribution(name).locate_file(name))))
    installed = Path(str(distribution("awslambdaric").locate_file("")))
    for extension in installed.glob("runtime_client*.so"):
        (packages / extension.name).symlink_to(extension)
    return directory / "bin" / "python"


@pytest.fixture
def wheel_of(tmp_path: Path) -> Callable[..., Path]:
    """Pack an installed distribution as the wheel it was, into a directory of wheels."""

    def pack(name: str, tags: str, changes: Mapping[str, bytes] | None = None) -> Path:
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
                wheel.writestr(path, data)
        wheel_name = f"{name.replace('-', '_')}-{found.version}-{tags}.whl"
        (wheels / wheel_name).write_bytes(buffer.getvalue())
        return wheels

    return pack
