from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package import wheels
from odm.cli.package.target import Architecture, Runtime, Target
from odm.cli.package.wheels import Wanted, fetch, read_pins

WheelOf = Callable[..., Path]


def tags(target: Target, machine: str = "") -> str:
    python = f"cp3{target.runtime.minor}"
    return f"{python}-{python}-manylinux_2_17_{machine or target.architecture.machine}"


def test_wheels_of_a_directory_are_taken_as_what_is_installed_is(
    target: Target, wheel_of: WheelOf
) -> None:
    wheel_of("pymongo", tags(target))
    wheel_of("pymongo-auth-aws", "py3-none-any")
    directory = wheel_of("dnspython", "py3-none-any")
    fetched = fetch(Wanted(pins={}, wheel_dir=directory), target)
    installed = fetch(Wanted(pins={}, installed=True), target)
    assert [(d.name, d.version) for d in fetched] == [(d.name, d.version) for d in installed]
    assert [d.files for d in fetched] == [d.files for d in installed]
    assert [d.name for d in fetched] == ["dnspython", "pymongo", "pymongo-auth-aws"]


def test_a_wheel_for_another_architecture_is_not_taken(target: Target, wheel_of: WheelOf) -> None:
    other = next(a for a in Architecture if a is not target.architecture)
    directory = wheel_of("pymongo", tags(target, other.machine))
    with pytest.raises(CommandFailed, match=r"no wheels for python3.*pymongo") as caught:
        fetch(Wanted(pins={}, wheel_dir=directory), target)
    assert caught.value.code is ExitCode.UNAVAILABLE


def test_amazon_linux_2_takes_no_wheel_of_a_newer_c_library() -> None:
    older = Target(Architecture.ARM64, Runtime.PYTHON_3_11)
    newer = Target(Architecture.ARM64, Runtime.PYTHON_3_12)
    assert "manylinux_2_28_aarch64" not in older.platforms
    assert "manylinux_2_28_aarch64" in newer.platforms
    for each in (older, newer):
        assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(each.platforms)


def test_without_pip_the_way_out_is_told(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    with pytest.raises(CommandFailed, match="ensurepip"):
        fetch(Wanted(pins={}), target)


def test_what_pip_complains_of_is_told_without_addresses() -> None:
    stderr = (
        "Looking in indexes: https://user:secret@host/simple\n"
        "ERROR: Could not find a version in https://user:secret@host/simple that fits\n"
        "ERROR: No matching distribution found for pymongo==99\n"
    )
    told = wheels._reason(stderr)
    assert told == (
        "Could not find a version in … that fits No matching distribution found for pymongo==99"
    )
    assert "secret" not in wheels._reason("https://user:secret@host is gone")


def test_pins_are_read() -> None:
    assert read_pins(["PyMongo==4.13.0", "pymongo_auth_aws==1.3.0"]) == {
        "pymongo": "4.13.0",
        "pymongo-auth-aws": "1.3.0",
    }


@pytest.mark.parametrize("text", ["pymongo", "pymongo>=4", "beanie==2.2", "pymongo==4 --pre"])
def test_a_pin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="--pin") as caught:
        read_pins([text])
    assert caught.value.code is ExitCode.USAGE


def test_another_version_than_the_installed_is_not_pretended(target: Target) -> None:
    with pytest.raises(CommandFailed, match=version("pymongo")):
        fetch(Wanted(pins={"pymongo": "4.13.0"}, installed=True), target)


def test_what_is_not_installed_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "AWS_AUTH", "no-such-distribution")
    with pytest.raises(CommandFailed, match=r"no-such-distribution.*or --no-aws-auth"):
        fetch(Wanted(pins={}, installed=True), target)
    assert len(fetch(Wanted(pins={}, installed=True, aws_auth=False), target)) == 2
