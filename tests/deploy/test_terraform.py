"""deploy/terraform makes what deploy/template.yaml makes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import sam_template
from tests.deploy.conftest import Aws
from tests.deploy.effects import BASE, VALUES
from tests.deploy.sam_template import ACCOUNT, REGION
from tests.deploy.terraform_module import MODULE, Terraform, blocks, snake, text, variables

needs_terraform = pytest.mark.skipif(not Terraform.is_there(), reason="there is no terraform")
# Terraform takes the bundle from a file, SAM from beside the template.
ONLY_HERE = {"package_file"}
LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/db-proxy:*"
ALIAS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:db-proxy:live"
RESOURCES = {
    "aws_lambda_function.proxy": "Function",
    "aws_lambda_alias.live": "FunctionAliaslive",
    # Of the alias, in CloudFormation.
    "aws_lambda_provisioned_concurrency_config.live": "FunctionAliaslive",
    "aws_lambda_function_event_invoke_config.live": "FunctionEventInvokeConfig",
    "aws_cloudwatch_log_group.function": "LogGroup",
    "aws_iam_role.function": "Role",
    "aws_iam_role_policy.function": "Role",
    "aws_iam_policy.invoke": "InvokePolicy",
    "aws_cloudwatch_metric_alarm.throttles": "ThrottlesAlarm",
    "aws_cloudwatch_metric_alarm.errors": "ErrorsAlarm",
    "aws_cloudwatch_metric_alarm.duration": "DurationAlarm",
    "aws_cloudwatch_metric_alarm.concurrency": "ConcurrencyAlarm",
}


def test_variables_and_parameters_have_the_same_names_and_defaults() -> None:
    ours = blocks("variable")
    theirs = sam_template.load()["Parameters"]
    assert set(ours) - ONLY_HERE == {snake(name) for name in theirs}
    for name, parameter in theirs.items():
        default = ours[snake(name)]["default"]
        said = json.dumps(default) if isinstance(default, bool) else str(default).strip('"')
        assert said.replace("[]", "") == str(parameter["Default"]), name


def test_every_variable_is_checked_used_and_described() -> None:
    everything = text()
    for name, block in blocks("variable").items():
        assert block["description"]
        checked = "validation" in block or "bool" in block["type"]
        assert checked or name in ONLY_HERE, name
        uses = re.sub(r'variable "\w+" \{.*?\n\}', "", everything, flags=re.DOTALL)
        assert re.search(rf"\bvar\.{name}\b", uses), name


def test_the_resources_are_the_same() -> None:
    made = sam_template.transform(BASE)["Resources"]
    theirs = {name for name in made if not name.startswith("FunctionVersion")}
    assert set(blocks("resource")) == set(RESOURCES)
    assert set(RESOURCES.values()) == theirs


def test_outputs_are_the_same() -> None:
    assert set(blocks("output")) == {snake(name) for name in sam_template.outputs(BASE)}


def test_both_set_the_same_variables_of_the_function() -> None:
    template = sam_template.PATH.read_text()
    named = r"\b((?:ODM_PROXY|AWS_STS)_[A-Z_]+)"
    assert set(re.findall(named + r"\s*=", text())) == set(re.findall(named + ":", template))


def test_the_top_says_who_what_and_how_many() -> None:
    top = (MODULE / "main.tf").read_text().partition('data "')[0]
    for question in ("Who may invoke it?", "What may be run?", "How many connections can exist?"):
        assert question in top
    assert "reserved_concurrency x (max_pool_size + 1)" in top


@needs_terraform
def test_the_module_is_formatted() -> None:
    done = Terraform(MODULE).run("fmt", "-check", "-recursive", "-diff")
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """The module's variables alone: their rules need no provider."""
    directory = tmp_path_factory.mktemp("rules")
    (directory / "module").mkdir()
    shutil.copy(MODULE / "variables.tf", directory / "module")
    return Terraform(directory)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mongodb_uri": ""}, "exactly one of mongodb_uri"),
    ({"mongodb_uri_parameter": "/odm/uri"}, "exactly one of mongodb_uri"),
    ({"mongodb_uri": "mongodb://user:password@host/cms"}, "without user and password"),
    ({"mongodb_uri_secret_key": "uri"}, "mongodb_uri_secret_arn, which is not set"),
    ({"snap_start": True, "provisioned_concurrency": 1}, "not both"),
    ({"snap_start": True, "runtime": "python3.11"}, "Python 3.12 or later"),
    ({"subnet_ids": ["subnet-0a"]}, "needs subnet_ids and security_group_ids"),
    ({"reserved_concurrency": 0}, "whole number from 1 to 1000"),
    ({"reserved_concurrency": 5, "provisioned_concurrency": 6}, "a part of reserved_concurrency"),
    ({"timeout": 5, "server_selection_timeout_ms": 5000}, "below the function's timeout"),
    ({"policy": "everything"}, "readWrite, readOnly"),
    ({"metrics_namespace": "AWS/Lambda"}, "not begin with AWS/"),
]


