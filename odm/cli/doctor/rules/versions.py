"""Rules about versions and regions: of both ends, the runtime, the driver, and the server."""

from __future__ import annotations

import datetime
import difflib

from odm.cli.doctor.changes import configure, set_variables, url_edit, url_option
from odm.cli.doctor.facts import Facts, Kind, Unseen, known
from odm.cli.doctor.lifetimes import (
    MOTOR_END,
    RUNTIMES,
    RUNTIMES_READ_ON,
    SERVERS,
    SERVERS_READ_ON,
    SUPPORTED_RUNTIMES,
)
from odm.cli.doctor.rule import (
    DIRECT,
    EVERY_KIND,
    Change,
    Fix,
    Verdict,
    ok,
    problem,
    rule,
    warning,
)
from odm.cli.doctor.rules import reading
from odm.cli.doctor.rules.sources import (
    ATLAS,
    DOCS_LAMBDA,
    LAMBDA_RUNTIMES,
    MONGODB_LIFECYCLE,
    MOTOR,
    TRANSACTIONS,
)

_SOON = datetime.timedelta(days=180)
_RUNTIME = "python3.13"


@rule(
    "runtime",
    "The function's runtime is supported",
    why="A deprecated runtime gets no security fixes, and soon AWS refuses new code for it.",
    source=LAMBDA_RUNTIMES,
    kinds=EVERY_KIND,
)
def _runtime(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    configuration = reading.configuration(facts)
    name = configuration.get("Runtime")
    if not name:
        raise Unseen("the function is a container image, whose Python is not seen")
    fixes = configure(facts, "--runtime", _RUNTIME, "Runtime")
    end = RUNTIMES.get(name)
    read_on = f"as of {RUNTIMES_READ_ON}"
    if end is not None and end <= facts.today:
        return problem(f"{name} is deprecated since {end} ({read_on})", *fixes)
    if name not in SUPPORTED_RUNTIMES and facts.kind is Kind.LAMBDA:
        return problem(f"{name}: the function is made for {', '.join(SUPPORTED_RUNTIMES)}", *fixes)
    if end is not None and end - facts.today < _SOON:
        return warning(f"{name} is deprecated from {end} on ({read_on})", *fixes)
    if end is None:
        raise Unseen(f"until when {name} is supported is not known here ({read_on})")
    return ok(f"{name}, until {end} ({read_on})")


@rule(
    "release",
    "Caller and function are of the same release",
    why="Patch releases work together. Beyond those the two sides may speak different envelopes, "
    "and an old function lacks what a new caller asks for.",
    source=DOCS_LAMBDA,
)
def _release(facts: Facts) -> Verdict | None:
    theirs = reading.server(facts).release
    ours = facts.environment.release
    if theirs is None or not ours:
        raise Unseen("the function did not say its release")
    saw = f"the function's {theirs}, {ours} here"
    if theirs == ours:
        return ok(f"both {ours}")
    their_parts, our_parts = theirs.split("."), ours.split(".")
    if their_parts[:2] == our_parts[:2]:
        return ok(saw)
    fix = Fix(Change.COMMAND, "odm package  # and deploy the bundle that it writes")
    if their_parts[0] != our_parts[0]:
        return problem(saw, fix)
    return warning(saw, fix)


@rule(
    "driver",
    "The driver here knows how to back off",
    why="From PyMongo 4.17 an overloaded server's or function's error is repeated with "
    "increasing pauses; an older driver shows it to the application.",
    source="https://github.com/mongodb/specifications/blob/master/source/client-backpressure/"
    "client-backpressure.md",
    kinds=EVERY_KIND,
)
def _driver(facts: Facts) -> Verdict | None:
    text = facts.environment.pymongo
    numbers = [int(part) for part in text.split(".")[:2] if part.isdecimal()]
    if len(numbers) < 2:
        raise Unseen(f"PyMongo's version is not understood: {text!r}")
    if numbers < [4, 17]:
        return warning(
            f"PyMongo {text}",
            Fix(Change.COMMAND, "python -m pip install --upgrade 'pymongo>=4.17'"),
        )
    return ok(f"PyMongo {text}")


@rule(
    "motor",
    "The driver is not at its end of life",
    why="Motor gets critical fixes only, and those until 2027-05-14.",
    source=MOTOR,
    kinds=DIRECT,
)
def _motor(facts: Facts) -> Verdict | None:
    if not facts.url.scheme.startswith("motor+") or facts.today < MOTOR_END:
        return None
    return warning(
        f"the URL asks for Motor, whose life ended on {MOTOR_END}",
        url_edit(facts, lambda url: url.removeprefix("motor+")),
    )


@rule(
    "server-version",
    "The server's version is supported",
    why="A server at its end of life gets no security fixes, and drivers stop knowing it.",
    source=MONGODB_LIFECYCLE,
    kinds=EVERY_KIND,
)
def _server_version(facts: Facts) -> Verdict | None:
    build = known(reading.server(facts).build)
    text = build.get("version", "")
    major = tuple(build.get("versionArray", ()))[:2]
    end = SERVERS.get(major)
    read_on = f"as of {SERVERS_READ_ON}"
    if end is None:
        if major and major < min(SERVERS):
            return problem(f"MongoDB {text}, without support for years", _upgrade())
        raise Unseen(f"the end of life of MongoDB {text} is not known here ({read_on})")
    if end <= facts.today:
        return warning(f"MongoDB {text}, end of life {end} ({read_on})", _upgrade())
    if end - facts.today < _SOON:
        return warning(f"MongoDB {text}, end of life soon, {end} ({read_on})", _upgrade())
    return ok(f"MongoDB {text}, until {end} ({read_on})")


def _upgrade() -> Fix:
    return Fix(Change.CODE, "upgrade the deployment, one major version at a time, to MongoDB 8.0")


@rule(
    "topology",
    "The deployment is a replica set or sharded",
    why="A standalone server knows no transactions, no retryable writes and no change streams, "
    "and has nobody to fail over to.",
    source=TRANSACTIONS,
    kinds=EVERY_KIND,
)
def _topology(facts: Facts) -> Verdict | None:
    hello = known(reading.server(facts).hello)
    if hello.get("msg") == "isdbgrid":
        return ok("a sharded cluster")
    if "setName" in hello:
        return ok(f"a replica set of {len(hello.get('hosts', ()))}")
    return warning(
        "a standalone server",
        Fix(Change.COMMAND, "mongod --replSet rs0 …  # then rs.initiate() in mongosh"),
    )


@rule(
    "region",
    "Application and function are in the same region, and the region is known",
    why="Each command is an invoke: across regions each waits tens of milliseconds more. Without "
    "a region the SDK cannot sign.",
    source=ATLAS,
)
def _region(facts: Facts) -> Verdict | None:
    options = facts.options
    assert options is not None, "a lambda:// URL has options"
    theirs, ours = _function_region(facts), facts.environment.region
    if theirs is None and ours is None:
        if options.is_local:
            return ok("not needed for a Lambda service of this machine")
        saw = "no region: not in the URL, nor in AWS_DEFAULT_REGION or a profile"
        variables = facts.environment.variables
        if not isinstance(variables, Unseen) and variables.get("AWS_REGION"):
            saw += "; AWS_REGION is set, which the SDK for Python does not read"
        return problem(
            saw,
            url_option(facts, "region", "<region>"),
        )
    # A developer's AWS_REGION says where to look, not where the application runs.
    if reading.is_lambda_caller(facts) and theirs and ours and theirs != ours:
        return warning(
            f"the function is in {theirs}, the application in {ours}",
            url_option(facts, "region", ours),
        )
    if not options.is_local and (name := theirs or ours) not in (there_are := _regions()):
        [near] = difflib.get_close_matches(str(name), there_are, n=1, cutoff=0) or ["<region>"]
        return warning(
            f"the AWS SDK knows no region '{name}'; did you mean '{near}'?",
            url_option(facts, "region", near),
        )
    return ok(f"{theirs or ours}")


def _regions() -> list[str]:
    """Return the regions with AWS Lambda that the installed SDK knows; AWS opens new ones."""
    from botocore.session import Session

    session = Session()
    partitions = session.get_available_partitions()
    return [name for each in partitions for name in session.get_available_regions("lambda", each)]


def _function_region(facts: Facts) -> str | None:
    """Return the region of the function: of its ARN, or the URL's."""
    assert facts.options is not None, "a lambda:// URL has options"
    function = facts.function
    if not isinstance(function, Unseen) and not isinstance(function.configuration, Unseen):
        parts = str(function.configuration.get("FunctionArn", "")).split(":")
        if len(parts) > 3:
            return parts[3]
    return facts.options.region


@rule(
    "cluster-region",
    "The cluster is in the function's region",
    why="Between regions every command, and every step of an authentication, waits.",
    source=ATLAS,
)
def _cluster_region(facts: Facts) -> Verdict | None:
    tags = known(reading.server(facts).hello).get("tags", {})
    theirs = str(tags.get("region", "")).lower().replace("_", "-")
    ours = _function_region(facts)
    if not theirs or ours is None:
        return None  # only Atlas tags its members with their region
    if theirs != ours:
        return warning(
            f"the member that answered is in {theirs}, the function in {ours}",
            Fix(Change.COMMAND, f"sam deploy --region {theirs}"),
        )
    return ok(f"both in {ours}")


@rule(
    "regional-sts",
    "AWS_STS_REGIONAL_ENDPOINTS is regional",
    why="The legacy global endpoint of AWS STS is in one region: farther away, and one more thing "
    "that can fail.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _regional_sts(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    value = reading.variables(facts).get("AWS_STS_REGIONAL_ENDPOINTS")
    if value == "regional":
        return ok("regional")
    return warning(
        "not set" if value is None else f"{value}",
        *set_variables(facts, {"AWS_STS_REGIONAL_ENDPOINTS": "regional"}),
    )


RULES = (
    _region,
    _cluster_region,
    _regional_sts,
    _runtime,
    _release,
    _driver,
    _motor,
    _server_version,
    _topology,
)
