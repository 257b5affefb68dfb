"""Bundles for machines and Pythons that are not here.

Offline, wheels that claim to be for the other architecture. With ``ODM_TEST_INDEX=1`` those of the
index that pip is configured for: every architecture and runtime, and the oldest PyMongo.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import distribution
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from odm.cli.package.broken import BrokenBundle
from odm.cli.package.build import build
from odm.cli.package.check import check, check_shared_objects
from odm.cli.package.interpreters import Interpreter
from odm.cli.package.target import Architecture, Runtime, Target
from odm.cli.package.wheels import Wanted, fetch
from transports.local_lambda import FunctionConfiguration, LocalLambda

WheelOf = Callable[..., Path]
OLDEST_PYMONGO = "4.13.0"


@pytest.fixture
def other(target: Target) -> Target:
    architecture = next(a for a in Architecture if a is not target.architecture)
    return replace(target, architecture=architecture)


def as_if_for(other: Target) -> Mapping[str, bytes | None]:
    """What to change of PyMongo's installed files: shared objects that say they are for *other*."""
    changes: dict[str, bytes | None] = {}
    for path in distribution("pymongo").files or ():
        if path.suffix == ".so":
            data = bytearray(Path(str(path.locate())).read_bytes())
            struct.pack_into("<H", data, 18, other.architecture.elf_machine)
            changes[path.as_posix()] = None
            name = f"{path.name.partition('.')[0]}.cpython-3{other.runtime.minor}-other.so"
            changes[path.with_name(name).as_posix()] = bytes(data)
    return changes


def wheels_for(other: Target, wheel_of: WheelOf, changes: Mapping[str, bytes | None]) -> Path:
    python = f"cp3{other.runtime.minor}"
    tags = f"{python}-{python}-manylinux_2_17_{other.architecture.machine}"
    wheel_of("pymongo", tags, changes)
    wheel_of("pymongo-auth-aws", "py3-none-any")
    return wheel_of("dnspython", "py3-none-any")


def test_a_bundle_for_another_architecture_says_that_it_was_not_run(
    odm_here: Any, other: Target, wheel_of: WheelOf, tmp_path: Path
) -> None:
    wheels = wheels_for(other, wheel_of, as_if_for(other))
    output = tmp_path / "other.zip"
    ran = odm_here(
        *("package", "--architecture", other.architecture.value, "--wheel-dir", str(wheels)),
        *("--json", "-o", str(output)),
    )
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["import_ms"] is None
    assert f"every shared object is for {other}" in document["checked"]
    reason = f"not run: this machine is not Linux on {other.architecture}"
    assert reason in document["not_checked"]
    assert output.exists()


def test_a_wheel_that_is_not_what_its_name_says_is_refused(
    other: Target, wheel_of: WheelOf
) -> None:
    wheels = wheels_for(other, wheel_of, {})
    fetched = fetch(Wanted(pins={}, wheel_dir=wheels), other)
    [pymongo] = [each for each in fetched if each.name == "pymongo"]
    with pytest.raises(BrokenBundle, match=f"is not for {other.architecture}"):
        check_shared_objects(pymongo.files, other)


@pytest.fixture
def index() -> None:
    if not os.environ.get("ODM_TEST_INDEX"):
        pytest.skip("ODM_TEST_INDEX=1 lets tests fetch wheels from the index")


@pytest.mark.parametrize(("architecture", "runtime"), list(product(Architecture, Runtime)))
async def test_every_target_has_its_wheels(
    index: None, architecture: Architecture, runtime: Runtime
) -> None:
    bundle = build(Target(architecture, runtime), Wanted(pins={}), interpreter=None)
    checked = await check(bundle)
    assert f"every shared object is for {runtime} on {architecture}" in checked.done
    assert bundle.has_aws_auth


async def test_a_bundle_with_the_oldest_pymongo_serves_this_caller(
    index: None,
    target: Target,
    interpreter: Interpreter,
    bare_python: Path,
    bundled: Callable[[Path], FunctionConfiguration],
    use: Callable[[LocalLambda], Any],
    tmp_path: Path,
) -> None:
    wanted = Wanted(pins={"pymongo": OLDEST_PYMONGO})
    bundle = build(target, wanted, interpreter=interpreter)
    assert ("pymongo", OLDEST_PYMONGO) in {(d.name, d.version) for d in bundle.distributions}
    code = tmp_path / "old.zip"
    code.write_bytes(bundle.archive)
    async with LocalLambda([bundled(code)]) as service:
        await use(service)
