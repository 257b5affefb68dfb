"""Exact changes, written out: lines for a shell, parameters of the templates, URLs.

Nothing here is carried out, and nothing secret is written: where a command has to keep what is
configured, it reads it from AWS when it runs.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from odm.cli.doctor.facts import Facts, Kind, Unseen, UriFacts
from odm.cli.doctor.rule import Change, Fix
from transports.url import redact_url

Edit = Callable[[str], str]

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "ODM_PROXY_MAX_POOL_SIZE": "MaxPoolSize",
        "ODM_PROXY_MAX_IDLE_TIME_MS": "MaxIdleTimeMs",
        "ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS": "ServerSelectionTimeoutMs",
        "ODM_PROXY_POLICY": "Policy",
        "ODM_PROXY_STAGING": "Staging",
        "ODM_PROXY_MONGODB_URI": "MongodbUri",
    }
)
"""The function's variables and the parameters of ``deploy/template.yaml`` that set them."""

_ENVIRONMENT = "--query Environment --output json"


def aws_line(facts: Facts, command: str) -> str:
    """Return ``aws lambda <command>`` for the function that connects to MongoDB, where it is.

    Args:
        facts: what the URL says.
        command: the command and what stands after ``--function-name``.
    """
    function = facts.options.function if facts.options else facts.environment.lambda_function or ""
    words = command.split(" ", 2 if command.startswith("wait ") else 1)
    verb, rest = (words[:2], words[2:]) if words[0] == "wait" else (words[:1], words[1:])
    words = ["aws", "lambda", *verb, "--function-name", shlex.quote(function), *rest]
    return " ".join(words) + _where(facts)


def _where(facts: Facts) -> str:
    options = facts.options
    if options is None:
        region = facts.environment.region
        return f" --region {shlex.quote(region)}" if region else ""
    given = {
        "--region": options.region,
        "--profile": options.profile,
        "--endpoint-url": options.endpoint,
    }
    return "".join(f" {name} {shlex.quote(value)}" for name, value in given.items() if value)


def command(facts: Facts, text: str) -> Fix:
    """Return a command on the function; a second change has to wait until a first is done."""
    line = aws_line(facts, text)
    if text.startswith("update-function-configuration"):
        line += f" && {aws_line(facts, 'wait function-updated-v2')}"
    return Fix(Change.COMMAND, line)


def parameters(facts: Facts, **values: object) -> tuple[Fix, ...]:
    """Return how parameters of ``deploy/template.yaml``, or of the Terraform module, are set.

    A tuple is a list: the template's has commas, Terraform's is JSON. The module's variables are
    set where it is used, in a configuration that is not known here. None for a function of the
    application's own.
    """
    if facts.kind is not Kind.LAMBDA:
        return ()
    sam = " ".join(
        f"{name}={shlex.quote(','.join(value) if isinstance(value, tuple) else str(value))}"
        for name, value in values.items()
    )
    terraform = " and ".join(f"{_snake(name)} = {_hcl(value)}" for name, value in values.items())
    return (
        Fix(
            Change.TEMPLATE,
            f"sam deploy --template-file deploy/template.yaml --parameter-overrides {sam}",
        ),
        Fix(Change.TERRAFORM, f"in the block of the Terraform module: {terraform}"),
    )


def _hcl(value: object) -> str:
    """Return *value* as Terraform reads it: JSON, but that strings are templates."""
    text = json.dumps(list(value) if isinstance(value, tuple) else value)
    return text.replace("${", "$${").replace("%{", "%%{")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def configure(facts: Facts, option: str, value: object, template: str | None) -> tuple[Fix, ...]:
    """Return how an option of ``update-function-configuration`` is changed.

    Args:
        facts: what the URL says.
        option: of the command.
        value: its new value.
        template: the parameter of ``deploy/template.yaml``, None if it has none.
    """
    line = command(facts, f"update-function-configuration {option} {value}")
    return (line, *parameters(facts, **{template: value})) if template else (line,)


