"""``odm package`` as its users run it, on this machine and without an index."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odm.cli.package.target import Target

OdmHere = Callable[..., Any]


def test_the_bundle_is_written_and_described(
    odm_here: OdmHere, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text('{"readOnly": true, "databases": ["cms"]}')
    output = tmp_path / "f.zip"
    policy = ("--policy", str(tmp_path / "mine.json"))
    ran = odm_here("package", "--installed", *policy, "--json", "-o", str(output))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["architecture"] == target.architecture
    assert document["runtime"] == target.runtime
    assert document["handler"] == "transports.lambda_invoke.function.app.handler"
    assert document["environment"] == {"ODM_PROXY_POLICY": "policy.json"}
    assert document["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert document["zip_bytes"] == output.stat().st_size
    assert [each["name"] for each in document["contents"]] == [
        *("odm-transports", "dnspython", "pymongo", "pymongo-auth-aws", "bytecode")
    ]
    assert sum(each["bytes"] for each in document["contents"]) == document["unpacked_bytes"]
    with zipfile.ZipFile(output) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert json.loads(archive.read("policy.json"))["readOnly"] is True
    tops = {top for top in tops if not top.endswith(".dist-info")}
    assert tops == {"bson", "dns", "policy.json", "pymongo", "pymongo_auth_aws", "transports"}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_the_same_input_gives_the_same_bytes(
    odm_here: OdmHere, bundle_zip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "again.zip"
    ran = odm_here("package", "--installed", "--output", str(output))
    assert ran.code == 0, ran.err
    assert output.read_bytes() == bundle_zip.read_bytes()
    assert "checked      run by Python" in ran.out
    assert "CodeSha256" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--installed", "--wheel-dir", "."], "not both"),
        (["--installed", "--architecture", "OTHER"], "what is installed here is not for"),
        (["--pin", "beanie==2"], "a bundle has pymongo, dnspython and pymongo-auth-aws"),
        (["--policy", "nowhere.json"], "No such file"),
        (["--policy", "bad.json"], "unknown field 'readonly'"),
        (["--python", "/bin/sh"], "no CPython"),
        (["--runtime", "python3.10"], "python3.11"),
        (["--installed", "--output", "nowhere/f.zip"], "cannot write nowhere/f.zip"),
        (["--installed", "--output", "."], "write --output db-proxy.zip"),
        (["--installed", "--output", "pipe"], "cannot write pipe: it is not a file"),
    ],
)
def test_wrong_usage_is_told_with_what_to_write(
    odm_here: OdmHere,
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text('{"readonly": true}')
    os.mkfifo(tmp_path / "pipe")
    other = "x86_64" if target.architecture == "arm64" else "arm64"
    arguments = [other if each == "OTHER" else each for each in arguments]
    ran = odm_here("package", *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert ran.out == ""
    assert (tmp_path / "pipe").is_fifo()


def test_no_wheels_is_told_in_a_line(odm_here: OdmHere, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    output = tmp_path / "f.zip"
    ran = odm_here("package", "--wheel-dir", str(tmp_path / "wheels"), "-o", str(output), "-q")
    assert ran.code == 3
    assert ran.err.startswith("odm: pip finds no wheels for python3.")
    assert not output.exists()


def test_a_broken_bundle_is_not_written(
    odm_here: OdmHere, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f.zip").write_bytes(b"the one before")
    # As if the handler had come to import something that no bundle has.
    monkeypatch.setattr("odm.cli.package.build.fetch", lambda wanted, target: [])
    ran = odm_here("package", "--installed", "-o", str(tmp_path / "f.zip"), "-q")
    assert ran.code == 1
    assert ran.err.startswith("odm: the bundle is broken, and was not written: ")
    assert ran.err.count("\n") == 1
    assert (tmp_path / "f.zip").read_bytes() == b"the one before"
