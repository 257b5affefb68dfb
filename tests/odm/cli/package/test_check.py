"""A bundle that is not whole is refused, in one sentence that says what is wrong with it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

import pytest

from odm.cli.failures import ExitCode
from odm.cli.package.broken import BrokenBundle
from odm.cli.package.build import Bundle
from odm.cli.package.check import check, check_files, check_imports, check_shared_objects
from odm.cli.package.interpreters import Interpreter
from odm.cli.package.run import run
from odm.cli.package.target import Architecture, Runtime, Target

APP = "transports.lambda_invoke.function.app"
APP_FILE = "transports/lambda_invoke/function/app.py"
ARM = Target(Architecture.ARM64, Runtime.PYTHON_3_12)


async def test_a_whole_bundle_is_run_with_nothing_else_on_its_path(bundle: Bundle) -> None:
    checked = await check(bundle)
    assert any(words.startswith("run by Python") for words in checked.done)
    assert checked.import_ms is not None
    assert checked.not_done == ("MONGODB-AWS: its boto3 is the runtime's",)


async def test_what_cannot_be_run_here_is_checked_as_far_as_it_goes_and_says_so(
    bundle: Bundle,
) -> None:
    checked = await check(replace(bundle, compiled_by=None, bytecode={}))
    minor = bundle.target.runtime.minor
    assert len(checked.done) == 3
    assert checked.import_ms is None
    assert checked.not_done[0].startswith("no bytecode")
    assert checked.not_done[1].startswith(f"not run: no Python 3.{minor} here")


def elf(machine: int, *words: bytes) -> bytes:
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine) + b"\0".join(words)


def shared_objects(
    machine: int = 183, python: str = "cpython-312", *words: bytes
) -> dict[str, bytes]:
    names = ("bson/_cbson", "pymongo/_cmessage")
    return {f"{n}.{python}-aarch64-linux-gnu.so": elf(machine, *words) for n in names}


def test_shared_objects_of_the_target_pass() -> None:
    assert "arm64" in check_shared_objects(shared_objects(183, "cpython-312", b"GLIBC_2.34"), ARM)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (shared_objects(62), "not for arm64"),
        (shared_objects(183, "cpython-311"), "not for python3.12"),
        (shared_objects(183, "cpython-312", b"GLIBC_2.5", b"GLIBC_2.38"), "needs glibc 2.38"),
        ({**shared_objects(), "pymongo/x.so": b"MZ"}, "pymongo/x.so is no shared object"),
        ({}, "bson/_cbson.so is missing"),
    ],
)
def test_a_shared_object_that_the_runtime_cannot_load_is_refused(
    files: Mapping[str, bytes], told: str
) -> None:
    with pytest.raises(BrokenBundle, match=told) as caught:
        check_shared_objects(files, ARM)
    assert caught.value.code is ExitCode.CHECK_FAILED


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.py": b"def\n"}, "a.py does not compile"),
        ({"../a.py": b""}, "lies outside"),
        ({"/a.py": b""}, "lies outside"),
        ({"a.dat": bytes(262_144_001)}, "262,144,001 bytes unpacked"),
    ],
)
def test_files_that_lambda_would_not_take_are_refused(files: dict[str, bytes], told: str) -> None:
    with pytest.raises(BrokenBundle, match=told):
        check_files(files)


def test_an_import_that_nothing_resolves_is_refused() -> None:
    files = {"a.py": b"import json\nimport boto3\nimport b\n", "b.py": b"import beanie\n"}
    with pytest.raises(BrokenBundle, match="b imports beanie, which is not in it"):
        check_imports(files, ["a"])
    with pytest.raises(BrokenBundle, match="no module c"):
        check_imports(files, ["c"])


def test_an_import_that_may_fail_or_is_never_made_is_nobodys_loss() -> None:
    source = b"try:\n    import snappy\nexcept ImportError:\n    pass\ndef f():\n    import trio\n"
    check_imports({"a.py": source}, ["a"])


def test_an_extension_module_resolves_an_import() -> None:
    files = {"a.py": b"from p import _c\nimport p._c\n", "p/__init__.py": b"", "p/_c.abi3.so": b""}
    check_imports(files, ["a"])


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("transports/errors.py", "imports transports.errors, which is not in it"),
        ("pymongo/synchronous/pool.py", "imports pymongo.synchronous.pool, which is not in it"),
        ("dns/resolver.py", "no module dns.resolver"),
        ("pymongo_auth_aws/auth.py", "no module pymongo_auth_aws.auth"),
    ],
)
def test_a_gap_is_found_before_anything_is_run(bundle: Bundle, gone: str, told: str) -> None:
    files = {path: data for path, data in bundle.files.items() if not path.startswith(gone)}
    with pytest.raises(BrokenBundle, match=told):
        check_imports(files, [APP, "dns.resolver", "pymongo_auth_aws.auth"])
    check_imports(bundle.files, [APP, "dns.resolver", "pymongo_auth_aws.auth"])


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        # What no reading finds: it takes running.
        (APP_FILE, b"raise RuntimeError('at import')\n", "does not run: .*RuntimeError: at import"),
        (APP_FILE, b"\ndel handler\n", "does not run: .*AttributeError"),
        (
            APP_FILE,
            b"\ndef handler(e, c): return {'statusCode': 200}\n",
            "answer is not understood",
        ),
        (APP_FILE, b"\ndef release(): return '9'\n", "takes itself for release 9"),
        ("bson/__init__.py", b"\ndef has_c(): return False\n", "extension modules"),
        (
            APP_FILE,
            b"\nimport os, sys\nsys.path.append(os.environ['TMPDIR'])\nimport stray\n",
            "stray",
        ),
    ],
)
async def test_a_bundle_that_does_not_run_is_refused(
    bundle: Bundle, interpreter: Interpreter, path: str, change: bytes, told: str
) -> None:
    files = {name: data for name, data in bundle.files.items() if not name.endswith(".pyc")}
    files[path] += change
    files["../stray.py"] = b""
    with pytest.raises(BrokenBundle, match=f"(?s){told}"):
        await run(files, replace(bundle, bytecode={}), interpreter)


@pytest.mark.parametrize("policy", [b'{"readOnly": true}', b'{"commands": {"deny": ["ping"]}}'])
async def test_a_policy_that_refuses_a_ping_is_no_defect(
    bundle: Bundle, interpreter: Interpreter, policy: bytes
) -> None:
    await run(
        {**bundle.files, "policy.json": policy}, replace(bundle, has_policy=True), interpreter
    )


async def test_a_policy_that_the_function_does_not_understand_is_one(
    bundle: Bundle, interpreter: Interpreter
) -> None:
    files = {**bundle.files, "policy.json": b'{"no": 1}'}
    with pytest.raises(BrokenBundle, match=r"does not run: .*PolicyError: .*unknown field 'no'"):
        await run(files, replace(bundle, has_policy=True), interpreter)


async def test_bytecode_of_another_python_is_refused(
    bundle: Bundle, interpreter: Interpreter
) -> None:
    name = next(path for path in bundle.bytecode if "function/__pycache__/app." in path)
    files = {**bundle.files, name: bytes(4) + bundle.bytecode[name][4:]}
    with pytest.raises(BrokenBundle, match=r"bytecode is not taken of transports\.\S+app"):
        await run(files, bundle, interpreter)
