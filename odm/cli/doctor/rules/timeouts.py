"""Rules about time: who gives up before whom, and who tries again.

The order is server selection and maxTimeMS < the function's time-out < the transport's read
time-out < the calling function's time-out: each can then say what went wrong below it.
"""

from __future__ import annotations

import json

from odm.cli.doctor.changes import configure, set_variables, uri_option, url_option
from odm.cli.doctor.facts import Facts, known
from odm.cli.doctor.rule import (
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
    LAMBDA_BEST_PRACTICES,
    LAMBDA_TIMEOUT,
    SDK_RETRIES,
    URI_OPTIONS,
)

_SHORT_S = 10


@rule(
    "server-timeout",
    "The function gives up on the server before its own time is up",
    why="A function that is stopped while it looks for a server cannot say so: the caller learns "
    "of a time-out, and not whether the command ran.",
    source=DOCS_LAMBDA,
)
def _server_timeout(facts: Facts) -> Verdict | None:
    limit_s = reading.timeout_s(facts)
    waits_s = {
        "ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": reading.setting(
            facts, "SERVER_SELECTION_TIMEOUT_MS", reading.DEFAULTS.server_selection_timeout_ms
        )
        / 1000,
        "serverSelectionTimeoutMS": (reading.number_in_uri(facts, "serverSelectionTimeoutMS") or 0)
        / 1000,
        "connectTimeoutMS": (reading.number_in_uri(facts, "connectTimeoutMS") or 0) / 1000,
    }
    wait_s = max(waits_s.values())
    saw = f"server selection and connecting {wait_s:g} s, the function's time-out {limit_s:g} s"
    if wait_s < limit_s:
        return ok(saw + reading.unless_in_uri(facts))
    if limit_s < _SHORT_S:
        return problem(
            saw, *configure(facts, "--timeout", max(30, int(wait_s) + _SHORT_S), "Timeout")
        )
    shorter = reading.DEFAULTS.server_selection_timeout_ms
    fixes: list[Fix] = []
    for name, value_s in waits_s.items():
        if value_s < limit_s:
            continue
        if name.startswith("ODM_"):
            fixes.extend(set_variables(facts, {name: str(shorter)}))
        else:
            fixes.append(uri_option(facts, known(facts.uri), name, shorter))
    return problem(saw, *fixes)


@rule(
    "command-timeout",
    "Limits on a command's time are below the function's time-out",
    why="A socketTimeoutMS, timeoutMS or maxTimeMS above the function's time-out never comes to "
    "pass: the function is stopped first, and its connections with it.",
    source=URI_OPTIONS,
)
def _command_timeout(facts: Facts) -> Verdict | None:
    limit_s = reading.timeout_s(facts)
    given = {}
    for name in ("socketTimeoutMS", "timeoutMS"):
        value = reading.number_in_uri(facts, name)
        if value:
            given[name] = value
    if ceiling := _policy_max_time_ms(facts):
        given["maxTimeMS of ODM_PROXY_POLICY"] = ceiling
    over = {name: value for name, value in given.items() if value / 1000 >= limit_s}
    if over:
        named = ", ".join(f"{name} {value:,} ms" for name, value in over.items())
        longest = max(over.values()) // 1000 + _SHORT_S
        return warning(
            f"{named}; the function's time-out is {limit_s:g} s",
            *configure(facts, "--timeout", longest, "Timeout"),
        )
    if not given:
        return ok(
            "none is set: the function itself ends what its time does not suffice for"
            + reading.unless_in_uri(facts)
        )
    return ok(", ".join(f"{name} {value:,} ms" for name, value in given.items()))


def _policy_max_time_ms(facts: Facts) -> int | None:
    try:
        stated = json.loads(reading.variables(facts).get("ODM_PROXY_POLICY", ""))
        value = stated.get("maxTimeMS")
    except (ValueError, AttributeError):  # a preset, a file, or none
        return None
    return value if isinstance(value, int) else None


@rule(
    "function-timeout",
    "The function has time for a cold start and for a slow command",
    why="AWS's default of 3 s is spent by one cold start and one election; a command that is cut "
    "short may have run.",
    source=LAMBDA_TIMEOUT,
)
def _function_timeout(facts: Facts) -> Verdict | None:
    limit_s = reading.timeout_s(facts)
    if limit_s < _SHORT_S:
        return warning(
            f"the function's time-out is {limit_s:g} s",
            *configure(facts, "--timeout", 30, "Timeout"),
        )
    return ok(f"{limit_s:g} s")


@rule(
    "invoke-timeout",
    "The transport waits longer for a response than the function may run",
    why="Whoever gives up before the function does not know whether the command ran, and pays for "
    "it all the same.",
    source=DOCS_LAMBDA,
)
def _invoke_timeout(facts: Facts) -> Verdict | None:
    options = facts.options
    assert options is not None, "a lambda:// URL has options"
    if options.invoke_timeout_s is None:
        return ok("the function's own time-out and 5 s more, the default")
    limit_s = reading.timeout_s(facts)
    saw = f"invokeTimeoutMS {options.invoke_timeout_s:g} s, the function's {limit_s:g} s"
    if options.invoke_timeout_s > limit_s:
        return ok(saw)
    longer = round((limit_s + reading.INVOKE_MARGIN_S) * 1000)
    return problem(saw, url_option(facts, "invokeTimeoutMS", longer))


@rule(
    "caller-timeout",
    "A calling Lambda function outlives its invokes",
    why="A caller that is stopped while it waits leaves a command running, and its own caller "
    "without an answer.",
    source=LAMBDA_TIMEOUT,
)
def _caller_timeout(facts: Facts) -> Verdict | None:
    caller = reading.caller(facts)
    own_s = float(known(caller.configuration)["Timeout"])
    wait_s = reading.read_timeout_s(facts)
    saw = f"{caller.name}'s time-out {own_s:g} s, an invoke's {wait_s:g} s"
    if own_s > wait_s:
        return ok(saw)
    fix = Fix(
        Change.COMMAND,
        f"aws lambda update-function-configuration --function-name {caller.name} "
        f"--timeout {int(wait_s) + _SHORT_S}",
    )
    return warning(saw, fix)


@rule(
    "sdk-retries",
    "Nothing but the driver repeats an invoke",
    why="A repeated invoke runs the command again. The transport posts each once, whatever "
    "AWS_MAX_ATTEMPTS says; an SDK client of one's own posts five times after a read time-out.",
    source=SDK_RETRIES,
)
def _sdk_retries(facts: Facts) -> Verdict | None:
    given = known(facts.environment.variables)
    named = [
        f"{name}={given[name]}" for name in ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE") if name in given
    ]
    if not named:
        return ok("the transport posts each invoke once")
    return ok(
        f"{', '.join(named)} has no part in lambda://, which posts each invoke once; it has in "
        "clients of the application's own: give those that invoke total_max_attempts=1"
    )


@rule(
    "caller-in-function",
    "A function that waits for a function has a reason to",
    why="Both are billed while one waits. It is right where connections are what runs out, and "
    "wrong for long queries.",
    source=LAMBDA_BEST_PRACTICES,
)
def _caller_in_function(facts: Facts) -> Verdict | None:
    if not reading.is_lambda_caller(facts):
        return None
    name = facts.environment.lambda_function
    return ok(f"{name} waits for the DB proxy function: see 'When not to' in {DOCS_LAMBDA}")


RULES = (
    _server_timeout,
    _command_timeout,
    _function_timeout,
    _invoke_timeout,
    _caller_timeout,
    _sdk_retries,
    _caller_in_function,
)
