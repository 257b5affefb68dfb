"""The template deployed by moto's CloudFormation, and what AWS then says there is.

moto's CloudFormation leaves out some properties of functions, and provisioned concurrency; for
those see test_template.py and test_terraform.py.
"""

from __future__ import annotations

from ast import literal_eval
from typing import Any
from urllib.parse import unquote

from tests.deploy.conftest import KEY_ARN, SECRET_ARN, TOPIC_ARN, Aws
from tests.deploy.sam_template import ACCOUNT, REGION
from transports.lambda_invoke.function.settings import PREFIX

ALIAS_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:db-proxy:live"


def test_the_function_is_configured(aws: Aws, stack: dict[str, str]) -> None:
    function = aws.client("lambda").get_function(FunctionName="db-proxy")
    configuration = function["Configuration"]
    assert configuration["Handler"] == "transports.lambda_invoke.function.app.handler"
    assert configuration["Runtime"] == "python3.13"
    assert (configuration["MemorySize"], configuration["Timeout"]) == (256, 30)
    assert configuration["Role"] == stack["FunctionRoleArn"]
    assert configuration["VpcConfig"]["SubnetIds"] == [aws.subnet]
    assert configuration["VpcConfig"]["SecurityGroupIds"] == [aws.security_group]
    assert function["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    variables = configuration["Environment"]["Variables"]
    assert variables[PREFIX + "MONGODB_URI_SECRET"] == f"{SECRET_ARN}#uri"
    assert variables[PREFIX + "POLICY"] == "readOnly"
    assert str(variables[PREFIX + "MAX_POOL_SIZE"]) == "3"
    assert variables["AWS_STS_REGIONAL_ENDPOINTS"] == "regional"


def test_the_alias_is_of_a_published_version(aws: Aws, stack: dict[str, str]) -> None:
    [alias] = aws.client("lambda").list_aliases(FunctionName="db-proxy")["Aliases"]
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", "1")
    assert alias["AliasArn"] == stack["AliasArn"] == ALIAS_ARN


def test_a_caller_may_invoke_the_alias_and_nothing_else(aws: Aws, stack: dict[str, str]) -> None:
    iam = aws.client("iam")
    arn = stack["InvokePolicyArn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    assert document["Statement"] == [
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": ALIAS_ARN}
    ]


def test_nobody_is_let_in_by_the_function_itself(aws: Aws, stack: dict[str, str]) -> None:
    client = aws.client("lambda")
    assert client.list_event_source_mappings()["EventSourceMappings"] == []
    try:
        client.get_policy(FunctionName="db-proxy")
    except client.exceptions.ResourceNotFoundException:
        return
    raise AssertionError("the function has a resource-based policy")


def test_nothing_is_invoked_again_by_lambda(aws: Aws, stack: dict[str, str]) -> None:
    asked = aws.client("lambda").get_function_event_invoke_config(FunctionName="db-proxy")
    assert (asked["MaximumRetryAttempts"], asked["MaximumEventAgeInSeconds"]) == (0, 60)


def test_the_role_may_do_what_it_needs(aws: Aws, stack: dict[str, str]) -> None:
    iam = aws.client("iam")
    role = stack["FunctionRoleArn"].rpartition("/")[2]
    trusted = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [one["Principal"] for one in trusted] == [{"Service": "lambda.amazonaws.com"}]
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    allowed: dict[str, Any] = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        if isinstance(document, str):  # moto writes it as Python does
            document = literal_eval(unquote(document))
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    allowed[action] = statement["Resource"]
    # CloudFormation's attribute ends in :*, as streams have it; moto's does not.
    log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/db-proxy"
    interfaces = [action for action in allowed if action.startswith("ec2:")]
    assert len(interfaces) == 6
    assert allowed == {
        "logs:CreateLogStream": log,
        "logs:PutLogEvents": log,
        "secretsmanager:GetSecretValue": SECRET_ARN,
        "kms:Decrypt": KEY_ARN,
        "xray:PutTraceSegments": "*",
        "xray:PutTelemetryRecords": "*",
        **dict.fromkeys(interfaces, "*"),
    }


def test_the_log_is_kept_for_a_while(aws: Aws, stack: dict[str, str]) -> None:
    [group] = aws.client("logs").describe_log_groups()["logGroups"]
    assert group["logGroupName"] == stack["LogGroupName"] == "/aws/lambda/db-proxy"
    assert group["retentionInDays"] == 30


def test_alarms_watch_what_ends_in_trouble(aws: Aws, stack: dict[str, str]) -> None:
    alarms = {
        alarm["AlarmName"]: alarm
        for alarm in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert sorted(alarms) == [
        "db-proxy-concurrency",
        "db-proxy-duration",
        "db-proxy-errors",
        "db-proxy-throttles",
    ]
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC_ARN]
        assert alarm["TreatMissingData"] == "notBreaching"
    assert alarms["db-proxy-throttles"]["MetricName"] == "Throttles"
    assert alarms["db-proxy-errors"]["MetricName"] == "Errors"
    assert _expression(alarms["db-proxy-duration"]) == "100 * longest / (1000 * 30)"
    assert _expression(alarms["db-proxy-concurrency"]) == "100 * most / 7"


def _expression(alarm: dict[str, Any]) -> str:
    [query] = [one for one in alarm["Metrics"] if "Expression" in one]
    return str(query["Expression"])


def test_the_outputs_say_what_callers_connect_to(stack: dict[str, str]) -> None:
    assert stack["Url"] == f"lambda://db-proxy:live/<database>?region={REGION}"
    assert stack["ConnectionsPerServer"] == "7 x (3 + 1)"
