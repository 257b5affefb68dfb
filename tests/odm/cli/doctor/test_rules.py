"""Each rule with its fault planted, and with it absent."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from odm.cli.doctor.facts import Facts, KeptElsewhere, NoSuchFunction, Unseen
from odm.cli.doctor.rule import Finding, Status, judge
from odm.cli.doctor.rules.catalogue import RULES

Plant = Callable[..., Facts]

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:db-proxy"
CLUSTER = "mongodb+srv://cluster0-pl-0.ab1cd.mongodb.net/cms"
IAM = "authSource=%24external&authMechanism=MONGODB-AWS"
OK, WARNING, PROBLEM, SKIPPED = Status.OK, Status.WARNING, Status.PROBLEM, Status.SKIPPED

# (rule, what is planted, what becomes of the rule, words of what was seen)
LAMBDA_FAULTS: list[tuple[str, dict[str, Any], Status, str]] = [
    ("reachable", {"server.error": "no answer"}, PROBLEM, "no answer"),
    ("reachable", {"server": Unseen("--no-connect")}, SKIPPED, "--no-connect"),
    ("function", {"function": NoSuchFunction("there is no function 'x'")}, PROBLEM, "no function"),
    ("function", {"function.missing": "there is no 'live'"}, PROBLEM, "'live'"),
    ("function", {"function.configuration.State": "Failed"}, PROBLEM, "it failed"),
    ("function", {"function.configuration.State": "Inactive"}, WARNING, "Inactive"),
    ("function", {"function.configuration.LastUpdateStatus": "Failed"}, PROBLEM, "last update"),
    (
        "handler",
        {"function.configuration.Handler": "app.main", "server.release": None},
        WARNING,
        "app.main",
    ),
    ("settings", {"function.variables.ODM_PROXY_MONGODB_URI": ...}, PROBLEM, "no MongoDB URI"),
    ("settings", {"function.variables.ODM_PROXY_MONGODB_URI_SECRET": "s"}, PROBLEM, "has one URI"),
    ("settings", {"function.variables.ODM_PROXY_MAX_POOL_SIZE": "many"}, PROBLEM, "'many'"),
    ("qualifier", {"url": "lambda://db-proxy/cms?region=eu-central-1"}, WARNING, "$LATEST"),
    ("qualifier", {"url": "lambda://db-proxy:$LATEST/cms"}, WARNING, "$LATEST"),
    (
        "qualifier",
        {"function.alias.RoutingConfig": {"AdditionalVersionWeights": {"8": 0.5}}},
        WARNING,
        "7, 8",
    ),
    ("tracing", {"function.configuration.TracingConfig.Mode": "PassThrough"}, WARNING, "Pass"),
    ("log-retention", {"function.retention_days": None}, WARNING, "never"),
    ("log-retention", {"function.retention_days": Unseen("denied", "logs:D")}, SKIPPED, "denied"),
    (
        "client-reuse",
        {
            "function.configuration.Handler": "app.main",
            "server.release": None,
            "server.status.connections.totalCreated": 1_000_000,
        },
        WARNING,
        "not reused",
    ),
    (
        "client-reuse",
        {
            "function.configuration.Handler": "app.main",
            "server.release": None,
            "server.status.uptime": 60,
        },
        SKIPPED,
        "code",
    ),
    (
        "max-idle-time",
        {"function.variables.ODM_PROXY_MAX_IDLE_TIME_MS": "600000"},
        WARNING,
        "600,000",
    ),
    ("max-idle-time", {"uri": f"{CLUSTER}?{IAM}&maxIdleTimeMS=0"}, WARNING, "never closed"),
    ("max-pool-size", {"function.variables.ODM_PROXY_MAX_POOL_SIZE": "100"}, WARNING, "100"),
    ("max-pool-size", {"uri": f"{CLUSTER}?{IAM}&maxPoolSize=0"}, PROBLEM, "no limit"),
    ("min-pool-size", {"uri": f"{CLUSTER}?{IAM}&minPoolSize=3"}, WARNING, "3"),
    ("monitoring-mode", {"uri": f"{CLUSTER}?serverMonitoringMode=stream"}, WARNING, "stream"),
    ("staging", {"function.variables.ODM_PROXY_STAGING": "staging"}, PROBLEM, "not start"),
    ("staging", {"function.variables.ODM_PROXY_STAGING": "admin.staging"}, PROBLEM, "admin"),
    ("reserved-concurrency", {"function.reserved": None}, PROBLEM, "no ceiling"),
    ("reserved-concurrency", {"function.reserved": 0}, PROBLEM, "throttled"),
    ("reserved-concurrency", {"function.reserved": Unseen("no", "x")}, SKIPPED, "no"),
    (
        "reserved-concurrency",
        {"function.configuration.CapacityProviderConfig": {"x": 1}, "function.reserved": None},
        SKIPPED,
        "Managed Instances",
    ),
    ("connection-ceiling", {"function.reserved": 400}, PROBLEM, "2,000 connections"),
    ("connection-ceiling", {"function.reserved": 280}, WARNING, "1,400 connections"),
    ("connection-ceiling", {"function.reserved": 200}, WARNING, "twice"),
    ("connection-ceiling", {"function.reserved": None}, PROBLEM, "the account's"),
    (
        "connection-ceiling",
        {"server.status.connections": {"current": 1400, "available": 100}},
        WARNING,
        "1,400 are open",
    ),
    ("connection-ceiling", {"connection_limit": 50}, PROBLEM, "of 50"),
    ("connection-ceiling", {"server.status": Unseen("refused")}, SKIPPED, "--connection-limit"),
    ("connection-ceiling", {"uri": f"{CLUSTER}?{IAM}&maxPoolSize=200"}, PROBLEM, "3,015"),
    ("memory", {"function.configuration.MemorySize": 128}, WARNING, "128 MB"),
    ("memory", {"function.configuration.MemorySize": 3008}, WARNING, "more than one vCPU"),
    (
        "provisioned-concurrency",
        {"function.provisioned": ({"FunctionArn": f"{ARN}:old", "Status": "READY"},)},
        PROBLEM,
        "'old'",
    ),
    (
        "provisioned-concurrency",
        {"function.provisioned": ({"FunctionArn": f"{ARN}:live", "Status": "FAILED"},)},
        PROBLEM,
        "failed",
    ),
    (
        "provisioned-concurrency",
        {"function.provisioned": ({"FunctionArn": f"{ARN}:live", "Status": "IN_PROGRESS"},)},
        WARNING,
        "not ready",
    ),
    (
        "snapstart",
        {
            "function.configuration.SnapStart.ApplyOn": "PublishedVersions",
            "function.configuration.Version": "$LATEST",
        },
        PROBLEM,
        "$LATEST",
    ),
    (
        "snapstart",
        {
            "function.configuration.SnapStart.ApplyOn": "PublishedVersions",
            "function.configuration.Runtime": "python3.11",
        },
        PROBLEM,
        "3.12",
    ),
    (
        "snapstart",
        {"function.configuration.SnapStart.ApplyOn": "PublishedVersions"},
        WARNING,
        "no snapshot",
    ),
    (
        "snapstart",
        {
            "function.configuration.SnapStart.ApplyOn": "PublishedVersions",
            "function.provisioned": ({"FunctionArn": f"{ARN}:live", "Status": "READY"},),
        },
        PROBLEM,
        "provisioned",
    ),
    ("private-network", {"function.configuration.VpcConfig": {}}, WARNING, "no VPC"),
    ("subnets", {"function.configuration.VpcConfig.SubnetIds": ["subnet-1"]}, WARNING, "one"),
    (
        "private-host",
        {
            "uri": "mongodb+srv://cluster0.ab1cd.mongodb.net/cms",
            "function.configuration.VpcConfig": {},
        },
        WARNING,
        "public name",
    ),
    ("private-host", {"uri": "mongodb://db.example.com/cms"}, SKIPPED, "routes"),
    ("tls", {"uri": f"{CLUSTER}?tls=false"}, WARNING, "private network"),
    ("tls", {"uri": "mongodb://db.example.com/cms"}, PROBLEM, "no TLS"),
    ("tls", {"uri": f"{CLUSTER}?tlsAllowInvalidCertificates=true"}, PROBLEM, "certificate"),
    ("tls", {"uri": f"{CLUSTER}?tlsInsecure=true"}, PROBLEM, "tlsInsecure"),
    (
        "endpoint-tls",
        {"url": "lambda://db-proxy:live/cms?endpoint=http%3A%2F%2Flambda.example.com"},
        PROBLEM,
        "without TLS",
    ),
    ("credentials-in-uri", {"uri": CLUSTER.replace("://", "://me:pw@")}, PROBLEM, "password"),
    (
        "credentials-in-uri",
        {"uri": f"{CLUSTER}?{IAM}&authMechanismProperties=AWS_SESSION_TOKEN:xyz"},
        PROBLEM,
        "AWS_SESSION_TOKEN",
    ),
    ("credentials-in-environment", {"function.variables.DB_PASSWORD": "pw"}, WARNING, "DB_PASS"),
    ("credentials-in-environment", {"function.variables.JWT_SECRET": "pw"}, WARNING, "JWT_SEC"),
    (
        "credentials-in-environment",
        {"function.variables.CACHE": "redis://me:pw@cache.example.com"},
        WARNING,
        "CACHE",
    ),
    (
        "long-term-keys",
        {"environment.variables.AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"},
        WARNING,
        "long-term",
    ),
    ("iam-authentication", {"uri": CLUSTER.replace("://", "://me:pw@")}, WARNING, "SCRAM"),
    ("iam-authentication", {"uri": Unseen("kept elsewhere")}, SKIPPED, "kept"),
    ("database-user", {"server.roles": ("root@admin",)}, WARNING, "root@admin"),
    ("database-user", {"server.roles": ("readWriteAnyDatabase@admin",)}, WARNING, "Any"),
    ("database-user", {"server.roles": None}, PROBLEM, "nobody"),
    (
        "database-user",
        {"server.roles": None, "server.status": Unseen("authentication is required")},
        SKIPPED,
        "authentication",
    ),
    ("policy", {"function.variables.ODM_PROXY_POLICY": "unrestricted"}, PROBLEM, "unrestricted"),
    ("policy", {"function.variables.ODM_PROXY_POLICY": "readwrite"}, PROBLEM, "no policy"),
    (
        "policy",
        {"function.variables.ODM_PROXY_POLICY": '{"databases": ["*"]}'},
        WARNING,
        "*",
    ),
    (
        "policy",
        {"function.variables.ODM_PROXY_POLICY": '{"javaScript": true}'},
        WARNING,
        "JavaScript",
    ),
    ("policy", {"uri": CLUSTER.removesuffix("cms")}, PROBLEM, "names none"),
    (
        "resource-policy",
        {"function.policy": ({"Sid": "all", "Effect": "Allow", "Principal": "*"},)},
        PROBLEM,
        "'all'",
    ),
    ("function-url", {"function.url_auth": "NONE"}, PROBLEM, "NONE"),
    ("server-timeout", {"function.configuration.Timeout": 5}, PROBLEM, "5 s"),
    (
        "server-timeout",
        {"uri": f"{CLUSTER}?{IAM}&serverSelectionTimeoutMS=30000"},
        PROBLEM,
        "30 s",
    ),
    ("command-timeout", {"uri": f"{CLUSTER}?{IAM}&socketTimeoutMS=60000"}, WARNING, "60,000"),
    (
        "command-timeout",
        {"function.variables.ODM_PROXY_POLICY": '{"maxTimeMS": 45000}'},
        WARNING,
        "45,000",
    ),
    ("function-timeout", {"function.configuration.Timeout": 3}, WARNING, "3 s"),
    (
        "invoke-timeout",
        {"url": "lambda://db-proxy:live/cms?region=eu-central-1&invokeTimeoutMS=10000"},
        PROBLEM,
        "10 s",
    ),
    ("caller-timeout", {"caller.configuration.Timeout": 30}, WARNING, "30 s"),
    ("caller-timeout", {"caller": None}, SKIPPED, "--caller"),
    (
        "region",
        {
            "url": "lambda://db-proxy:live/cms",
            "function": Unseen("no region"),
            "environment.region": None,
        },
        PROBLEM,
        "no region",
    ),
    ("region", {"environment.region": "us-east-1"}, WARNING, "us-east-1"),
    ("cluster-region", {"server.hello.tags": {"region": "US_EAST_1"}}, WARNING, "us-east-1"),
    ("regional-sts", {"function.variables.AWS_STS_REGIONAL_ENDPOINTS": ...}, WARNING, "not set"),
    (
        "regional-sts",
        {"function.variables.AWS_STS_REGIONAL_ENDPOINTS": "legacy"},
        WARNING,
        "legacy",
    ),
    ("runtime", {"function.configuration.Runtime": "python3.9"}, PROBLEM, "deprecated"),
    ("runtime", {"function.configuration.Runtime": "nodejs22.x"}, PROBLEM, "nodejs22.x"),
    (
        "runtime",
        {"function.configuration.Runtime": "python3.11", "today": datetime.date(2027, 5, 1)},
        WARNING,
        "2027-06-30",
    ),
    ("runtime", {"function.configuration.Runtime": None}, SKIPPED, "image"),
    ("release", {"server.release": "0.2.0"}, WARNING, "0.2.0"),
    ("release", {"server.release": "1.0.0"}, PROBLEM, "1.0.0"),
    ("driver", {"environment.pymongo": "4.13.2"}, WARNING, "4.13.2"),
    (
        "server-version",
        {"server.build": {"version": "6.0.5", "versionArray": [6, 0, 5, 0]}},
        WARNING,
        "2025-07-31",
    ),
    (
        "server-version",
        {"server.build": {"version": "3.6.0", "versionArray": [3, 6, 0, 0]}},
        PROBLEM,
        "3.6.0",
    ),
    (
        "server-version",
        {"server.build": {"version": "9.0.0", "versionArray": [9, 0, 0, 0]}},
        SKIPPED,
        "not known",
    ),
    ("topology", {"server.hello": {"isWritablePrimary": True}}, WARNING, "standalone"),
]

DIRECT_FAULTS: list[tuple[str, dict[str, Any], Status, str]] = [
    ("max-idle-time", {"uri": f"{CLUSTER}?{IAM}"}, WARNING, "not set"),
    ("max-pool-size", {"environment.lambda_function": "api"}, WARNING, "driver's default"),
    (
        "min-pool-size",
        {"uri": f"{CLUSTER}?minPoolSize=3", "environment.lambda_function": "api"},
        WARNING,
        "3",
    ),
    ("direct-from-lambda", {"environment.lambda_function": "api"}, WARNING, "'api'"),
    ("retry-writes", {"uri": f"{CLUSTER}?retryWrites=false"}, WARNING, "retryWrites"),
    ("retry-writes", {"uri": f"{CLUSTER}?w=0"}, WARNING, "w is 0"),
    ("motor", {"uri": f"motor+{CLUSTER}?{IAM}"}, WARNING, "2026-05-14"),
    ("credentials-in-uri", {"uri": CLUSTER.replace("://", "://me:pw@")}, WARNING, "password"),
    (
        "credentials-in-uri",
        {"uri": CLUSTER.replace("://", "://me:pw@"), "environment.lambda_function": "api"},
        PROBLEM,
        "password",
    ),
    (
        "private-host",
        {"uri": "mongodb://db.example.com/cms", "addresses": {"db.example.com": "public"}},
        WARNING,
        "public address",
    ),
    ("tls", {"uri": "mongodb://db.example.com/cms"}, PROBLEM, "no TLS"),
    ("client-reuse", {"server.status.connections.totalCreated": 1_000_000}, WARNING, "reused"),
    ("client-reuse", {"server": Unseen("--no-connect")}, SKIPPED, "code"),
    ("client-reuse", {"clients_made_again": ("app.py:3: MongoClient",)}, PROBLEM, "app.py:3"),
    ("client-reuse", {"clients_made_again": Unseen("there is no 'x'")}, SKIPPED, "no 'x'"),
    ("client-reuse", {"clients_made_again": ()}, OK, "no handler"),
    ("iam-authentication", {"uri": CLUSTER.replace("://", "://me:pw@")}, WARNING, "SCRAM"),
]

APPLICATION_FAULTS: list[tuple[str, dict[str, Any], Status, str]] = [
    ("max-pool-size", {"uri": f"{CLUSTER}?{IAM}&maxIdleTimeMS=60000"}, WARNING, "100"),
    ("reserved-concurrency", {"caller.reserved": None}, PROBLEM, "no ceiling"),
    ("connection-ceiling", {"caller.reserved": 500}, PROBLEM, "2,500"),
    ("memory", {"caller.configuration.MemorySize": 128}, WARNING, "128 MB"),
    ("private-network", {"caller.configuration.VpcConfig": {}}, WARNING, "no VPC"),
    ("subnets", {"caller.configuration.VpcConfig.SubnetIds": ["subnet-1"]}, WARNING, "one"),
    ("credentials-in-environment", {"environment.variables.DB_PASSWORD": "pw"}, WARNING, "DB_"),
    ("runtime", {"caller.configuration.Runtime": "python3.9"}, PROBLEM, "deprecated"),
    ("runtime", {"caller.configuration.Runtime": "nodejs22.x"}, SKIPPED, "nodejs22.x"),
    ("regional-sts", {"environment.variables.AWS_STS_REGIONAL_ENDPOINTS": ...}, WARNING, "not set"),
    ("runtime", {"caller": Unseen("denied", "lambda:G")}, SKIPPED, "denied"),
]

# Rules that tell, and cannot be broken.
ONLY_TOLD = {"sdk-retries", "caller-in-function"}


def found(facts: Facts, rule: str) -> Finding:
    [finding] = [each for each in judge(RULES, facts) if each.rule.id == rule]
    return finding


@pytest.mark.parametrize(("rule", "fault", "status", "words"), LAMBDA_FAULTS)
def test_a_fault_behind_a_lambda_url_is_found(
    rule: str,
    fault: dict[str, Any],
    status: Status,
    words: str,
    good_lambda: Facts,
    plant: Plant,
) -> None:
    finding = found(plant(good_lambda, fault), rule)
    assert finding.status is status
    assert words in finding.saw
    assert "pw" not in finding.saw + "".join(fix.text for fix in finding.fixes)


@pytest.mark.parametrize(("rule", "fault", "status", "words"), DIRECT_FAULTS)
def test_a_fault_of_a_direct_url_is_found(
    rule: str,
    fault: dict[str, Any],
    status: Status,
    words: str,
    good_direct: Facts,
    plant: Plant,
) -> None:
    finding = found(plant(good_direct, fault), rule)
    assert finding.status is status
    assert words in finding.saw


@pytest.mark.parametrize(("rule", "fault", "status", "words"), APPLICATION_FAULTS)
def test_a_fault_of_a_function_that_connects_directly_is_found(
    rule: str,
    fault: dict[str, Any],
    status: Status,
    words: str,
    good_application: Facts,
    plant: Plant,
) -> None:
    finding = found(plant(good_application, fault), rule)
    assert finding.status is status
    assert words in finding.saw
    assert not any("sam deploy" in fix.text for fix in finding.fixes)  # it is not the template's
    assert all("--function-name api" in fix.text for fix in finding.fixes if "aws " in fix.text)


def test_a_function_that_connects_directly_is_sent_to_the_proxy(good_application: Facts) -> None:
    wrong = [each for each in judge(RULES, good_application) if each.status != OK]
    assert {each.rule.id for each in wrong} == {"direct-from-lambda"}


def test_a_good_function_gives_no_alarm(good_lambda: Facts) -> None:
    assert {each.rule.id: each.saw for each in judge(RULES, good_lambda) if each.status != OK} == {}


def test_a_good_direct_deployment_gives_no_alarm(good_direct: Facts) -> None:
    assert {each.rule.id: each.saw for each in judge(RULES, good_direct) if each.status != OK} == {}


def test_every_rule_has_a_planted_fault() -> None:
    planted = {rule for rule, *_ in LAMBDA_FAULTS + DIRECT_FAULTS}
    assert {rule.id for rule in RULES} - ONLY_TOLD == planted


def test_one_planted_fault_is_found_by_its_own_rules_only(good_lambda: Facts, plant: Plant) -> None:
    """Rules that look at the same fact may all speak; no others."""
    together = {
        "server-timeout": {"function-timeout", "invoke-timeout"},
        "function-timeout": {"server-timeout", "caller-timeout"},
        "reserved-concurrency": {"connection-ceiling"},
        "connection-ceiling": {"reserved-concurrency", "max-pool-size"},
        "max-pool-size": {"connection-ceiling"},
        "settings": {"credentials-in-uri", "iam-authentication"},
        "tls": {"private-host", "iam-authentication"},
        "private-host": {"private-network", "tls", "iam-authentication"},
        "credentials-in-uri": {"iam-authentication"},
        "iam-authentication": {"credentials-in-uri"},
        "monitoring-mode": {"iam-authentication"},
        "policy": {"iam-authentication", "command-timeout"},
        "command-timeout": {"policy"},
        "endpoint-tls": {"region"},
        "client-reuse": {"handler"},
        "snapstart": {"runtime", "provisioned-concurrency"},
        "function": set(),
    }
    for rule, fault, status, _ in LAMBDA_FAULTS:
        if status is SKIPPED or rule in ("reachable", "function", "region"):
            continue
        spoke = {
            each.rule.id
            for each in judge(RULES, plant(good_lambda, fault))
            if each.status in (WARNING, PROBLEM)
        }
        assert rule in spoke
        assert spoke - {rule} <= together.get(rule, set()), (rule, fault)


def test_every_fault_says_what_to_change_where_something_can_be_changed(
    good_lambda: Facts, plant: Plant
) -> None:
    for rule, fault, status, _ in LAMBDA_FAULTS:
        finding = found(plant(good_lambda, fault), rule)
        told = {
            "reachable",  # its own words say it
            "provisioned-concurrency",  # AWS's reason says it
        }
        if status in (WARNING, PROBLEM) and rule not in told:
            changeable = (
                finding.fixes
                or rule == "function"
                or "open now" in finding.saw
                or "beside provisioned" in finding.saw
                or "names none" in finding.saw
            )
            assert changeable, (rule, fault)


def test_a_uri_kept_in_a_secret_leaves_the_variables_to_be_judged(
    good_lambda: Facts, plant: Plant
) -> None:
    facts = plant(
        good_lambda,
        {
            "uri": KeptElsewhere("the URI is in the secret 's'"),
            "function.variables.ODM_PROXY_MONGODB_URI": ...,
            "function.variables.ODM_PROXY_MONGODB_URI_SECRET": "s",
        },
    )
    statuses = {each.rule.id: each.status for each in judge(RULES, facts)}
    assert set(statuses.values()) == {OK, SKIPPED}
    assert {rule for rule, status in statuses.items() if status is SKIPPED} == {
        "min-pool-size",
        "monitoring-mode",
        "private-host",
        "tls",
        "iam-authentication",
    }
    assert "was not read" in found(facts, "connection-ceiling").saw


@pytest.mark.parametrize("name", ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"])
def test_retries_of_the_sdk_are_told_and_no_alarm(
    name: str, good_lambda: Facts, plant: Plant
) -> None:
    finding = found(plant(good_lambda, {f"environment.variables.{name}": "5"}), "sdk-retries")
    assert finding.status is OK
    assert f"{name}=5" in finding.saw


def test_a_server_on_this_machine_needs_no_locks(good_direct: Facts, plant: Plant) -> None:
    facts = plant(
        good_direct,
        {
            "uri": "mongodb://me:pw@localhost:27017/cms",
            "addresses": {"localhost": "local"},
            "server.roles": None,
        },
    )
    assert {each.rule.id for each in judge(RULES, facts) if each.status is not OK} == set()


def test_a_denied_call_is_a_rule_not_looked_at_with_its_permission(
    good_lambda: Facts, plant: Plant
) -> None:
    denied = Unseen("GetPolicy was denied: grant lambda:GetPolicy", "lambda:GetPolicy")
    finding = found(plant(good_lambda, {"function.policy": denied}), "resource-policy")
    assert (finding.status, finding.permission) == (SKIPPED, "lambda:GetPolicy")


def test_without_any_fact_every_rule_is_skipped_or_about_nothing(
    good_lambda: Facts, plant: Plant
) -> None:
    unseen = Unseen("nothing could be seen")
    facts = plant(
        good_lambda,
        {
            "function": unseen,
            "uri": unseen,
            "server": unseen,
            "addresses": unseen,
            "caller": unseen,
            "environment.variables": unseen,
        },
    )
    judged = {each.rule.id for each in judge(RULES, facts) if each.status is not SKIPPED}
    # What the URL and this process alone tell.
    assert judged == {"invoke-timeout", "endpoint-tls", "region", "driver", "caller-in-function"}
