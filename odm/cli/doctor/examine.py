"""One examination: all facts, gathered side by side, each step bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from odm.cli.doctor.aws import Aws
from odm.cli.doctor.examination import Examination
from odm.cli.doctor.facts import (
    CallerFacts,
    EnvironmentFacts,
    Facts,
    FunctionFacts,
    Kind,
    ServerFacts,
    Unreachable,
    Unseen,
    UriFacts,
)
from odm.cli.doctor.inspect_code import clients_made_again
from odm.cli.doctor.inspect_environment import environment_facts
from odm.cli.doctor.inspect_function import caller_facts, function_facts
from odm.cli.doctor.inspect_server import addresses_of, server_facts
from odm.cli.doctor.inspect_url import kind_of, lambda_options, uri_facts
from transports.lambda_invoke.options import LambdaOptions
from transports.url import TransportURL

Told = Callable[[str], None]


async def examine(what: Examination, told: Told) -> Facts:
    """Gather the facts.

    Args:
        what: is examined.
        told: is called with what is being looked at.

    Raises:
        InvalidURL: the URL or an option of it is wrong.
    """
    kind, options = kind_of(what.url), lambda_options(what.url)
    (function, caller, environment), server = await asyncio.gather(
        asyncio.to_thread(_ask_aws, what, options, told), _ask_server(what, told)
    )
    uri = _uri(what.url, kind, function)
    return Facts(
        url=what.url,
        kind=kind,
        options=options,
        environment=environment,
        caller=caller,
        function=function,
        uri=uri,
        server=server,
        addresses=uri
        if isinstance(uri, Unseen)
        else await addresses_of(uri, told, look_up=what.connect),
        today=what.today,
        clients_made_again=None if what.code is None else clients_made_again(what.code),
        connection_limit=what.connection_limit,
    )


async def _ask_server(what: Examination, told: Told) -> ServerFacts | Unseen:
    if not what.connect:
        return Unseen("the URL was not opened (--no-connect)")
    return await server_facts(what.url, told, timeout_s=what.timeout_s)


def _uri(url: TransportURL, kind: Kind, function: FunctionFacts | Unseen) -> UriFacts | Unseen:
    if kind is Kind.DIRECT:
        return uri_facts(url.raw, "the URL")
    return function if isinstance(function, Unseen) else function.uri


def _ask_aws(
    what: Examination, options: LambdaOptions | None, told: Told
) -> tuple[FunctionFacts | Unseen, CallerFacts | Unseen | None, EnvironmentFacts]:
    """Return the function, its caller, and the application's environment."""
    here = environment_facts(what.environment)
    name = what.caller or here.lambda_function
    if options is None and name is None:
        return Unseen("the URL leads through no function"), None, here
    try:
        aws = Aws(options or LambdaOptions(function=name or ""))
    except Unreachable as unreachable:
        return unreachable, unreachable if name else None, here
    function = (
        function_facts(aws, told, read=what.read_uri)
        if options
        else Unseen("the URL leads through no function")
    )
    if name is None:
        return function, None, environment_facts(what.environment, region=aws.region)
    caller, variables = caller_facts(aws, name, told)
    if what.caller is None:  # this process runs in that function, and sees more than its variables
        return function, caller, here
    where = f"the configuration of {name}"
    region = _region(caller) or aws.region
    environment = environment_facts(variables, where=where, lambda_function=name, region=region)
    return function, caller, environment


def _region(caller: CallerFacts | Unseen) -> str | None:
    if isinstance(caller, Unseen) or isinstance(caller.configuration, Unseen):
        return None
    parts = str(caller.configuration.get("FunctionArn", "")).split(":")
    return parts[3] if len(parts) > 3 else None
