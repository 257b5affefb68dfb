"""Rules about what is deployed: that it is there, that it starts, and that it can be seen."""

from __future__ import annotations

import re

from odm.cli.doctor.changes import command, configure, parameters, qualified, set_variables
from odm.cli.doctor.facts import Facts, NoSuchFunction, Unseen, known
from odm.cli.doctor.rule import (
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
    DOCS_LAMBDA,
    LAMBDA_ALIASES,
    LAMBDA_LOGS,
    LAMBDA_STATES,
    LAMBDA_TRACING,
)
from transports.lambda_invoke.function.settings import PREFIX, ConfigurationError, FunctionSettings

_HANDLER = "transports.lambda_invoke.function.app.handler"
_REFERENCES = ("MONGODB_URI", "MONGODB_URI_SECRET", "MONGODB_URI_PARAMETER")
_JUDGED = (PREFIX + "POLICY", PREFIX + "STAGING")
_RETENTION_DAYS = 30


@rule(
    "reachable",
    "MongoDB answers under the URL",
    why="All else is theory.",
    source=DOCS_LAMBDA,
    kinds=EVERY_KIND,
)
def _reachable(facts: Facts) -> Verdict | None:
    server = known(facts.server)
    if server.error is not None:
        return problem(server.error)
    return ok(f"in {server.opened_ms:,.0f} ms")


@rule(
    "function",
    "The function that the URL names is there and ready",
    why="A failed update leaves the old code running; an inactive function needs seconds for its "
    "first invoke.",
    source=LAMBDA_STATES,
)
def _function(facts: Facts) -> Verdict | None:
    if isinstance(facts.function, NoSuchFunction):
        return problem(
            facts.function.reason,
            Fix(
                Change.COMMAND,
                "sam deploy --guided --template deploy/template.yaml"
                "  # or the function's name, region and profile in the URL",
            ),
        )
    found = reading.function(facts)
    if found.missing:
        return problem(
            found.missing,
            command(facts, "publish-version"),
            command(facts, f"create-alias --name {found.qualifier} --function-version <version>"),
        )
    configuration = known(found.configuration)
    state = configuration.get("State", "Active")
    update = configuration.get("LastUpdateStatus", "Successful")
    if state == "Failed" or update == "Failed":
        reason = configuration.get("StateReason") or configuration.get("LastUpdateStatusReason")
        return problem(f"{'it' if state == 'Failed' else 'its last update'} failed: {reason}")
    if state != "Active" or update == "InProgress":
        return warning(f"state {state}, last update {update}")
    return ok(f"{configuration.get('FunctionArn', found.name)}")


@rule(
    "handler",
    "The function runs the DB proxy's handler",
    why="Another handler answers with something that is no envelope: every command fails, and "
    "whether it ran is unknown.",
    source=DOCS_LAMBDA,
)
def _handler(facts: Facts) -> Verdict | None:
    if not isinstance(facts.server, Unseen) and facts.server.release:
        return ok(f"it says that it is release {facts.server.release}")
    name = reading.configuration(facts).get("Handler")
    if not name:
        raise Unseen("the function is a container image, whose handler is not seen")
    if name == _HANDLER:
        return ok(name)
    return warning(f"{name}", *configure(facts, "--handler", _HANDLER, None))


