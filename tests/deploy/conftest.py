"""AWS, as far as moto is AWS, and the two deployments of the DB proxy function to it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.awslambda.models import LambdaVersion
from moto.server import ThreadedMotoServer

from tests.deploy import sam_template
from tests.deploy.moto_resources import attribute_of_version

SECRET_ARN = f"arn:aws:secretsmanager:{sam_template.REGION}:{sam_template.ACCOUNT}:secret:db-AbCdEf"
KEY_ARN = f"arn:aws:kms:{sam_template.REGION}:{sam_template.ACCOUNT}:key/0123-4567"
TOPIC_ARN = f"arn:aws:sns:{sam_template.REGION}:{sam_template.ACCOUNT}:alarms"


@dataclass(frozen=True)
class Aws:
    """A moto server, and clients of it."""

    endpoint: str
    subnet: str
    security_group: str

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service
            endpoint_url=self.endpoint,
            region_name=sam_template.REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@pytest.fixture(scope="session")
def bundle() -> bytes:
    """A zip: what is in it is no part of these tests."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("transports/lambda_invoke/function/app.py", "")
    return made.getvalue()


@pytest.fixture(scope="module")
def aws(bundle: bytes) -> Iterator[Aws]:
    """An AWS with a VPC, and a bucket that holds the bundle."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Aws(f"http://{host}:{port}", "", "")
    # A server's state is the process's: begin with none, whoever was here before.
    urlopen(Request(f"{made.endpoint}/moto-api/reset", method="POST")).close()
    made.client("s3").create_bucket(
        Bucket="code",
        CreateBucketConfiguration={"LocationConstraint": sam_template.REGION},
    )
    made.client("s3").put_object(Bucket="code", Key="function.zip", Body=bundle)
    ec2 = made.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="proxy", Description="out")["GroupId"]
    yield Aws(made.endpoint, subnet, group)
    server.stop()


@pytest.fixture(scope="module")
def parameters(aws: Aws) -> dict[str, str]:
    """A deployment that uses most of what there is."""
    return {
        "FunctionName": "db-proxy",
        "MongodbUriSecretArn": SECRET_ARN,
        "MongodbUriSecretKey": "uri",
        "MongodbUriKmsKeyArn": KEY_ARN,
        "KmsKeyArn": KEY_ARN,
        "SubnetIds": aws.subnet,
        "SecurityGroupIds": aws.security_group,
        "ReservedConcurrency": "7",
        "MaxPoolSize": "3",
        "Policy": "readOnly",
        "MetricsNamespace": "odm/proxy",
        "AlarmTopicArn": TOPIC_ARN,
    }


@pytest.fixture(scope="module")
def stack(aws: Aws, parameters: dict[str, str]) -> dict[str, str]:
    """The template, deployed by CloudFormation; its outputs."""
    cloudformation = aws.client("cloudformation")
    template = sam_template.transform(parameters)
    # moto's CloudFormation makes no alarms; their properties are the API's parameters.
    alarms = [
        template["Resources"].pop(name)["Properties"]
        for name, resource in list(template["Resources"].items())
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LambdaVersion, "get_cfn_attribute", attribute_of_version, raising=False)
        cloudformation.create_stack(
            StackName="proxy",
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
    [made] = cloudformation.describe_stacks(StackName="proxy")["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    for alarm in alarms:
        text = json.dumps(alarm).replace('{"Ref": "Function"}', f'"{parameters["FunctionName"]}"')
        aws.client("cloudwatch").put_metric_alarm(**json.loads(text))
    return {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
