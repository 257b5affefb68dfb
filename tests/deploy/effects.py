"""The table of parameters in docs/deploy.md, and a value to try for each."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.sam_template import ACCOUNT, REGION

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"

# Without which no other value is accepted.
URI = "mongodb+srv://cluster0.example.net/cms"
BASE = {"MongodbUri": URI}
VALUES = {
    "FunctionName": "other",
    "Runtime": "python3.12",
    "Architecture": "arm64",
    "MemorySize": "512",
    "Timeout": "61",
    "ReservedConcurrency": "31",
    "ProvisionedConcurrency": "2",
    "SnapStart": "true",
    "MongodbUri": "mongodb://other.example.net/cms",
    "MongodbUriSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf",
    "MongodbUriSecretKey": "uri",
    "MongodbUriParameter": "/odm/uri",
    "MongodbUriKmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123-4567",
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/proxy",
    "MaxPoolSize": "9",
    "MaxIdleTimeMs": "30000",
    "ServerSelectionTimeoutMs": "2500",
    "ConnectAtInit": "false",
    "Policy": '{"readOnly": true, "databases": ["cms"]}',
    "Staging": "cms.staging",
    "SubnetIds": "subnet-0a,subnet-0b",
    "SecurityGroupIds": "sg-0a",
    "LogInvocations": "false",
    "LogLevel": "WARN",
    "LogRetentionDays": "90",
    "MetricsNamespace": "odm/proxy",
    "Comment": "false",
    "Tracing": "PassThrough",
    "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
    "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/89ab-cdef",
}
# What else must be given for a value to be accepted.
_BESIDES = {
    "MongodbUriSecretArn": {"MongodbUri": ""},
    "MongodbUriSecretKey": {
        "MongodbUri": "",
        "MongodbUriSecretArn": VALUES["MongodbUriSecretArn"],
    },
    "MongodbUriParameter": {"MongodbUri": ""},
    "SubnetIds": {"SecurityGroupIds": "sg-0b"},
    "SecurityGroupIds": {"SubnetIds": "subnet-0c"},
}


def trying(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters without *name*, as far as that is possible, and with its value to try."""
    besides = BASE | _BESIDES.get(name, {})
    return besides, besides | {name: VALUES[name]}


def documented() -> dict[str, list[str]]:
    """The table: parameter → where it takes effect."""
    section = PAGE.read_text().partition("## Parameters")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", section, re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", places) for name, places in rows}
