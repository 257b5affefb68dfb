"""The DB proxy function, and the function that calls it, as AWS Lambda has them configured.

Only questions that read: ``lambda:Get*``, ``lambda:List*`` and ``logs:DescribeLogGroups``.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from odm.cli.doctor.aws import Aws
from odm.cli.doctor.facts import (
    CallerFacts,
    FunctionFacts,
    NoSuchFunction,
    Unreachable,
    Unseen,
    known,
)
from odm.cli.doctor.function_uri import given_uri, read_uri

_WORKERS = 4

Answers = Mapping[str, Any]


def function_facts(
    aws: Aws, told: Callable[[str], None], *, read: bool = False
) -> FunctionFacts | Unseen:
    """Return the function that the URL names.

    Args:
        aws: where it is.
        told: is called with the name of what is being asked.
        read: whether a URI that is kept in a secret or a parameter is read.
    """
    options = aws.options
    try:
        client = aws.client("lambda")
    except Unreachable as unreachable:
        return unreachable
    told(f"the function {options.display_name}")
    configuration = _configuration(aws, client, options.function, options.qualifier)
    missing = None
    if isinstance(configuration, NoSuchFunction) and options.qualifier:
        # The function itself is worth a look, even if this version or alias of it is missing.
        missing = f"{configuration.reason}{_aliases(aws, client, options.function)}"
        configuration = _configuration(aws, client, options.function, None)
    if isinstance(configuration, NoSuchFunction | Unreachable):
        return configuration
    variables = _take_variables(configuration)
    questions = {
        "reserved": lambda: _reserved(aws, client, options.function),
        "provisioned": lambda: _provisioned(aws, client, options.function),
        "alias": lambda: _alias(aws, client, options.function, options.qualifier),
        "account_concurrency": lambda: _account_concurrency(aws, client),
        "policy": lambda: _policy(aws, client, options.function, options.qualifier),
        "url_auth": lambda: _url_auth(aws, client, options.function, options.qualifier),
        "retention_days": lambda: _retention(aws, options.function, configuration),
    }
    with ThreadPoolExecutor(_WORKERS) as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
        answers: Any = {name: answer.result() for name, answer in asked.items()}
    return FunctionFacts(
        name=options.function,
        qualifier=options.qualifier,
        configuration=configuration,
        variables=variables,
        uri=read_uri(aws, variables) if read else given_uri(variables),
        missing=missing,
        **answers,
    )


def caller_facts(
    aws: Aws, name: str, told: Callable[[str], None]
) -> tuple[CallerFacts | Unseen, Mapping[str, str] | Unseen]:
    """Return the function that the application is, and its environment variables."""
    try:
        client = aws.client("lambda")
    except Unreachable as unreachable:
        return unreachable, unreachable
    told(f"the calling function {name}")
    function, _, qualifier = name.rpartition(":") if _has_qualifier(name) else (name, "", "")
    configuration = _configuration(aws, client, function, qualifier or None)
    if isinstance(configuration, NoSuchFunction | Unreachable):
        return configuration, configuration
    variables = _take_variables(configuration)
    reserved = _reserved(aws, client, function)
    return CallerFacts(name=name, configuration=configuration, reserved=reserved), variables


def _has_qualifier(name: str) -> bool:
    # arn:aws:lambda:region:account:function:name[:qualifier], or name[:qualifier]
    return name.count(":") in (1, 7)


def _configuration(
    aws: Aws, client: Any, function: str, qualifier: str | None
) -> dict[str, Any] | Unseen:
    named = f"{function}:{qualifier}" if qualifier else function

    def call() -> dict[str, Any] | Unseen:
        answer = client.get_function_configuration(**_names(function, qualifier))
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def missing() -> dict[str, Any] | Unseen:
        where = f" in {aws.region}" if aws.region else ""
        return NoSuchFunction(f"there is no function {named!r}{where}")

    return aws.ask(call, "lambda:GetFunctionConfiguration", missing=missing)


def _aliases(aws: Aws, client: Any, function: str) -> str:
    """Return the aliases that there are, as the end of a sentence."""

    def call() -> str:
        names = [each["Name"] for each in client.list_aliases(FunctionName=function)["Aliases"]]
        return f"; its aliases are {', '.join(names)}" if names else "; it has no alias"

    answer = aws.ask(call, "lambda:ListAliases", missing=lambda: "")
    return "" if isinstance(answer, Unseen) else answer


def _names(function: str, qualifier: str | None) -> dict[str, str]:
    names = {"FunctionName": function}
    return names | {"Qualifier": qualifier} if qualifier else names


def _take_variables(configuration: dict[str, Any] | Unseen) -> Mapping[str, str] | Unseen:
    """Return the environment variables and leave them out of *configuration*."""
    if isinstance(configuration, Unseen):
        return configuration
    environment = configuration.pop("Environment", {})
    if failure := environment.get("Error"):
        code = failure.get("ErrorCode", "refused")
        return Unseen(f"the function's variables could not be decrypted ({code})", "kms:Decrypt")
    variables: Mapping[str, str] = environment.get("Variables", {})
    return variables


def _reserved(aws: Aws, client: Any, function: str) -> int | Unseen | None:
    def call() -> int | None:
        answer = client.get_function_concurrency(FunctionName=function)
        reserved: int | None = answer.get("ReservedConcurrentExecutions")
        return reserved

    return aws.ask(call, "lambda:GetFunctionConcurrency")


def _provisioned(aws: Aws, client: Any, function: str) -> tuple[Answers, ...] | Unseen:
    def call() -> tuple[Answers, ...]:
        pages = client.get_paginator("list_provisioned_concurrency_configs")
        return tuple(
            each
            for page in pages.paginate(FunctionName=function)
            for each in page.get("ProvisionedConcurrencyConfigs", ())
        )

    return aws.ask(call, "lambda:ListProvisionedConcurrencyConfigs")


def _alias(aws: Aws, client: Any, function: str, qualifier: str | None) -> Answers | Unseen | None:
    if qualifier is None or qualifier == "$LATEST" or qualifier.isdecimal():
        return None

    def call() -> Answers | None:
        answer: Answers = client.get_alias(FunctionName=function, Name=qualifier)
        return answer

    return aws.ask(call, "lambda:GetAlias", missing=lambda: None)


def _account_concurrency(aws: Aws, client: Any) -> int | Unseen:
    def call() -> int:
        limit: int = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        return limit

    return aws.ask(call, "lambda:GetAccountSettings")


def _policy(
    aws: Aws, client: Any, function: str, qualifier: str | None
) -> tuple[Answers, ...] | Unseen:
    """Return the statements on the function and, where the URL names one, on its qualifier."""

    def of(names: dict[str, str]) -> tuple[Answers, ...] | Unseen:
        def call() -> tuple[Answers, ...]:
            return tuple(json.loads(client.get_policy(**names)["Policy"]).get("Statement", ()))

        return aws.ask(call, "lambda:GetPolicy", missing=lambda: ())

    statements = of(_names(function, None))
    if isinstance(statements, Unseen) or qualifier in (None, "$LATEST"):
        return statements
    more = of(_names(function, qualifier))
    return more if isinstance(more, Unseen) else statements + more


def _url_auth(aws: Aws, client: Any, function: str, qualifier: str | None) -> str | Unseen | None:
    """Return how the function URL authenticates; one on an alias is a URL of its own."""
    alias = None if qualifier is None or qualifier.isdecimal() else qualifier

    def of(names: dict[str, str]) -> str | Unseen | None:
        def call() -> str | None:
            auth: str = client.get_function_url_config(**names)["AuthType"]
            return auth

        return aws.ask(call, "lambda:GetFunctionUrlConfig", missing=lambda: None)

    first = of(_names(function, None))
    if first == "NONE" or isinstance(first, Unseen) or alias in (None, "$LATEST"):
        return first
    return of(_names(function, alias)) or first


def _retention(
    aws: Aws, function: str, configuration: Mapping[str, Any] | Unseen
) -> int | Unseen | None:
    if aws.options.is_local and not _has_logs_endpoint():
        return Unseen("a Lambda service of this machine keeps no log groups")
    seen: Mapping[str, Any] = {} if isinstance(configuration, Unseen) else configuration
    name = seen.get("FunctionName") or function.rpartition(":")[2]
    group = seen.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}"

    def call() -> int | None:
        pages = aws.client("logs").get_paginator("describe_log_groups")
        for page in pages.paginate(logGroupNamePrefix=group):
            for each in page.get("logGroups", ()):
                if each.get("logGroupName") == group:
                    days: int | None = each.get("retentionInDays")
                    return days
        raise Unseen(f"there is no log group {group!r} yet: the function has not run")

    try:
        return known(aws.ask(call, "logs:DescribeLogGroups", apart=True))
    except Unseen as unseen:
        return unseen


def _has_logs_endpoint() -> bool:
    return any(
        os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")
    )
