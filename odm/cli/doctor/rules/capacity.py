"""Rules about how much there is: concurrency, connections, memory, environments that are ready."""

from __future__ import annotations

from odm.cli.doctor.changes import command, configure, parameters, qualified
from odm.cli.doctor.facts import Facts, Kind, Unseen, known
from odm.cli.doctor.rule import EVERY_KIND, Fix, Verdict, ok, problem, rule, warning
from odm.cli.doctor.rules import reading
from odm.cli.doctor.rules.sources import (
    ATLAS,
    ATLAS_LIMITS,
    LAMBDA_PROVISIONED,
    LAMBDA_SNAPSTART,
    WEBINY,
)

DEFAULT_RESERVED = 15
_MEMORY_MB, _VCPU_MB = 256, 1769
_NEARLY = 0.8


@rule(
    "reserved-concurrency",
    "Reserved concurrency is set: it is the ceiling of connections",
    why="How many environments of the function that connects run at once decides how many "
    "connections there can be.",
    source=WEBINY,
    kinds=EVERY_KIND,
)
def _reserved_concurrency(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    reserved = reading.reserved(facts)
    fixes = _reserve(facts, DEFAULT_RESERVED)
    if reserved is None:
        return problem("none: connections have no ceiling but the account's", *fixes)
    if reserved == 0:
        return problem("0: every invoke is throttled", *fixes)
    return ok(f"{reserved}")


def _reserve(facts: Facts, number: int) -> tuple[Fix, ...]:
    return (
        command(facts, f"put-function-concurrency --reserved-concurrent-executions {number}"),
        *parameters(facts, ReservedConcurrency=number),
    )


@rule(
    "connection-ceiling",
    "The ceiling of connections is below what each server accepts",
    why="Reserved concurrency x (maxPoolSize + monitors) connections can exist per server. Above "
    "its limit the server refuses everybody, and a new deployment of the function opens its "
    "connections while the old ones are still there.",
    source=ATLAS_LIMITS,
    kinds=EVERY_KIND,
)
def _connection_ceiling(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    reserved = reading.reserved(facts)
    concurrency = reserved
    if concurrency is None:
        if facts.kind is Kind.DIRECT:
            raise Unseen("without reserved concurrency there is no ceiling but the account's")
        concurrency = known(reading.function(facts).account_concurrency)
    pool = reading.max_pool_size(facts)
    if pool == 0:
        return problem("maxPoolSize is 0: there is no ceiling")
    each = pool + reading.monitors(facts)
    ceiling = concurrency * each
    limit, open_now = _limit(facts)
    whose = "reserved" if reserved is not None else "the account's (none is reserved)"
    saw = (
        f"{concurrency:,} ({whose}) x ({pool} + {reading.monitors(facts)}) = {ceiling:,} "
        f"connections per server, of {limit:,} that it accepts{reading.unless_in_uri(facts)}"
    )
    fits = max(1, int(limit * _NEARLY) // each)
    if ceiling > limit:
        return problem(saw, *_reserve(facts, fits))
    if ceiling > limit * _NEARLY:
        return warning(saw, *_reserve(facts, fits))
    if open_now > limit * _NEARLY:
        return warning(f"{saw}; {open_now:,} are open now, by whomever")
    if 2 * ceiling > limit:
        return warning(
            f"{saw}: a new deployment while the old environments live needs twice as many",
            *_reserve(facts, max(1, limit // (2 * each))),
        )
    return ok(saw)


def _limit(facts: Facts) -> tuple[int, int]:
    """Return how many connections a server accepts, and how many are open."""
    if facts.connection_limit is not None:
        return facts.connection_limit, 0
    try:
        connections = known(reading.server(facts).status)["connections"]
    except Unseen as unseen:
        raise Unseen(
            f"{unseen.reason}: say what each server accepts with --connection-limit "
            "(Atlas M10: 1500)"
        ) from None
    return connections["current"] + connections["available"], connections["current"]


@rule(
    "memory",
    "Memory is chosen: enough for the driver and for large messages, and no more CPU than one "
    "invocation can use",
    why="CPU comes with memory. At 128 MB, the default, a cold start takes longest, and messages "
    "near 48 MB do not fit; above 1,769 MB, one vCPU, one invocation at a time has no use for "
    "more.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _memory(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    size = int(reading.configuration(facts)["MemorySize"])
    fixes = configure(facts, "--memory-size", _MEMORY_MB, "MemorySize")
    if size < _MEMORY_MB:
        return warning(f"{size} MB", *fixes)
    if size > _VCPU_MB and facts.kind is Kind.LAMBDA:  # an application may have a use for it
        return warning(f"{size:,} MB, more than one vCPU", *fixes)
    return ok(f"{size} MB")


@rule(
    "provisioned-concurrency",
    "Provisioned concurrency is where the URL points, and ready",
    why="It keeps environments initialised, and is paid for by the hour: on another version or "
    "alias than the one that is invoked it does nothing.",
    source=LAMBDA_PROVISIONED,
)
def _provisioned_concurrency(facts: Facts) -> Verdict | None:
    function = reading.function(facts)
    found = known(function.provisioned)
    if not found:
        return ok(f"none{_cold_start(facts)}")
    qualifiers = _qualifiers(facts)
    ours = [each for each in found if _qualifier(each["FunctionArn"]) in qualifiers]
    if not ours:
        where = _qualifier(found[0]["FunctionArn"])
        called = function.qualifier or "$LATEST"
        return problem(
            f"it is on {where!r}, and the URL invokes {called!r}",
            qualified(facts, where),
        )
    [first, *_] = ours
    count = first.get("RequestedProvisionedConcurrentExecutions", 0)
    status = first.get("Status")
    if status == "FAILED":
        return problem(f"{count}, failed: {first.get('StatusReason', 'no reason is given')}")
    if status != "READY":
        return warning(f"{count}, not ready yet: {status}")
    return ok(f"{count} on {_qualifier(first['FunctionArn'])!r}")


def _cold_start(facts: Facts) -> str:
    if isinstance(facts.server, Unseen) or facts.server.init_ms is None:
        return "; a new environment's first caller waits for its initialisation"
    return f"; initialisation of the environment that answered took {facts.server.init_ms:,.0f} ms"


def _qualifier(arn: str) -> str:
    return arn.rpartition(":")[2]


def _qualifiers(facts: Facts) -> set[str]:
    """Return the names of what the URL invokes: the alias, and the version it points to."""
    function = reading.function(facts)
    names = {function.qualifier or "$LATEST"}
    if not isinstance(function.alias, Unseen) and function.alias is not None:
        names.add(function.alias["FunctionVersion"])
    return names


@rule(
    "snapstart",
    "SnapStart is in effect where it is switched on",
    why="It restores environments from a snapshot, from Python 3.12 on, and of published versions "
    "only: invoked as $LATEST the function starts cold, and without an error.",
    source=LAMBDA_SNAPSTART,
)
def _snapstart(facts: Facts) -> Verdict | None:
    configuration = reading.configuration(facts)
    snap = configuration.get("SnapStart", {})
    if snap.get("ApplyOn", "None") == "None":
        return ok("off")
    runtime = str(configuration.get("Runtime", ""))
    if runtime in ("python3.8", "python3.9", "python3.10", "python3.11"):
        return problem(
            f"on, and {runtime} has none: it needs Python 3.12",
            *configure(facts, "--runtime", "python3.13", "Runtime"),
        )
    if configuration.get("Version", "$LATEST") == "$LATEST":
        return problem(
            "on, and the URL invokes $LATEST, which has no snapshot",
            command(facts, "publish-version"),
            command(facts, "create-alias --name live --function-version <version>"),
            qualified(facts, "live"),
        )
    if reading.function(facts).provisioned and known(reading.function(facts).provisioned):
        return problem("on, beside provisioned concurrency, which it cannot be used with")
    if snap.get("OptimizationStatus") != "On":
        return warning(
            "on, and this version has no snapshot: it was published before",
            command(facts, "publish-version"),
        )
    return ok(f"on, for version {configuration.get('Version')}")


RULES = (
    _reserved_concurrency,
    _connection_ceiling,
    _memory,
    _provisioned_concurrency,
    _snapstart,
)