@needs_terraform
def test_rules_refuse(rules: Terraform) -> None:
    """Many in one run, each in a module of its own: a run takes longer than a rule."""
    base = {"package_file": "function.zip", "mongodb_uri": BASE["MongodbUri"]}
    calls: dict[str, Any] = {
        f"case{number}": {"source": "./module"} | base | given
        for number, (given, _) in enumerate(REFUSED)
    }
    calls["accepted"] = {"source": "./module"} | base
    refused: dict[str, str] = {}
    for _phase in ("one variable", "several variables"):  # these are looked at only then
        left = {name: call for name, call in calls.items() if name not in refused}
        (rules.directory / "main.tf.json").write_text(json.dumps({"module": left}))
        assert rules.run("init", "-no-color").returncode == 0
        said = rules.run("plan", "-no-color", "-input=false").stderr.replace("│", " ")
        for error in " ".join(said.split()).split("Error: ")[1:]:
            refused |= dict.fromkeys(re.findall(r"in module\.(\w+):", error), error)
    assert "accepted" not in refused
    for number, (given, words) in enumerate(REFUSED):
        assert words in refused[f"case{number}"], given


@pytest.fixture(scope="module")
def terraform(aws: Aws, bundle: bytes, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    if not Terraform.is_there():
        pytest.skip("there is no terraform")
    directory = tmp_path_factory.mktemp("terraform")
    (directory / "function.zip").write_bytes(bundle)
    made = Terraform(
        directory,
        {
            "AWS_ENDPOINT_URL": aws.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        },
    )
    made.write(MODULE, {"package_file": "function.zip", "mongodb_uri": BASE["MongodbUri"]})
    if wrong := made.initialise():
        pytest.skip(f"terraform has no AWS provider (ODM_TERRAFORM_PLUGINS): {wrong[:300]}")
    return made


def test_terraform_makes_what_the_template_makes(
    terraform: Terraform, parameters: dict[str, str]
) -> None:
    given = {"package_file": "function.zip", **variables(parameters)}
    terraform.write(MODULE, given)
    done = terraform.run("apply", "-no-color", "-auto-approve", "-input=false")
    assert done.returncode == 0, done.stderr
    assert_same(terraform.made(), parameters)
    outputs = terraform.outputs()
    assert outputs["alias_arn"] == ALIAS
    assert outputs["connections_per_server"] == 7 * (3 + 1)
    assert outputs["url"] == f"lambda://db-proxy:live/<database>?region={REGION}"


def test_terraform_plans_what_the_template_makes(terraform: Terraform) -> None:
    """The other half of the parameters, with what moto does not know."""
    left_out = {"FunctionName", "SnapStart", "MongodbUriSecretArn", "MongodbUriSecretKey"}
    other = {name: value for name, value in VALUES.items() if name not in left_out}
    parameters = other | {"MongodbUri": ""}
    given = {"package_file": "function.zip", **variables(parameters)}
    terraform.write(MODULE, given)
    done = terraform.run("plan", "-no-color", "-input=false", "-out=plan")
    assert done.returncode == 0, done.stderr
    planned = terraform.planned("plan")
    assert len(planned["aws_lambda_function.proxy"]["logging_config"]) == 1
    assert len(planned["aws_lambda_function.proxy"]["snap_start"]) == 1
    assert_same(planned, parameters)


def assert_same(made: dict[str, Any], parameters: dict[str, str]) -> None:
    theirs = {
        name: resource["Properties"]
        for name, resource in sam_template.resources(parameters).items()
    }
    assert_same_function(made["aws_lambda_function.proxy"], theirs["Function"])
    assert made["aws_lambda_alias.live"]["name"] == theirs["FunctionAliaslive"]["Name"]
    provisioned = theirs["FunctionAliaslive"].get("ProvisionedConcurrencyConfig")
    ours = made.get("aws_lambda_provisioned_concurrency_config.live[0]")
    assert (ours and ours["provisioned_concurrent_executions"]) == (
        provisioned and int(provisioned["ProvisionedConcurrentExecutions"])
    )
    again = made["aws_lambda_function_event_invoke_config.live"]
    asked = theirs["FunctionEventInvokeConfig"]
    assert again["maximum_retry_attempts"] == asked["MaximumRetryAttempts"]
    assert again["maximum_event_age_in_seconds"] == asked["MaximumEventAgeInSeconds"]
    group = made["aws_cloudwatch_log_group.function"]
    assert group["name"] == theirs["LogGroup"]["LogGroupName"]
    assert group["retention_in_days"] == int(theirs["LogGroup"]["RetentionInDays"])
    assert (group["kms_key_id"] or None) == theirs["LogGroup"].get("KmsKeyId")
    assert_same_policies(made, theirs)
    for name in ("throttles", "errors", "duration", "concurrency"):
        alarm = made[f"aws_cloudwatch_metric_alarm.{name}"]
        assert_same_alarm(alarm, theirs[f"{name.capitalize()}Alarm"])


def assert_same_function(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    same = {
        "FunctionName": ours["function_name"],
        "Description": ours["description"],
        "Handler": ours["handler"],
        "Runtime": ours["runtime"],
        "Architectures": ours["architectures"],
        "MemorySize": ours["memory_size"],
        "Timeout": ours["timeout"],
        "ReservedConcurrentExecutions": ours["reserved_concurrent_executions"],
        "KmsKeyArn": ours["kms_key_arn"] or None,
        "TracingConfig": {"Mode": ours["tracing_config"][0]["mode"]},
    }
    assert {name: _text(value) for name, value in same.items()} == {
        name: _text(theirs.get(name)) for name in same
    }
    variables = {n: str(one) for n, one in theirs["Environment"]["Variables"].items()}
    assert ours["environment"][0]["variables"] == variables
    # A plan has them all; of what is made, moto forgets these two.
    for snap_start in ours["snap_start"]:
        assert snap_start["apply_on"] == theirs["SnapStart"]["ApplyOn"]
    for logging in ours["logging_config"]:
        assert logging["log_format"] == theirs["LoggingConfig"]["LogFormat"]
        assert logging["application_log_level"] == theirs["LoggingConfig"]["ApplicationLogLevel"]
        assert logging["system_log_level"] == theirs["LoggingConfig"]["SystemLogLevel"]
    vpc = theirs.get("VpcConfig")
    assert bool(ours["vpc_config"]) == bool(vpc)
    if vpc:
        assert sorted(ours["vpc_config"][0]["subnet_ids"]) == sorted(vpc["SubnetIds"])
        assert ours["vpc_config"][0]["security_group_ids"] == vpc["SecurityGroupIds"]


def assert_same_policies(made: dict[str, Any], theirs: dict[str, Any]) -> None:
    invoke = made["aws_iam_policy.invoke"].get("policy")  # a plan does not know it yet
    if invoke:
        [statement] = theirs["InvokePolicy"]["PolicyDocument"]["Statement"]
        assert statement["Resource"] == "<FunctionAliaslive>"
        assert json.loads(invoke)["Statement"] == [{**statement, "Resource": ALIAS}]
    assert ("Role" in theirs) == ("aws_iam_role.function[0]" in made)
    policy = made.get("aws_iam_role_policy.function[0]", {}).get("policy")
    if policy:
        statements = [
            statement
            for one in theirs["Role"]["Policies"]
            for statement in one["PolicyDocument"]["Statement"]
        ]
        said = json.dumps(statements).replace("<LogGroup.Arn>", LOG_GROUP)
        assert json.loads(policy)["Statement"] == json.loads(said)
        trust = json.loads(made["aws_iam_role.function[0]"]["assume_role_policy"])
        assert trust == theirs["Role"]["AssumeRolePolicyDocument"]


def assert_same_alarm(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    same = {
        "AlarmName": ours["alarm_name"],
        "Namespace": ours["namespace"] or None,
        "MetricName": ours["metric_name"] or None,
        "Statistic": ours["statistic"] or None,
        "Period": ours["period"] or None,
        "EvaluationPeriods": ours["evaluation_periods"],
        "DatapointsToAlarm": ours["datapoints_to_alarm"] or None,
        "Threshold": int(ours["threshold"]),
        "ComparisonOperator": ours["comparison_operator"],
        "TreatMissingData": ours["treat_missing_data"],
        "AlarmActions": ours["alarm_actions"] or None,
        "OKActions": ours["ok_actions"] or None,
    }
    assert same == {name: theirs.get(name) for name in same}
    queries = {query["id"]: query for query in ours["metric_query"]}
    for query in theirs.get("Metrics", []):
        mine = queries.pop(query["Id"])
        assert (mine["expression"] or None) == query.get("Expression")
        if "MetricStat" in query:
            metric, stat = mine["metric"][0], query["MetricStat"]
            assert metric["metric_name"] == stat["Metric"]["MetricName"]
            assert metric["namespace"] == stat["Metric"]["Namespace"]
            assert (metric["stat"], metric["period"]) == (stat["Stat"], stat["Period"])
    assert not queries


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def test_the_example_is_valid(terraform: Terraform, tmp_path: Path) -> None:
    shutil.copytree(MODULE, tmp_path / "terraform")
    example = Terraform(tmp_path / "terraform" / "example")
    assert example.initialise() == ""
    done = example.run("validate", "-no-color")
    assert done.returncode == 0, done.stderr
