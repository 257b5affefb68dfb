"""Rules about connections: that they are reused, closed in time, and few."""

from __future__ import annotations

from odm.cli.doctor.changes import set_variables, uri_option
from odm.cli.doctor.facts import Facts, Kind, Unseen, known
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
    DOCS_CALLERS,
    DOCS_LAMBDA,
    RETRYABLE_WRITES,
    URI_OPTIONS,
    WEBINY,
)

_IDLE_MS = 60_000
_HANDLER = "transports.lambda_invoke.function.app.handler"
_MANY = 10
_LONG_ENOUGH_S = 600
_CHURN_PER_MINUTE = 60


@rule(
    "client-reuse",
    "The client is created once, outside the handler, and reused",
    why="A client for each invocation is a new connection for each: expensive, and soon more of "
    "them than the server accepts.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _client_reuse(facts: Facts) -> Verdict | None:
    fix = Fix(
        Change.CODE,
        "db = connect(models=[…]) at the module's level, and @odm.lambda_handler(db) on the "
        f"handler ({DOCS_CALLERS})",
    )
    if facts.clients_made_again is not None:
        places = known(facts.clients_made_again)
        if places:
            return problem(f"made anew in each invocation: {'; '.join(places)}", fix)
        return ok("no handler in the source makes a client")
    if facts.kind is Kind.LAMBDA and _is_ours(facts):
        return ok("the function is ours: its handler's module makes one client and keeps it")
    churn = _churn_per_minute(facts)
    if churn is None:
        raise Unseen(
            "where the application makes its client stands in its code: name it with --code PATH"
        )
    if churn > _CHURN_PER_MINUTE:
        return warning(
            f"the server has accepted {churn:,.0f} new connections a minute since it started: "
            "clients are not reused",
            fix,
        )
    return ok(f"the server has accepted {churn:,.1f} new connections a minute since it started")


def _is_ours(facts: Facts) -> bool:
    """Whether the function runs our handler, as its configuration or it itself says."""
    if not isinstance(facts.server, Unseen) and facts.server.release:
        return True
    return reading.configuration(facts).get("Handler") == _HANDLER


def _churn_per_minute(facts: Facts) -> float | None:
    """Return new connections a minute; None where the server has not run for long enough."""
    status = known(reading.server(facts).status) if not isinstance(facts.server, Unseen) else {}
    uptime_s = float(status.get("uptime", 0))
    if uptime_s < _LONG_ENOUGH_S:
        return None
    return float(status.get("connections", {}).get("totalCreated", 0)) / (uptime_s / 60)


@rule(
    "max-idle-time",
    "maxIdleTimeMS is 60000: idle connections are closed after a minute",
    why="A connection that outlives its use costs the server memory, and one that a firewall has "
    "forgotten costs the next command a time-out.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _max_idle_time(facts: Facts) -> Verdict | None:
    if facts.kind is Kind.DIRECT and reading.is_local(facts):
        return None
    given = reading.number_in_uri(facts, "maxIdleTimeMS")
    if facts.kind is Kind.LAMBDA:
        default = reading.DEFAULTS.max_idle_time_ms
        value = given if given is not None else reading.setting(facts, "MAX_IDLE_TIME_MS", default)
        named = f"{value:,} ms" + ("" if given is not None else " (ODM_PROXY_MAX_IDLE_TIME_MS)")
        named += reading.unless_in_uri(facts)
    else:
        value, named = given or 0, f"{given:,} ms" if given else "not set"
    if 0 < value <= _IDLE_MS:
        return ok(f"maxIdleTimeMS is {named}")
    if value == 0:
        saw = "maxIdleTimeMS is not set: idle connections are never closed"
    else:
        saw = f"maxIdleTimeMS is {named}, more than {_IDLE_MS:,}"
    if facts.kind is Kind.LAMBDA and given is None:
        return warning(saw, *set_variables(facts, {"ODM_PROXY_MAX_IDLE_TIME_MS": str(_IDLE_MS)}))
    return warning(saw, uri_option(facts, known(facts.uri), "maxIdleTimeMS", _IDLE_MS))


@rule(
    "max-pool-size",
    "The pool is small: an execution environment runs one invocation at a time",
    why="Connections are at most concurrency x (maxPoolSize + monitors) per server; the driver's "
    "default of 100 makes a small concurrency a large number.",
    source=WEBINY,
    kinds=EVERY_KIND,
)
def _max_pool_size(facts: Facts) -> Verdict | None:
    if facts.kind is Kind.DIRECT and not reading.is_lambda_caller(facts):
        return None
    given = reading.number_in_uri(facts, "maxPoolSize")
    if facts.kind is Kind.DIRECT:
        size, default = reading.max_pool_size(facts), given is None
    else:
        size, default = reading.max_pool_size(facts), False
    saw = f"maxPoolSize is {size}" + (", the driver's default" if default else "")
    saw += reading.unless_in_uri(facts)
    if 0 < size <= _MANY:
        return ok(saw)
    if facts.kind is Kind.LAMBDA and given is None:
        fixes = set_variables(facts, {"ODM_PROXY_MAX_POOL_SIZE": "4"})
    else:
        fixes = (uri_option(facts, known(facts.uri), "maxPoolSize", 4),)
    if size == 0:
        return problem("maxPoolSize is 0: there is no limit", *fixes)
    return warning(f"{saw}, for one invocation at a time", *fixes)


@rule(
    "min-pool-size",
    "No connections are kept open for nothing",
    why="With minPoolSize every execution environment, frozen ones included, holds that many "
    "connections to every server.",
    source=URI_OPTIONS,
    kinds=EVERY_KIND,
)
def _min_pool_size(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    uri = known(facts.uri)
    size = uri.number("minPoolSize") or 0
    if size == 0:
        return ok("minPoolSize is 0")
    return warning(f"minPoolSize is {size}", uri_option(facts, uri, "minPoolSize", 0))


@rule(
    "monitoring-mode",
    "One monitoring connection per server, not two",
    why="On AWS Lambda the driver polls its servers over one connection; with "
    "serverMonitoringMode=stream it holds a second one, which a frozen environment cannot serve.",
    source=DOCS_LAMBDA,
    kinds=EVERY_KIND,
)
def _monitoring_mode(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    uri = known(facts.uri)
    mode = uri.options.get("servermonitoringmode", "auto")
    if mode == "stream":
        return warning(
            "serverMonitoringMode is stream",
            uri_option(facts, uri, "serverMonitoringMode", "auto"),
        )
    return ok(f"serverMonitoringMode is {mode}")


@rule(
    "retry-writes",
    "Writes are retryable",
    why="A retryable write has a number by which the server applies a repetition once; without it "
    "a write whose answer was lost is lost or doubled.",
    source=RETRYABLE_WRITES,
    kinds=DIRECT,
)
def _retry_writes(facts: Facts) -> Verdict | None:
    uri = known(facts.uri)
    for name, value in (("retryWrites", "false"), ("w", "0")):
        if uri.options.get(name.lower(), "").lower() == value:
            instead = {"retryWrites": "true", "w": "majority"}[name]
            return warning(f"{name} is {value}", uri_option(facts, uri, name, instead))
    return ok("retryWrites and w are not turned off")


@rule(
    "direct-from-lambda",
    "Lambda functions reach MongoDB through the DB proxy function",
    why="Every concurrent execution environment of a function that connects directly opens a pool "
    "of its own, and leaves it behind as zombie connections when it ends.",
    source=WEBINY,
    kinds=DIRECT,
)
def _direct_from_lambda(facts: Facts) -> Verdict | None:
    if not reading.is_lambda_caller(facts):
        return None
    name = facts.environment.lambda_function
    return warning(
        f"the application is the Lambda function {name!r} and connects directly",
        Fix(
            Change.URL,
            f"lambda://db-proxy:live/{facts.url.database}"
            + (f"?region={facts.environment.region}" if facts.environment.region else ""),
        ),
    )


@rule(
    "staging",
    "Bodies too large for one invoke have a staging collection",
    why="Messages and replies over AWS Lambda's 6 MB pass in parts through a collection; callers "
    "cannot reach it, and the function's user needs readWrite on it.",
    source=DOCS_LAMBDA,
)
def _staging(facts: Facts) -> Verdict | None:
    default = reading.DEFAULTS.staging
    name = reading.variables(facts).get("ODM_PROXY_STAGING", "").strip() or default
    database, _, collection = name.partition(".")
    if not (database and collection):
        return problem(
            f"ODM_PROXY_STAGING is {name!r}, which is no database.collection: "
            "the function does not start",
            *set_variables(facts, {"ODM_PROXY_STAGING": default}),
        )
    if database in ("admin", "config", "local"):
        return problem(
            f"ODM_PROXY_STAGING is {name!r}, in a database of the server's own",
            *set_variables(facts, {"ODM_PROXY_STAGING": default}),
        )
    return ok(f"{name}; its user needs readWrite on {database}")


RULES = (
    _client_reuse,
    _max_idle_time,
    _max_pool_size,
    _min_pool_size,
    _monitoring_mode,
    _retry_writes,
    _direct_from_lambda,
    _staging,
)
