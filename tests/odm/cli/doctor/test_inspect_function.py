"""What is asked of AWS, and what becomes of its refusals, against moto's control plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from odm.cli.doctor.aws import Aws
from odm.cli.doctor.facts import (
    CallerFacts,
    FunctionFacts,
    KeptElsewhere,
    NoSuchFunction,
    Unreachable,
    Unseen,
    UriFacts,
)
from odm.cli.doctor.inspect_function import caller_facts, function_facts
from transports.lambda_invoke.options import LambdaOptions
from transports.url import parse_url

Deploy = Callable[..., None]
Client = Callable[[str], Any]


def looked_at(front: Any, function: str = "db-proxy:live", *, read: bool = False) -> Any:
    options = LambdaOptions.from_url(parse_url(front.lambda_url(function)))
    return function_facts(Aws(options), lambda _: None, read=read)


def test_a_function_is_seen_as_it_is_configured(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.configuration, dict)
    assert facts.configuration["MemorySize"] == 256
    assert "Environment" not in facts.configuration
    assert isinstance(facts.uri, UriFacts)
    assert facts.uri.mechanism == "MONGODB-AWS"
    assert facts.reserved == 15
    assert isinstance(facts.alias, dict)
    assert facts.alias["FunctionVersion"] == "1"
    assert facts.provisioned == ()
    assert facts.account_concurrency == 1000
    assert facts.policy == ()
    assert facts.url_auth is None
    assert facts.retention_days == 30
    assert facts.missing is None


def test_nothing_is_asked_that_changes_anything(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    looked_at(front)
    assert front.asked
    assert {line.partition(" ")[0] for line in front.asked} == {"GET"}


def test_what_lets_others_in_is_seen(front: Any, deploy: Deploy, aws: Client) -> None:
    deploy("db-proxy", good=True)
    aws("lambda").add_permission(
        FunctionName="db-proxy", StatementId="all", Action="lambda:InvokeFunction", Principal="*"
    )
    aws("lambda").create_function_url_config(FunctionName="db-proxy", AuthType="NONE")
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.policy, tuple)
    assert {each["Sid"] for each in facts.policy} == {"all"}
    assert facts.url_auth == "NONE"


def test_a_missing_function_is_named_with_its_region(front: Any) -> None:
    facts = looked_at(front, "nobody")
    assert isinstance(facts, NoSuchFunction)
    assert facts.reason == "there is no function 'nobody' in eu-central-1"


def test_a_missing_alias_is_told_and_the_function_is_looked_at(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    facts = looked_at(front, "db-proxy:lvie")
    assert isinstance(facts, FunctionFacts)
    assert facts.missing is not None
    assert "'db-proxy:lvie'" in facts.missing
    assert "its aliases are live" in facts.missing
    assert facts.reserved == 15


DENIED = (403, {"Code": "AccessDeniedException", "message": "User is not authorized"})


@pytest.mark.parametrize(
    ("path", "fact", "permission"),
    [
        ("/configuration", "configuration", "lambda:GetFunctionConfiguration"),
        ("/concurrency$", "reserved", "lambda:GetFunctionConcurrency"),
        ("/provisioned", "provisioned", "lambda:ListProvisionedConcurrencyConfigs"),
        ("/aliases/", "alias", "lambda:GetAlias"),
        ("/account-settings", "account_concurrency", "lambda:GetAccountSettings"),
        ("/policy", "policy", "lambda:GetPolicy"),
        ("/url", "url_auth", "lambda:GetFunctionUrlConfig"),
    ],
)
def test_a_denied_call_hides_one_fact_and_names_its_permission(
    front: Any, deploy: Deploy, path: str, fact: str, permission: str
) -> None:
    deploy("db-proxy", good=True)
    others = {name: answer for name, answer in front.answers.items() if name != path}
    front.answers = {path: DENIED, **others}
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    names = ("configuration", "reserved", "provisioned", "alias", "policy", "url_auth")
    unseen = {name for name in names if isinstance(getattr(facts, name), Unseen)}
    assert unseen <= {fact}
    hidden = getattr(facts, fact)
    assert isinstance(hidden, Unseen)
    assert hidden.permission == permission
    assert f"grant {permission}" in hidden.reason


def test_an_expired_token_is_no_answer_at_all(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    front.answers["/functions/"] = (403, {"Code": "ExpiredTokenException", "message": "expired"})
    assert isinstance(looked_at(front), Unreachable)


def test_a_service_that_is_not_there_is_no_answer_at_all(front: Any) -> None:
    url = "lambda://db-proxy/cms?region=eu-central-1&endpoint=http%3A%2F%2F127.0.0.1%3A9"
    options = LambdaOptions.from_url(parse_url(url))
    facts = function_facts(Aws(options), lambda _: None)
    assert isinstance(facts, Unreachable)
    assert "127.0.0.1:9" in facts.reason


def test_without_a_region_aws_cannot_be_asked(front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    facts = function_facts(
        Aws(LambdaOptions.from_url(parse_url("lambda://db-proxy/cms"))), lambda _: None
    )
    assert isinstance(facts, Unreachable)
    assert "region" in facts.reason


def test_a_profile_that_does_not_exist_is_told(front: Any) -> None:
    options = LambdaOptions.from_url(parse_url("lambda://db-proxy/cms?profile=nobody"))
    with pytest.raises(Unreachable, match="nobody"):
        Aws(options)


def test_variables_that_could_not_be_decrypted_are_unseen(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    front.answers["/configuration"] = (
        200,
        {
            "FunctionName": "db-proxy",
            "Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "no"}},
        },
    )
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.variables, Unseen)
    assert facts.variables.permission == "kms:Decrypt"


@pytest.mark.parametrize("key", ["", "#uri"])
def test_a_uri_in_a_secret_is_read_on_demand_only(
    front: Any, deploy: Deploy, aws: Client, key: str
) -> None:
    uri = "mongodb+srv://me:hunter2@cluster0.ab1cd.mongodb.net/cms?maxPoolSize=9"
    text = f'{{"uri": "{uri}"}}' if key else uri
    aws("secretsmanager").create_secret(Name="db", SecretString=text)
    deploy("db-proxy", good=True, variables={"ODM_PROXY_MONGODB_URI_SECRET": f"db{key}"})
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.uri, KeptElsewhere)
    facts = looked_at(front, read=True)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.uri, UriFacts)
    assert facts.uri.number("maxPoolSize") == 9
    assert facts.uri.secrets == ("password",)
    assert "hunter2" not in repr(facts.uri)


def test_a_uri_in_a_parameter_is_read_on_demand(front: Any, deploy: Deploy, aws: Client) -> None:
    aws("ssm").put_parameter(Name="/db", Value="mongodb://db.example.com/x", Type="SecureString")
    deploy("db-proxy", good=True, variables={"ODM_PROXY_MONGODB_URI_PARAMETER": "/db"})
    facts = looked_at(front, read=True)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.uri, UriFacts)
    assert facts.uri.hosts == ("db.example.com",)


def test_a_secret_that_does_not_exist_is_told(front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True, variables={"ODM_PROXY_MONGODB_URI_SECRET": "nothing"})
    facts = looked_at(front, read=True)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.uri, Unseen)
    assert "GetSecretValue" in facts.uri.reason


def test_a_log_group_that_does_not_exist_yet_is_unseen(
    front: Any, deploy: Deploy, aws: Client
) -> None:
    deploy("db-proxy", good=True)
    aws("logs").delete_log_group(logGroupName="/aws/lambda/db-proxy")
    facts = looked_at(front)
    assert isinstance(facts, FunctionFacts)
    assert isinstance(facts.retention_days, Unseen)
    assert "has not run" in facts.retention_days.reason


def test_a_calling_function_is_seen_with_its_variables(front: Any, deploy: Deploy) -> None:
    deploy("api", good=True, variables={"AWS_MAX_ATTEMPTS": "5"}, Timeout=12)
    options = LambdaOptions.from_url(parse_url(front.lambda_url("db-proxy")))
    caller, variables = caller_facts(Aws(options), "api:live", lambda _: None)
    assert isinstance(caller, CallerFacts)
    assert isinstance(caller.configuration, dict)
    assert caller.configuration["Timeout"] == 12
    assert variables == {"AWS_MAX_ATTEMPTS": "5"}


def test_a_calling_function_that_is_missing_is_told(front: Any) -> None:
    options = LambdaOptions.from_url(parse_url(front.lambda_url("db-proxy")))
    caller, variables = caller_facts(Aws(options), "nobody", lambda _: None)
    assert isinstance(caller, NoSuchFunction)
    assert isinstance(variables, Unseen)
