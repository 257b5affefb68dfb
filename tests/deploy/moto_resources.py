"""What moto's CloudFormation lacks of AWS Lambda, made with moto's own AWS Lambda.

moto finds the subclasses of its `CloudFormationModel` by itself: importing this is enough for them.
"""

from __future__ import annotations

from typing import Any

from moto.awslambda.models import LambdaBackend, LambdaVersion, lambda_backends
from moto.core.common_models import CloudFormationModel


def attribute_of_version(version: LambdaVersion, name: str) -> str:
    """``Fn::GetAtt`` of an AWS::Lambda::Version."""
    assert name == "Version"
    return str(version.version)


def _backend(account_id: str, region_name: str) -> LambdaBackend:
    return lambda_backends[account_id][region_name]


class Alias(CloudFormationModel):
    """AWS::Lambda::Alias, without provisioned concurrency."""

    def __init__(self, arn: str) -> None:
        self.physical_resource_id = arn  # what Ref gives

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Alias"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> Alias:
        asked = cloudformation_json["Properties"]
        alias = _backend(account_id, region_name).create_alias(
            name=asked["Name"],
            function_name=asked["FunctionName"],
            function_version=asked["FunctionVersion"],
            description="",
            routing_config="",
        )
        return cls(alias.arn)


class EventInvokeConfig(CloudFormationModel):
    """AWS::Lambda::EventInvokeConfig, of the whole function: moto knows no other."""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::EventInvokeConfig"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> EventInvokeConfig:
        asked = dict(cloudformation_json["Properties"])
        function, _qualifier = asked.pop("FunctionName"), asked.pop("Qualifier")
        _backend(account_id, region_name).put_function_event_invoke_config(function, asked)
        return cls(resource_name)