@rule(
    "settings",
    "The function's variables are understood",
    why="A mistake in them fails the function's initialisation, and with it every invoke.",
    source=DOCS_LAMBDA,
)
def _settings(facts: Facts) -> Verdict | None:
    variables = reading.variables(facts)
    given = [name for name in _REFERENCES if variables.get(PREFIX + name, "").strip()]
    if not given:
        return problem(
            f"no MongoDB URI: none of {', '.join(PREFIX + name for name in _REFERENCES)}",
            *set_variables(
                facts,
                {
                    "ODM_PROXY_MONGODB_URI": "mongodb+srv://<cluster>.mongodb.net/"
                    f"{facts.url.database}?authSource=%24external&authMechanism=MONGODB-AWS"
                },
            ),
        )
    if len(given) > 1:
        return problem(
            f"{' and '.join(PREFIX + name for name in given)} are set: the function has one URI",
            *set_variables(facts, {}, remove=(PREFIX + given[0],)),
        )
    # Those of the URI, of the policy and of the staging collection have rules of their own.
    others = {
        name: value
        for name, value in variables.items()
        if name not in (*(PREFIX + each for each in _REFERENCES), *_JUDGED)
    }
    try:
        FunctionSettings.from_environment({**others, PREFIX + "MONGODB_URI": "mongodb://x/"})
    except ConfigurationError as error:
        named = tuple(sorted(set(re.findall(rf"{PREFIX}\w+", str(error)))))
        return problem(
            f"the function does not start: {error}", *set_variables(facts, {}, remove=named)
        )
    return ok(f"the MongoDB URI comes from {PREFIX}{given[0]}")


@rule(
    "qualifier",
    "The URL names an alias, or a version",
    why="$LATEST changes under running callers, has no provisioned concurrency and no SnapStart. "
    "An alias is what a deployment moves, and back; a permission can be for it alone.",
    source=LAMBDA_ALIASES,
)
def _qualifier(facts: Facts) -> Verdict | None:
    options = facts.options
    assert options is not None, "a lambda:// URL has options"
    if options.qualifier in (None, "$LATEST"):
        if options.is_local and _is_without_configuration(facts):
            return ok("$LATEST, of a Lambda service of this machine")
        return warning(
            "the URL invokes $LATEST",
            command(facts, "publish-version"),
            command(facts, "create-alias --name live --function-version <version>"),
            qualified(facts, "live"),
        )
    alias = known(reading.function(facts).alias)
    if alias is None:
        return ok(f"{options.qualifier}")
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    if weights:
        versions = ", ".join([alias["FunctionVersion"], *weights])
        return warning(
            f"{options.qualifier} is divided between versions {versions}: each has environments "
            "and connections of its own",
            command(facts, f"update-alias --name {options.qualifier} --routing-config '{{}}'"),
        )
    return ok(f"{options.qualifier}, version {alias['FunctionVersion']}")


def _is_without_configuration(facts: Facts) -> bool:
    """Whether the service only invokes, as a local Lambda does."""
    function = facts.function
    return not isinstance(function, Unseen) and isinstance(function.configuration, Unseen)


@rule(
    "tracing",
    "The function is traced",
    why="X-Ray shows where the time of an invoke goes: start, initialisation, the query.",
    source=LAMBDA_TRACING,
)
def _tracing(facts: Facts) -> Verdict | None:
    mode = reading.configuration(facts).get("TracingConfig", {}).get("Mode", "PassThrough")
    if mode == "Active":
        return ok("Active")
    return warning(
        f"{mode}",
        command(facts, "update-function-configuration --tracing-config Mode=Active"),
        *parameters(facts, Tracing="Active"),
    )


@rule(
    "log-retention",
    "The function's log expires",
    why="A log group that AWS Lambda makes keeps everything for ever, and for money.",
    source=LAMBDA_LOGS,
)
def _log_retention(facts: Facts) -> Verdict | None:
    days = known(reading.function(facts).retention_days)
    if days is not None:
        return ok(f"after {days} days")
    logging = reading.configuration(facts).get("LoggingConfig", {})
    name = str(reading.configuration(facts).get("FunctionName", ""))
    group = logging.get("LogGroup") or f"/aws/lambda/{name}"
    return warning(
        "never",
        Fix(
            Change.COMMAND,
            f"aws logs put-retention-policy --log-group-name {group} "
            f"--retention-in-days {_RETENTION_DAYS}",
        ),
        *parameters(facts, LogRetentionDays=_RETENTION_DAYS),
    )


RULES = (_reachable, _function, _handler, _settings, _qualifier, _tracing, _log_retention)
