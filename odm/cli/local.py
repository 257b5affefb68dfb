"""``odm local``: AWS Lambda on this machine, for development.

It serves the DB proxy function in front of a MongoDB, any other functions, or both, until Ctrl-C.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odm.cli import lifecycle, local_bundle, proxy_function
from odm.cli.console import Console, counted
from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.options import JsonOption, QuietOption
from transports import open_transport
from transports.url import parse_url

if TYPE_CHECKING:
    from transports.local_lambda import FunctionConfiguration, LocalLambda

_REPORT = re.compile(r"REPORT RequestId: \S+\s+(?P<numbers>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What AWS calls a function's configuration, for all functions of a command."""

    concurrency: int
    timeout_s: float
    memory_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What callers find of the Lambda service itself."""

    port: int
    tls: bool
    request_rate: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The MongoDB behind the DB proxy function."""

    uri: str | None
    embedded: bool
    policy: str | None
    bundle: Path | None


def local_command(
    mongodb_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            envvar=proxy_function.URI_VARIABLE,
            help="Serve the DB proxy function in front of this MongoDB, under the name db-proxy.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            envvar=proxy_function.POLICY_VARIABLE,
            help="What callers of the DB proxy function may run: readWrite, readOnly, "
            "unrestricted, JSON, or a .json file. By default readWrite, on the URI's database "
            "or on all.",
        ),
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="The same, in front of a private mongod.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Serve the DB proxy function from this zip of odm package, built for this "
            "machine and Python, with the policy that is in it; by default, as it is installed "
            "here.",
        ),
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option(
            "--function",
            "-f",
            metavar="NAME=HANDLER[,code=PATH]",
            help="Serve another function, e.g. hello=app.handler,code=src; may be repeated.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME=VALUE",
            help="An environment variable of every function; may be repeated.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")
    ] = 9001,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Serve HTTPS, as AWS does, with a certificate made for it; what is to be set for "
            "callers to trust it is written.",
        ),
    ] = False,
    concurrency: Annotated[
        int,
        typer.Option(
            min=0, help="Reserved concurrency of each function: as many processes at the most."
        ),
    ] = 15,
    request_rate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Throttle what is beyond so many synchronous requests a second for each unit of "
            "concurrency: AWS serves 10. By default there is no such limit.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long an invocation may take.")
    ] = 30.0,
    memory: Annotated[
        int, typer.Option("--memory-mb", "--memory", metavar="MB", help="Memory of each function.")
    ] = 256,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Write a line per invocation to stderr.")
    ] = False,
    logs: Annotated[
        bool, typer.Option("--logs", help="Write all that the functions log to stderr.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run AWS Lambda on this machine.

    Each execution environment is a real process under the official runtime client; reserved
    concurrency, throttles, time-outs and payload limits are those of AWS.

    Examples:
    odm local --embedded --concurrency 3

    odm local --mongodb-uri mongodb://localhost:27017/cms

    odm local --bundle db-proxy.zip --mongodb-uri mongodb://localhost:27017/cms

    odm local --embedded --tls --request-rate 10

    odm local --function hello=app.handler,code=src --verbose
    """
    console = Console(json_output=json_output, quiet=quiet)
    limits = Limits(concurrency=concurrency, timeout_s=timeout, memory_mb=memory)
    if embedded and mongodb_uri:
        raise CommandFailed("give --embedded or --mongodb-uri, not both", ExitCode.USAGE)
    if not (function or embedded or mongodb_uri):
        raise CommandFailed(
            "nothing to serve: give --mongodb-uri, --embedded or --function", ExitCode.USAGE
        )
    if bundle and not (embedded or mongodb_uri):
        raise CommandFailed("--bundle needs --mongodb-uri or --embedded", ExitCode.USAGE)
    environment = _environment(env or [])
    functions = [_function(text, limits, environment) for text in function or []]
    served = Served(uri=mongodb_uri, embedded=embedded, policy=policy, bundle=bundle)
    log = _Log(console, everything=logs) if verbose or logs else None
    service = Service(port=port, tls=tls, request_rate=request_rate)
    lifecycle.run(_local(functions, served, limits, environment, service, console, log))


async def _local(
    functions: list[FunctionConfiguration],
    served: Served,
    limits: Limits,
    environment: dict[str, str],
    asked: Service,
    console: Console,
    log: _Log | None,
) -> None:
    from transports.local_lambda import LocalLambda

    async with AsyncExitStack() as stack:
        database, in_force = "test", ""
        mongodb_uri, policy = served.uri, _policy(served, environment)
        if served.embedded:
            if policy is None and proxy_function.POLICY_VARIABLE not in environment:
                policy = proxy_function.EVERY_DATABASE  # nobody has named one
            mongod = await stack.enter_async_context(open_transport("embedded:///test"))
            mongodb_uri = mongod.uri
        if mongodb_uri:
            database = _checked_uri(mongodb_uri)
        try:
            if mongodb_uri:
                proxy = proxy_function.configuration(
                    mongodb_uri,
                    **asdict(limits),
                    policy=policy,
                    environment=environment,
                    bundle=served.bundle,
                )
                in_force = proxy_function.policy_in_force(proxy)
                functions = [proxy, *functions]
            service = await stack.enter_async_context(
                LocalLambda(functions, region=proxy_function.REGION, log_sink=log, **asdict(asked))
            )
        except ValueError as error:
            raise CommandFailed(str(error), ExitCode.USAGE) from error
        except OSError as error:
            if isinstance(error, ConnectionError | ImportError):
                raise
            raise CommandFailed(
                f"cannot listen on 127.0.0.1:{asked.port}: {error.strerror or error};"
                " give another --port, or 0 for a free one"
            ) from error
        _announce(service, database if mongodb_uri else None, in_force, console)
        try:
            await lifecycle.forever()
        finally:
            if log is not None:
                log.flush()
            _farewell(service, console)


def _policy(served: Served, environment: dict[str, str]) -> str | None:
    """Return the policy that was named, else the bundle's."""
    bundled = local_bundle.policy_of(served.bundle) if served.bundle is not None else None
    if served.policy is None and proxy_function.POLICY_VARIABLE not in environment:
        return bundled
    return served.policy


def _checked_uri(uri: str) -> str:
    """Return the URI's database."""
    url = parse_url(uri)
    if not url.scheme.startswith("mongodb"):
        raise CommandFailed(
            f"the DB proxy function needs a mongodb:// URI, not {url.redacted!r}", ExitCode.USAGE
        )
    return url.database


def _function(text: str, limits: Limits, environment: dict[str, str]) -> FunctionConfiguration:
    """Read ``name=handler[,code=PATH…]``."""
    first, *rest = text.split(",")
    name, separator, handler = first.partition("=")
    code = []
    for part in rest:
        key, _, value = part.partition("=")
        if key != "code" or not value:
            raise CommandFailed(
                f"--function {text!r}: {part!r} is not code=PATH; write "
                "name=module.function,code=DIRECTORY",
                ExitCode.USAGE,
            )
        code.append(Path(value))
    if not separator or "." not in handler:
        raise CommandFailed(
            f"--function {text!r}: write name=module.function, e.g. hello=app.handler,code=src",
            ExitCode.USAGE,
        )
    return _configuration(name, handler, tuple(code) or (Path.cwd(),), limits, environment)


def _configuration(
    name: str, handler: str, code: tuple[Path, ...], limits: Limits, environment: dict[str, str]
) -> FunctionConfiguration:
    from transports.local_lambda import FunctionConfiguration

    try:
        return FunctionConfiguration(
            name=name,
            handler=handler,
            code=code,
            environment=environment,
            memory_size_mb=limits.memory_mb,
            timeout_s=limits.timeout_s,
            reserved_concurrency=limits.concurrency,
        )
    except ValueError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    environment = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise CommandFailed(f"--env {name!r}: write --env NAME=VALUE", ExitCode.USAGE)
        environment[name] = value
    return environment


def _announce(service: LocalLambda, database: str | None, policy: str, console: Console) -> None:
    names = [each.name for each in service.functions]
    rows = [("endpoint", service.endpoint_url), ("functions", ", ".join(names))]
    document: dict[str, Any] = {"endpoint": service.endpoint_url, "functions": names}
    if database is not None:
        url = proxy_function.url(service.endpoint_url, database)
        rows += [("url", url), ("policy", policy)]
        document |= {"url": url, "policy": policy}
    if (ca_bundle := service.ca_bundle) is not None:
        rows.append(("callers set", f"AWS_CA_BUNDLE={ca_bundle}"))
        document["ca_bundle"] = str(ca_bundle)
    console.pairs(rows)
    console.document(document)
    console.note("stop with Ctrl-C")


def _farewell(service: LocalLambda, console: Console) -> None:
    for each in service.functions:
        done = service.statistics(each.name)
        console.note(
            f"{each.name}: {counted(done.invocations, 'invocation')},"
            f" {counted(done.cold_starts, 'cold start')}, {counted(done.throttles, 'throttle')},"
            f" {counted(done.errors, 'error')}; at most {done.max_concurrent_executions} at a time"
        )


class _Log:
    """Takes what functions log, in whatever pieces; writes a line per invocation, or every line."""

    def __init__(self, console: Console, *, everything: bool) -> None:
        self._console = console
        self._everything = everything
        self._unfinished: dict[tuple[str, str], bytes] = {}

    def __call__(self, function: str, environment: str, data: bytes) -> None:
        key = (function, environment)
        *lines, rest = (self._unfinished.pop(key, b"") + data).split(b"\n")
        if rest:
            self._unfinished[key] = rest
        for line in lines:
            self._write(key, line)

    def flush(self) -> None:
        """Write what was never ended."""
        for key, line in self._unfinished.items():
            self._write(key, line)
        self._unfinished.clear()

    def _write(self, key: tuple[str, str], line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not self._everything:
            report = _REPORT.match(text)
            if report is None:
                return
            text = ", ".join(report["numbers"].split("\t"))
        function, environment = key
        self._console.log(f"{function} {environment[:8]} {text}")
