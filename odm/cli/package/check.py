"""Whether a bundle is whole: read as it is, and run, alone, where this machine can.

Every check looks at the archive's own bytes, as AWS Lambda will, not at what it was made of.
"""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from odm.cli.package.broken import BrokenBundle
from odm.cli.package.build import Bundle
from odm.cli.package.contents import find_in
from odm.cli.package.imports import Source, closure, imports
from odm.cli.package.run import run
from odm.cli.package.target import Target
from odm.cli.proxy_function import HANDLER

MAX_UNPACKED_BYTES = 262_144_000

# What AWS's Python runtimes bring: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
_OF_THE_RUNTIME = frozenset(
    {"awslambdaric", "boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six"}
    | {"snapshot_restore_py", "urllib3"}
)
_APP = HANDLER.rpartition(".")[0]
_SRV = "dns.resolver"  # which PyMongo imports for a mongodb+srv:// URI
_AWS_AUTH = "pymongo_auth_aws.auth"
_ELF = b"\x7fELF"
_E_MACHINE = 18
_GLIBC = re.compile(rb"GLIBC_2\.(\d+)")


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked.

    Attributes:
        done: in words.
        not_done: in words, with the reason.
        import_ms: how long the handler's import took here; None where it was not run.
    """

    done: tuple[str, ...]
    not_done: tuple[str, ...]
    import_ms: float | None


async def check(bundle: Bundle) -> Checked:
    """Check *bundle*, and run it if this machine has its architecture and a Python of its version.

    Raises:
        BrokenBundle: it is not whole.
    """
    files = _unpacked(bundle.archive)
    done = [
        check_files(files, compiled=bool(bundle.bytecode)),
        check_shared_objects(files, bundle.target),
    ]
    roots = [_APP, _SRV, *([_AWS_AUTH] if bundle.has_aws_auth else [])]
    done.append(check_imports(files, roots))
    not_done, import_ms = [], None
    interpreter = bundle.compiled_by
    if interpreter is None:
        python = f"no Python 3.{bundle.target.runtime.minor} here, name one with --python"
        not_done.append(f"no bytecode, so that it starts more slowly: {python}")
        not_done.append(f"not run: {python}")
    elif not bundle.target.is_this_machine:
        not_done.append(f"not run: this machine is not Linux on {bundle.target.architecture}")
    else:
        import_ms = await run(files, bundle, interpreter)
        done.append(f"run by Python {interpreter.version}, with nothing else on its path")
    if bundle.has_aws_auth:
        not_done.append("MONGODB-AWS: its boto3 is the runtime's")
    return Checked(tuple(done), tuple(not_done), import_ms)


def check_files(files: Mapping[str, bytes], *, compiled: bool = False) -> str:
    """Check names, sizes, and that every source compiles, unless it has been *compiled*.

    Raises:
        BrokenBundle: one does not.
    """
    if (size := sum(map(len, files.values()))) > MAX_UNPACKED_BYTES:
        raise BrokenBundle(f"{size:,} bytes unpacked, and AWS Lambda takes {MAX_UNPACKED_BYTES:,}")
    for path, data in files.items():
        if path.startswith("/") or ".." in path.split("/"):
            raise BrokenBundle(f"{path!r} lies outside of it")
        if path.endswith(".py") and not compiled:
            try:
                compile(data, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                raise BrokenBundle(f"{path} does not compile: {error}") from error
    return "every source compiles"


def check_shared_objects(files: Mapping[str, bytes], target: Target) -> str:
    """Check that shared objects are of the target's machine, Python and C library.

    Raises:
        BrokenBundle: one is not, or PyMongo's are missing.
    """
    abis = (f".cpython-3{target.runtime.minor}-", ".abi3.")
    libraries = {path: data for path, data in files.items() if path.endswith(".so")}
    for path, data in libraries.items():
        if data[:4] != _ELF or len(data) < _E_MACHINE + 2:
            raise BrokenBundle(f"{path} is no shared object of Linux")
        [machine] = struct.unpack_from("<H", data, _E_MACHINE)
        if machine != target.architecture.elf_machine:
            raise BrokenBundle(f"{path} is not for {target.architecture}")
        if not any(abi in path for abi in abis):
            raise BrokenBundle(f"{path} is not for {target.runtime}")
        glibc = max((int(minor) for minor in _GLIBC.findall(data)), default=0)
        if glibc > target.runtime.glibc_minor:
            raise BrokenBundle(
                f"{path} needs glibc 2.{glibc}, and {target.runtime} has "
                f"2.{target.runtime.glibc_minor}"
            )
    for name in ("bson/_cbson.", "pymongo/_cmessage."):
        if not any(path.startswith(name) for path in libraries):
            raise BrokenBundle(f"PyMongo's extension module {name}so is missing: it would be slow")
    return f"every shared object is for {target}"


def check_imports(files: Mapping[str, bytes], roots: list[str]) -> str:
    """Check that what *roots* always import, directly or not, is there.

    Raises:
        BrokenBundle: something is missing.
    """
    find = find_in(files)
    for root in roots:
        try:
            modules = closure(root, find, required=True)
        except LookupError as error:
            raise BrokenBundle(f"there is no module {root}") from error
        for module, source in modules.items():
            for each in imports(module, *source):
                if (
                    each.required
                    and each.certainly_module
                    and not _is_there(each.name, find, files)
                ):
                    raise BrokenBundle(f"{module} imports {each.name}, which is not in it")
    return "every import is resolved"


def _is_there(name: str, find: Callable[[str], Source | None], files: Mapping[str, bytes]) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in _OF_THE_RUNTIME or find(name) is not None:
        return True
    path = name.replace(".", "/") + "."
    return any(each.startswith(path) and each.endswith(".so") for each in files)


def _unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}
