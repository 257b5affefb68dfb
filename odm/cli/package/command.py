"""``odm package``: the DB proxy function's zip, for an architecture and a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odm.cli import lifecycle
from odm.cli.console import Column, Console
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import JsonOption, QuietOption
from odm.cli.package.target import (
    Architecture,
    Runtime,
    Target,
    this_architecture,
    this_runtime,
)

if TYPE_CHECKING:
    from odm.cli.package.build import Bundle
    from odm.cli.package.check import Checked


def package_command(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The zip to write.")
    ] = Path("db-proxy.zip"),
    architecture: Annotated[
        Architecture | None,
        typer.Option(help="The function's instruction set; by default this machine's."),
    ] = None,
    runtime: Annotated[
        Runtime | None, typer.Option(help="The function's runtime; by default this Python's.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A policy to put into the bundle; then set ODM_PROXY_POLICY=policy.json.",
        ),
    ] = None,
    aws_auth: Annotated[
        bool,
        typer.Option(help="With what authMechanism=MONGODB-AWS needs: 20 KB in the zip."),
    ] = True,
    pin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME==VERSION",
            help="Take this version, e.g. pymongo==4.13.0; may be repeated. By default the "
            "installed version, else the newest.",
        ),
    ] = None,
    wheel_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            exists=True,
            file_okay=False,
            help="Take wheels from here, not from an index.",
        ),
    ] = None,
    installed: Annotated[
        bool,
        typer.Option(
            "--installed",
            help="Take the installed files, not wheels: for this machine and this Python.",
        ),
    ] = False,
    python: Annotated[
        Path | None,
        typer.Option(
            metavar="EXECUTABLE",
            help="A Python of the runtime's version, which compiles and runs the bundle; by "
            "default this one, or that on the PATH.",
        ),
    ] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Build the zip of the DB proxy function, and check it by running it.

    It holds the modules that the handler imports, PyMongo and dnspython for the function's
    architecture and runtime, and their bytecode. The same input gives the same bytes.

    Examples:
    odm package --architecture arm64 --runtime python3.13 --output db-proxy.zip

    odm package --wheel-dir wheels --policy policy.json --json
    """
    from odm.cli.package.build import build, read_policy
    from odm.cli.package.check import check
    from odm.cli.package.interpreters import find_interpreter
    from odm.cli.package.wheels import Wanted, read_pins

    console = Console(json_output=json_output, quiet=quiet)
    target = Target(architecture or this_architecture(), runtime or this_runtime())
    _check_usage(target, wheel_dir, installed)
    _check_output(output)
    wanted = Wanted(
        aws_auth=aws_auth, pins=read_pins(pin or []), wheel_dir=wheel_dir, installed=installed
    )
    rules = read_policy(policy) if policy is not None else None
    interpreter = find_interpreter(target, python)
    console.note(f"building for {target}")
    bundle = build(target, wanted, interpreter=interpreter, policy=rules)
    checked = lifecycle.run(check(bundle))
    _write(output, bundle.archive)
    _tell(console, output, bundle, checked)


def _check_usage(target: Target, wheel_dir: Path | None, installed: bool) -> None:
    if installed and wheel_dir is not None:
        raise CommandFailed("give --installed or --wheel-dir, not both", ExitCode.USAGE)
    if installed and not (target.is_this_machine and target.runtime == this_runtime()):
        raise CommandFailed(
            f"--installed: what is installed here is not for {target}; leave it out to fetch "
            "wheels, or name a --wheel-dir",
            ExitCode.USAGE,
        )


def _check_output(path: Path) -> None:
    """Say before the work what cannot be written after it.

    The zip takes the place of what has its name: a device or a pipe would be gone.
    """
    if not path.parent.is_dir():
        raise CommandFailed(
            f"cannot write {path}: there is no {path.parent} directory", ExitCode.USAGE
        )
    if path.is_dir():
        raise CommandFailed(
            f"cannot write {path}: it is a directory; write --output {path / 'db-proxy.zip'}",
            ExitCode.USAGE,
        )
    if path.exists() and not path.is_file():
        raise CommandFailed(f"cannot write {path}: it is not a file", ExitCode.USAGE)


def _write(path: Path, archive: bytes) -> None:
    """Write all of it or nothing: a half of a zip must not be deployed."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(archive)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CommandFailed(f"cannot write {path}: {error.strerror}", ExitCode.USAGE) from error


def _tell(console: Console, output: Path, bundle: Bundle, checked: Checked) -> None:
    document = _document(output, bundle, checked)
    console.document(document)
    console.pairs(
        [
            ("bundle", str(output)),
            ("for", str(bundle.target)),
            ("handler", document["handler"]),
            *((name, value) for name, value in document["environment"].items()),
            ("zip", f"{document['zip_bytes']:,} bytes"),
            ("unpacked", f"{document['unpacked_bytes']:,} bytes"),
            ("sha256", document["sha256"]),
            ("CodeSha256", document["code_sha256"]),
            *(("checked", words) for words in checked.done),
            *(("not checked", words) for words in checked.not_done),
        ]
    )
    console.line()
    console.table(
        [Column("distribution"), Column("version"), Column("files", True), Column("bytes", True)],
        [
            (each["name"], each["version"] or "", f"{each['files']:,}", f"{each['bytes']:,}")
            for each in document["contents"]
        ],
    )


def _document(output: Path, bundle: Bundle, checked: Checked) -> dict[str, Any]:
    from odm.cli.package.archive import code_sha256, content_sha256, sha256
    from odm.cli.proxy_function import HANDLER, POLICY_FILE

    contents: list[dict[str, Any]] = [
        {"name": d.name, "version": d.version, "files": len(d.files), "bytes": d.size}
        for d in bundle.distributions
    ]
    if bundle.bytecode and bundle.compiled_by:
        contents.append(
            {
                "name": "bytecode",
                "version": bundle.compiled_by.version,
                "files": len(bundle.bytecode),
                "bytes": sum(map(len, bundle.bytecode.values())),
            }
        )
    return {
        "bundle": str(output),
        "architecture": bundle.target.architecture.value,
        "runtime": bundle.target.runtime.value,
        "handler": HANDLER,
        "environment": {"ODM_PROXY_POLICY": POLICY_FILE} if bundle.has_policy else {},
        "zip_bytes": len(bundle.archive),
        "unpacked_bytes": bundle.unpacked_bytes,
        "sha256": sha256(bundle.archive),
        "code_sha256": code_sha256(bundle.archive),
        "content_sha256": content_sha256(bundle.files),
        "contents": contents,
        "checked": list(checked.done),
        "not_checked": list(checked.not_done),
        "import_ms": checked.import_ms,
    }