def set_variables(
    facts: Facts, variables: dict[str, str], *, remove: tuple[str, ...] = ()
) -> tuple[Fix, ...]:
    """Return how variables of the function are changed while the others are kept.

    ``update-function-configuration --environment`` replaces all of them.
    """
    steps = [f".Variables += {json.dumps(variables)}"] if variables else []
    steps += [f"del(.Variables.{name})" for name in remove]
    current = aws_line(facts, f"get-function-configuration {_ENVIRONMENT}")
    value = f'"$({current} | jq -c {shlex.quote(" | ".join(steps))})"'
    line = command(facts, f"update-function-configuration --environment {value}")
    named = {PARAMETERS[name]: value for name, value in variables.items() if name in PARAMETERS}
    return (line, *parameters(facts, **named)) if named else (line,)


def publish(facts: Facts) -> Fix | None:
    """Return how changes of the configuration reach the alias that the URL names."""
    options = facts.options
    if options is None or not options.qualifier or options.qualifier == "$LATEST":
        return None
    if options.qualifier.isdecimal():
        text = aws_line(facts, "publish-version --query Version --output text")
        return Fix(Change.COMMAND, f"{text}  # and name that version in the URL")
    version = aws_line(facts, "publish-version --query Version --output text")
    update = aws_line(
        facts, f'update-alias --name {options.qualifier} --function-version "$({version})"'
    )
    return Fix(Change.COMMAND, update)


def url_edit(facts: Facts, edit: Edit) -> Fix:
    """Return the URL that the application is given, changed."""
    return Fix(Change.URL, redact_url(edit(facts.url.redacted)), edit)


def url_option(facts: Facts, name: str, value: object) -> Fix:
    """Return the URL with an option added or replaced."""
    return url_edit(facts, partial(with_option, name=name, value=str(value)))


def qualified(facts: Facts, qualifier: str) -> Fix:
    """Return the URL with another version or alias of its function."""
    options = facts.options
    assert options is not None, "a lambda:// URL has options"
    before, after = f"lambda://{facts.url.target}", f"lambda://{options.function}:{qualifier}"
    return url_edit(facts, lambda url: url.replace(before, after, 1))


def uri_edit(facts: Facts, uri: UriFacts, edit: Edit) -> Fix:
    """Return the ``mongodb://`` URI, changed: of a direct URL that is the URL itself."""
    text = redact_url(edit(uri.redacted))
    if facts.kind is Kind.DIRECT:
        return Fix(Change.URL, text, edit)
    return Fix(Change.URI, f"{uri.where}: {text}", edit)


def uri_option(facts: Facts, uri: UriFacts, name: str, value: object) -> Fix:
    """Return the ``mongodb://`` URI with an option added or replaced."""
    return uri_edit(facts, uri, partial(with_option, name=name, value=str(value)))


def together(facts: Facts, changes: Iterable[Fix]) -> list[Fix]:
    """Return the URL, and the URI behind a function, with all of *changes* made."""
    made = []
    by_place: dict[Change, list[Edit]] = {}
    for fix in changes:
        if fix.edit is not None:
            by_place.setdefault(fix.change, []).append(fix.edit)
    for change, edits in by_place.items():
        if len(edits) < 2:
            continue
        text = facts.url.redacted
        if change is Change.URI and not isinstance(facts.uri, Unseen):
            text = facts.uri.redacted
        for edit in edits:
            text = edit(text)
        made.append(Fix(change, redact_url(text)))
    return made


def with_option(url: str, name: str, value: str | None) -> str:
    """Return *url* with an option set, or without it where *value* is None."""
    body, _, query = url.partition("?")
    kept = [
        pair for pair in query.split("&") if pair and pair.partition("=")[0].lower() != name.lower()
    ]
    if value is not None:
        kept.append(f"{name}={value}")
    if "://" in body and "/" not in body.partition("://")[2] and kept:
        body += "/"
    return redact_url(body + ("?" + "&".join(kept) if kept else ""))


def with_iam(uri: str) -> str:
    """Return *uri* with AWS IAM authentication and no credentials."""
    text = uri.replace("***@", "", 1)
    text = with_option(text, "authMechanismProperties", None)
    text = with_option(text, "authSource", "%24external")
    return with_option(text, "authMechanism", "MONGODB-AWS")
