"""What several rules read out of the facts. What could not be seen is raised as `Unseen`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odm.cli.doctor.facts import (
    CallerFacts,
    Facts,
    FunctionFacts,
    KeptElsewhere,
    Kind,
    ServerFacts,
    Unseen,
    UriFacts,
    known,
)
from odm.cli.doctor.inspect_server import LOCAL
from transports.lambda_invoke.function.settings import FunctionSettings

PREFIX = "ODM_PROXY_"
DEFAULTS = FunctionSettings(mongodb_uri="")
"""What the function does without a variable."""

DRIVER_POOL_SIZE = 100
"""PyMongo's own ``maxPoolSize``."""

INVOKE_MARGIN_S = 5.0
"""What the transport waits beyond the function's own time-out (docs/lambda.md)."""


def function(facts: Facts) -> FunctionFacts:
    """Return the DB proxy function."""
    return known(facts.function)


def configuration(facts: Facts) -> Mapping[str, Any]:
    """Return the configuration of the function that connects to MongoDB.

    That is the DB proxy function, or behind a direct URL the application itself.
    """
    if facts.kind is Kind.DIRECT:
        return known(caller(facts).configuration)
    return known(function(facts).configuration)


def variables(facts: Facts) -> Mapping[str, str]:
    """Return the environment variables of the function that connects to MongoDB."""
    if facts.kind is Kind.DIRECT:
        return known(facts.environment.variables)
    return known(function(facts).variables)


def reserved(facts: Facts) -> int | None:
    """Return the reserved concurrency of the function that connects to MongoDB.

    Raises:
        Unseen: it is one of Lambda Managed Instances, too: those have none.
    """
    found = caller(facts) if facts.kind is Kind.DIRECT else function(facts)
    given = found.configuration
    if not isinstance(given, Unseen) and given.get("CapacityProviderConfig"):
        raise Unseen(
            "on Lambda Managed Instances the capacity provider decides how many environments and "
            "processes there are, each with a pool (docs/lambda.md)"
        )
    return known(found.reserved)


def server(facts: Facts) -> ServerFacts:
    """Return what answered.

    Raises:
        Unseen: nothing did, or nothing was asked.
    """
    answered = known(facts.server)
    if answered.error is not None:
        raise Unseen("nothing answered under the URL")
    return answered


def caller(facts: Facts) -> CallerFacts:
    """Return the Lambda function that the application is.

    Raises:
        Unseen: it is none, as far as can be seen.
    """
    found = known(facts.caller)
    if found is None:
        raise Unseen("no calling Lambda function is known: name one with --caller, if it is one")
    return found


def is_local(facts: Facts) -> bool:
    """Whether all servers are on one machine with their client: a development deployment.

    Raises:
        Unseen: the URI or its addresses could not be seen.
    """
    uri: UriFacts = known(facts.uri)
    addresses = known(facts.addresses)
    return all(addresses.get(host) == LOCAL for host in uri.hosts)


def in_lambda(facts: Facts) -> bool:
    """Whether what holds the connections runs on AWS Lambda, as far as is known."""
    return facts.kind is Kind.LAMBDA or is_lambda_caller(facts)


def is_lambda_caller(facts: Facts) -> bool:
    """Whether the application is a Lambda function."""
    return facts.environment.lambda_function is not None


def setting(facts: Facts, name: str, default: int) -> int:
    """Return a number among the function's variables: ``ODM_PROXY_<name>``."""
    text = variables(facts).get(PREFIX + name, "").strip()
    return int(text) if text.isdecimal() else default


def in_uri(facts: Facts, option: str) -> str | None:
    """Return an option of the URI; None too where the URI is kept elsewhere (`unless_in_uri`)."""
    if isinstance(facts.uri, KeptElsewhere):
        return None
    return known(facts.uri).options.get(option.lower())


def number_in_uri(facts: Facts, option: str) -> int | None:
    """Return the number that an option of the URI has, as `in_uri`."""
    if isinstance(facts.uri, KeptElsewhere):
        return None
    return known(facts.uri).number(option)


def unless_in_uri(facts: Facts) -> str:
    """Return the end of a sentence: that a URI which was not read may say otherwise."""
    if isinstance(facts.uri, KeptElsewhere):
        return ", unless the URI says otherwise, which was not read (--read-uri)"
    return ""


def max_pool_size(facts: Facts) -> int:
    """Return the most connections of one pool of the function; 0 is without limit."""
    given = number_in_uri(facts, "maxPoolSize")
    if facts.kind is Kind.DIRECT:
        return DRIVER_POOL_SIZE if given is None else given
    return setting(facts, "MAX_POOL_SIZE", DEFAULTS.max_pool_size) if given is None else given


def monitors(facts: Facts) -> int:
    """Return the monitoring connections of one client to one server."""
    return 2 if in_uri(facts, "serverMonitoringMode") == "stream" else 1


def timeout_s(facts: Facts) -> float:
    """Return the function's time-out in seconds."""
    return float(configuration(facts)["Timeout"])


def read_timeout_s(facts: Facts) -> float:
    """Return how long the transport waits for a response of an invoke."""
    assert facts.options is not None, "a lambda:// URL has options"
    return facts.options.invoke_timeout_s or timeout_s(facts) + INVOKE_MARGIN_S
