"""The exact changes: that AWS has such commands, and that a changed URL has its fault no more."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from odm.cli.doctor.changes import parameters, publish, set_variables, together, with_option
from odm.cli.doctor.facts import Facts
from odm.cli.doctor.rule import Change, Finding, Status, judge
from odm.cli.doctor.rules.catalogue import RULES

Plant = Callable[..., Facts]

CLUSTER = "mongodb+srv://cluster0-pl-0.ab1cd.mongodb.net/cms"
IAM = "authSource=%24external&authMechanism=MONGODB-AWS"
COMMAND = re.compile(
    r"aws (lambda|logs|secretsmanager) ((?:wait )?[a-z0-9-]+)((?:(?! \| | && |aws ).)*)"
)
EVERYTHING_WRONG: dict[str, Any] = {
    "uri": "mongodb://me:hunter2@db.example.com/cms?maxPoolSize=300&minPoolSize=3&maxIdleTimeMS=0"
    "&tlsInsecure=true&serverMonitoringMode=stream&serverSelectionTimeoutMS=60000"
    "&socketTimeoutMS=90000",
    "url": "lambda://db-proxy/cms?region=eu-central-1&profile=it%27s&invokeTimeoutMS=10",
    "function.configuration.MemorySize": 128,
    "function.configuration.Runtime": "python3.9",
    "function.configuration.TracingConfig.Mode": "PassThrough",
    "function.configuration.VpcConfig.SubnetIds": ["subnet-1"],
    "function.configuration.SnapStart.ApplyOn": "PublishedVersions",
    "function.configuration.Handler": "app.main",
    "function.reserved": None,
    "function.retention_days": None,
    "function.url_auth": "NONE",
    "function.policy": ({"Sid": "all", "Effect": "Allow", "Principal": "*"},),
    "function.variables.ODM_PROXY_POLICY": "unrestricted",
    "function.variables.ODM_PROXY_STAGING": "staging",
    "function.variables.ODM_PROXY_MAX_POOL_SIZE": "300",
    "function.variables.DB_PASSWORD": "hunter2",
    "function.variables.AWS_STS_REGIONAL_ENDPOINTS": ...,
    "caller.configuration.Timeout": 3,
    "server.release": None,
}


def bad(findings: list[Finding]) -> dict[str, Finding]:
    wrong = (Status.WARNING, Status.PROBLEM)
    return {each.rule.id: each for each in findings if each.status in wrong}


def test_every_aws_command_exists_with_its_options(good_lambda: Facts, plant: Plant) -> None:
    session = botocore.session.get_session()
    findings = bad(judge(RULES, plant(good_lambda, EVERYTHING_WRONG)))
    lines = [
        fix.text
        for finding in findings.values()
        for fix in finding.fixes
        if fix.change is Change.COMMAND and fix.text.startswith("aws ")
    ]
    assert len(lines) >= 12
    for line in lines:
        for service, words, options in re.findall(
            r"aws (lambda|logs|secretsmanager) ((?:wait )?[a-z0-9-]+)((?:(?! \| | && |aws ).)*)",
            line,
        ):
            if words.startswith("wait "):
                assert words == "wait function-updated-v2"
                continue
            model = session.get_service_model(service)
            operations = {xform_name(name, "-"): name for name in model.operation_names}
            assert words in operations, line
            shape = model.operation_model(operations[words]).input_shape
            assert shape is not None
            known = {xform_name(name, "-") for name in shape.members}
            known |= {"region", "profile", "endpoint-url", "query", "output"}
            given = re.findall(r"(?<=--)[a-z-]+", options)
            assert set(given) <= known, (line, given)


def test_no_change_has_a_secret_in_it(good_lambda: Facts, plant: Plant) -> None:
    for finding in bad(judge(RULES, plant(good_lambda, EVERYTHING_WRONG))).values():
        assert "hunter2" not in finding.saw
        assert all("hunter2" not in fix.text for fix in finding.fixes)


@pytest.mark.parametrize(
    ("rule", "uri"),
    [
        ("max-idle-time", f"{CLUSTER}?{IAM}"),
        ("retry-writes", f"{CLUSTER}?retryWrites=false"),
        ("retry-writes", f"{CLUSTER}?w=0&{IAM}"),
        ("motor", f"motor+{CLUSTER}?{IAM}"),
        ("credentials-in-uri", CLUSTER.replace("://", "://me:pw@")),
        ("iam-authentication", CLUSTER.replace("://", "://me@") + "?authMechanism=MONGODB-X509"),
        ("tls", "mongodb://db.example.com"),
        ("tls", "mongodb://db.example.com/cms?tls=true&tlsInsecure=true"),
    ],
)
def test_a_direct_url_that_is_changed_as_told_has_its_fault_no_more(
    rule: str, uri: str, good_direct: Facts, plant: Plant
) -> None:
    finding = bad(judge(RULES, plant(good_direct, {"uri": uri})))[rule]
    [fix] = finding.fixes
    assert fix.change is Change.URL
    assert rule not in bad(judge(RULES, plant(good_direct, {"uri": fix.text})))


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("invoke-timeout", {"url": "lambda://db-proxy:live/cms?region=x&invokeTimeoutMS=10"}),
        ("qualifier", {"url": "lambda://db-proxy/cms?region=eu-central-1"}),
        ("endpoint-tls", {"url": "lambda://db-proxy:live/cms?endpoint=http://example.com"}),
    ],
)
def test_a_lambda_url_that_is_changed_as_told_has_its_fault_no_more(
    rule: str, fault: dict[str, Any], good_lambda: Facts, plant: Plant
) -> None:
    finding = bad(judge(RULES, plant(good_lambda, fault)))[rule]
    [text] = [fix.text for fix in finding.fixes if fix.change is Change.URL]
    assert rule not in bad(judge(RULES, plant(good_lambda, {"url": text})))


def test_the_reserved_concurrency_that_is_told_fits(good_lambda: Facts, plant: Plant) -> None:
    for planted in (400, 280, 200):
        finding = bad(judge(RULES, plant(good_lambda, {"function.reserved": planted})))[
            "connection-ceiling"
        ]
        [number] = re.findall(r"--reserved-concurrent-executions (\d+)", finding.fixes[0].text)
        after = bad(judge(RULES, plant(good_lambda, {"function.reserved": int(number)})))
        ceiling = after.get("connection-ceiling")
        assert ceiling is None or ceiling.status is Status.WARNING
        assert int(number) < planted


def test_other_variables_are_kept_and_quoting_survives_a_shell(good_lambda: Facts) -> None:
    [line] = set_variables(good_lambda, {"X": "it's"}, remove=("Y",))
    program = re.search(r"jq -c (.+)\)\"", line.text)
    assert program is not None
    [jq] = shlex.split(program[1])
    assert jq == '.Variables += {"X": "it\'s"} | del(.Variables.Y)'
    assert "aws lambda get-function-configuration --function-name db-proxy" in line.text


def test_parameters_are_written_for_both_templates(good_lambda: Facts) -> None:
    sam, terraform = parameters(good_lambda, SubnetIds=("a", "b"), MaxIdleTimeMs=60000)
    assert sam.text.endswith("--parameter-overrides SubnetIds=a,b MaxIdleTimeMs=60000")
    assert terraform.text.endswith(': subnet_ids = ["a", "b"] and max_idle_time_ms = 60000')
    [_, terraform] = parameters(good_lambda, Policy='{"a": "${b}"}')
    assert terraform.text.endswith(r': policy = "{\"a\": \"$${b}\"}"')


def test_an_alias_is_moved_to_what_was_changed(good_lambda: Facts, plant: Plant) -> None:
    told = publish(good_lambda)
    assert told is not None
    assert "update-alias --function-name db-proxy --name live" in told.text
    assert publish(plant(good_lambda, {"url": "lambda://db-proxy/cms"})) is None


@pytest.mark.parametrize(
    ("url", "name", "value", "expected"),
    [
        ("mongodb://h", "tls", "true", "mongodb://h/?tls=true"),
        ("mongodb://h/x", "tls", "true", "mongodb://h/x?tls=true"),
        ("mongodb://h/x?TLS=false&w=1", "tls", "true", "mongodb://h/x?w=1&tls=true"),
        ("mongodb://h/x?tls=false", "tls", None, "mongodb://h/x"),
        ("mongodb://me:pw@h/x", "tls", "true", "mongodb://***@h/x?tls=true"),
    ],
)
def test_an_option_is_set_once(url: str, name: str, value: str | None, expected: str) -> None:
    assert with_option(url, name, value) == expected


def test_all_changes_of_a_url_are_told_together(good_direct: Facts, plant: Plant) -> None:
    uri = (
        "motor+" + CLUSTER.replace("://", "://me:hunter2@") + "?retryWrites=false&tlsInsecure=true"
    )
    changes = [
        fix for finding in judge(RULES, plant(good_direct, {"uri": uri})) for fix in finding.fixes
    ]
    [whole] = together(plant(good_direct, {"uri": uri}), changes)
    assert whole.change is Change.URL
    assert bad(judge(RULES, plant(good_direct, {"uri": whole.text}))) == {}


def test_the_uri_behind_a_function_is_told_whole_too(good_lambda: Facts, plant: Plant) -> None:
    facts = plant(good_lambda, {"uri": "mongodb://10.0.0.7/cms?maxPoolSize=300&maxIdleTimeMS=0"})
    changes = [fix for finding in judge(RULES, facts) for fix in finding.fixes]
    [whole] = together(facts, changes)
    assert whole.change is Change.URI
    assert "maxPoolSize=4" in whole.text
    assert "maxIdleTimeMS=60000" in whole.text
    assert "tls=true" in whole.text


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ('{"databases": ["*"], "maxTimeMS": 5}', '{"databases": ["cms"], "maxTimeMS": 5}'),
        ('{"javaScript": true}', "readWrite"),
    ],
)
def test_a_policy_is_narrowed_and_otherwise_kept(
    policy: str, expected: str, good_lambda: Facts, plant: Plant
) -> None:
    name = "function.variables.ODM_PROXY_POLICY"
    finding = bad(judge(RULES, plant(good_lambda, {name: policy})))["policy"]
    assert json.dumps({"ODM_PROXY_POLICY": expected}) in finding.fixes[0].text
    assert "policy" not in bad(judge(RULES, plant(good_lambda, {name: expected})))
