from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft7Validator

from transports.lambda_invoke.envelope import FunctionInfo
from transports.lambda_invoke.function.invocation_log import (
    CommandEntry,
    InvocationEntry,
    InvocationLog,
)
from transports.lambda_invoke.function.metrics import EmbeddedMetrics
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings

# "Specification: Embedded metric format", in the words of JSON schema:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
TARGET = {"type": "string", "minLength": 1, "maxLength": 1024}
EMBEDDED_METRIC_FORMAT: dict[str, Any] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": TARGET,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": TARGET,
                                        "Unit": {
                                            "enum": [
                                                *("Seconds", "Microseconds", "Milliseconds"),
                                                *("Bytes", "Kilobytes", "Megabytes", "Gigabytes"),
                                                *("Count", "Count/Second", "Percent", "None"),
                                            ]
                                        },
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
FUNCTION = FunctionInfo(
    release="0.1.0",
    environment="e1",
    cold_start=False,
    init_ms=312.5,
    duration_ms=1.25,
    timeout_ms=3000,
)


def line(function: FunctionInfo, *, name: str = "db-proxy", lists_commands: bool = True) -> Any:
    log = InvocationLog(lists_commands=lists_commands, metrics=EmbeddedMetrics("ODM/Proxy", name))
    commands = [CommandEntry("find", "cms.pages", "h:1", bytes_in=100, bytes_out=300)]
    return json.loads(log.line(InvocationEntry("r1", commands=commands, deferred=2), function))


def metrics(said: Any) -> dict[str, float]:
    """What CloudWatch extracts: the specification's references, resolved."""
    Draft7Validator(EMBEDDED_METRIC_FORMAT).validate(said)
    [directive] = said["_aws"]["CloudWatchMetrics"]
    for dimension in (name for names in directive["Dimensions"] for name in names):
        assert isinstance(said[dimension], str)
        assert 1 <= len(said[dimension]) <= 1024
    found = {metric["Name"]: said[metric["Name"]] for metric in directive["Metrics"]}
    assert all(isinstance(v, int | float) and not isinstance(v, bool) for v in found.values())
    return found


def test_a_warm_invocation_has_these_metrics() -> None:
    said = line(FUNCTION)
    assert metrics(said) == {
        "Commands": 1,
        "Errors": 0,
        "Refused": 0,
        "Deferred": 2,
        "ColdStarts": 0,
        "Duration": 1.25,
        "BytesIn": 100,
        "BytesOut": 300,
    }
    assert said["FunctionName"] == "db-proxy"
    assert said["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "ODM/Proxy"


def test_a_cold_start_has_the_duration_of_its_initialisation() -> None:
    found = metrics(line(replace(FUNCTION, cold_start=True)))
    assert (found["ColdStarts"], found["InitDuration"]) == (1, 312.5)


def test_metrics_are_there_without_the_commands() -> None:
    said = line(FUNCTION, lists_commands=False)
    assert metrics(said)["Commands"] == 1
    assert "by_command" not in said


def test_a_dimension_has_a_value_outside_of_aws() -> None:
    said = line(FUNCTION, name="")
    assert metrics(said)
    assert said["FunctionName"] == "db-proxy"


@pytest.mark.parametrize("namespace", ["AWS/Lambda", "ODM Proxy", "x" * 256, "a\nb"])
def test_a_namespace_that_cloudwatch_refuses_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="ODM_PROXY_METRICS_NAMESPACE"):
        FunctionSettings.from_environment(
            {"ODM_PROXY_MONGODB_URI": "mongodb://h", "ODM_PROXY_METRICS_NAMESPACE": namespace}
        )


def test_settings_come_from_the_environment() -> None:
    uri = {"ODM_PROXY_MONGODB_URI": "mongodb://h"}
    default = FunctionSettings.from_environment(uri)
    assert (default.log_invocations, default.metrics_namespace, default.comment) == (True, "", True)
    given = FunctionSettings.from_environment(
        {
            **uri,
            "ODM_PROXY_LOG_INVOCATIONS": "false",
            "ODM_PROXY_METRICS_NAMESPACE": "ODM/Proxy",
            "ODM_PROXY_COMMENT": "false",
            "AWS_LAMBDA_FUNCTION_NAME": "db-proxy",
        }
    )
    assert (given.log_invocations, given.metrics_namespace) == (False, "ODM/Proxy")
    assert (given.comment, given.function_name) == (False, "db-proxy")


@pytest.mark.parametrize("name", ["LOG_INVOCATIONS", "COMMENT"])
def test_a_switch_is_true_or_false(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ODM_PROXY_{name} must be true or false"):
        FunctionSettings.from_environment(
            {"ODM_PROXY_MONGODB_URI": "mongodb://h", f"ODM_PROXY_{name}": "yes"}
        )
