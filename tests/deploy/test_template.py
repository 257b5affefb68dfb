"""deploy/template.yaml: every parameter has its effect, and every rule refuses what it should."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file

from tests.deploy import sam_template
from tests.deploy.effects import BASE, VALUES, documented, trying
from transports.lambda_invoke.function.policy import Policy
from transports.lambda_invoke.function.settings import PREFIX, FunctionSettings

SETTINGS = Path(sys.modules[FunctionSettings.__module__].__file__ or "")
SECRET = VALUES["MongodbUriSecretArn"]


def test_cfn_lint_finds_nothing() -> None:
    """Its configuration, and what is not looked at, stand in the template."""
    assert [str(match) for match in lint_file(sam_template.PATH)] == []


def test_every_parameter_is_documented() -> None:
    assert list(documented()) == list(sam_template.load()["Parameters"])


@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_takes_effect(name: str) -> None:
    without, with_value = trying(name)
    assert sam_template.broken_rules(with_value) == []
    before, after = sam_template.resources(without), sam_template.resources(with_value)
    for place in documented()[name]:
        logical_id, *path = place.split(".")
        value = _at(after[logical_id]["Properties"], path)
        assert value != _at(before.get(logical_id, {}).get("Properties", {}), path), place
    said = json.dumps(after)
    for part in VALUES[name].split(","):
        words = "PublishedVersions" if name == "SnapStart" else part
        assert words in said.replace('\\"', '"')


def test_what_is_documented_is_all_that_a_parameter_does() -> None:
    """But for the names of versions, which follow the function's properties."""
    places = documented()
    for name in VALUES:
        without, with_value = trying(name)
        before, after = sam_template.resources(without), sam_template.resources(with_value)
        changed = set()
        for logical_id in before.keys() & after.keys():
            one, other = before[logical_id]["Properties"], after[logical_id]["Properties"]
            for key in one.keys() | other.keys():
                if one.get(key) != other.get(key):
                    changed.add(f"{logical_id}.{key}")
        named = {".".join(place.split(".")[:2]) for place in places[name]}
        # Names, descriptions, and what follows of a name; the same for each of the four alarms.
        follow = r".*\.(Description|AlarmName|OKActions|AlarmActions|FunctionVersion)"
        assert {one for one in changed - named if not re.fullmatch(follow, one)} == set(), name


def test_every_change_of_the_function_publishes_a_version() -> None:
    """Callers are at a version: a new Policy that published none would never reach them."""

    def version(parameters: dict[str, str]) -> tuple[str, str]:
        made = sam_template.resources(parameters)
        [logical_id] = [n for n, one in made.items() if one["Type"] == "AWS::Lambda::Version"]
        return logical_id, json.dumps(made["Function"]["Properties"], sort_keys=True)

    for name in VALUES:
        (one, properties), (other, new_properties) = map(version, trying(name))
        assert (one == other) == (properties == new_properties), name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"MongodbUri": ""}, "exactly one of MongodbUri"),
        ({"MongodbUriSecretArn": SECRET}, "exactly one of MongodbUri"),
        ({"MongodbUriParameter": "/odm/uri"}, "exactly one of MongodbUri"),
        (
            {"MongodbUri": "", "MongodbUriSecretArn": SECRET, "MongodbUriParameter": "/odm/uri"},
            "exactly one of MongodbUri",
        ),
        ({"MongodbUri": "mongodb://user:password@host/cms"}, "without user and password"),
        ({"MongodbUri": "lambda://f/cms"}, "mongodb:// or mongodb+srv://"),
        ({"MongodbUriSecretKey": "uri"}, "MongodbUriSecretArn, which is not set"),
        ({"SnapStart": "true", "ProvisionedConcurrency": "1"}, "not both"),
        ({"SnapStart": "true", "Runtime": "python3.11"}, "Python 3.12 or later"),
        ({"SubnetIds": "subnet-0a"}, "needs SecurityGroupIds"),
        ({"SecurityGroupIds": "sg-0a"}, "set SubnetIds, too"),
        ({"SubnetIds": "subnet-0a, subnet-0b", "SecurityGroupIds": "sg-0a"}, "SubnetIds"),
        ({"ReservedConcurrency": "0"}, "ReservedConcurrency"),
        ({"Timeout": "901"}, "Timeout"),
        ({"MemorySize": "127"}, "MemorySize"),
        ({"Runtime": "python3.9"}, "Runtime"),
        ({"Policy": "everything"}, "readWrite, readOnly"),
        ({"Staging": "staging"}, "Staging"),
        ({"MongodbUri": "", "MongodbUriSecretArn": "db"}, "MongodbUriSecretArn"),
        ({"MongodbUri": "", "MongodbUriParameter": "odm/uri"}, "MongodbUriParameter"),
        ({"LogRetentionDays": "31"}, "LogRetentionDays"),
    ],
)
def test_a_rule_refuses(given: dict[str, str], words: str) -> None:
    assert words in "\n".join(sam_template.broken_rules(BASE | given))


def test_the_defaults_are_accepted_once_there_is_a_uri() -> None:
    assert sam_template.broken_rules(BASE) == []


def test_the_function_understands_what_it_is_given() -> None:
    given = {name: value for name, value in VALUES.items() if not name.startswith("Mongodb")}
    for parameters in (BASE, BASE | given):
        function = sam_template.resources(parameters)["Function"]["Properties"]
        variables = {name: str(one) for name, one in function["Environment"]["Variables"].items()}
        settings = FunctionSettings.from_environment(variables)
        Policy.from_settings(settings)
        assert variables[PREFIX + "MAX_POOL_SIZE"] == str(settings.max_pool_size)


@pytest.mark.parametrize("policy", ["readWrite", "readOnly"])
def test_policies_by_name_are_policies(policy: str) -> None:
    assert sam_template.broken_rules(BASE | {"Policy": policy}) == []
    read = Policy.from_text(policy, mongodb_uri=BASE["MongodbUri"], staging="odm_proxy.staging")
    assert read.summary == f"{policy} on cms"


def test_the_defaults_are_the_function_s_own() -> None:
    ours = FunctionSettings.from_environment({PREFIX + "MONGODB_URI": BASE["MongodbUri"]})
    theirs = sam_template.resources(BASE)["Function"]["Properties"]["Environment"]["Variables"]
    given = FunctionSettings.from_environment({name: str(one) for name, one in theirs.items()})
    assert given.policy == "readWrite"
    assert Policy.from_settings(given).summary == Policy.from_settings(ours).summary
    for name in FunctionSettings.__dataclass_fields__:
        if name != "policy":
            assert getattr(given, name) == getattr(ours, name), name


def test_every_variable_of_the_function_s_settings_is_set() -> None:
    read = set(re.findall(r"``(ODM_PROXY_[A-Z_]+)``", SETTINGS.read_text()))
    text = sam_template.PATH.read_text()
    assert {name for name in read if f" {name}:" not in text} == set()
    assert set(re.findall(r"\b(ODM_PROXY_[A-Z_]+):", text)) == read


def test_no_secret_is_resolved_into_the_configuration() -> None:
    text = re.sub(r"#.*", "", sam_template.PATH.read_text())
    assert "{{resolve" not in text
    assert "NoEcho" not in text  # nothing secret is a parameter


def test_the_top_says_who_what_and_how_many() -> None:
    top = sam_template.PATH.read_text().partition("AWSTemplateFormatVersion")[0]
    for question in ("Who may invoke it?", "What may be run?", "How many connections can exist?"):
        assert question in top
    assert "ReservedConcurrency x (MaxPoolSize + 1)" in top
    defaults = sam_template.load()["Parameters"]
    reserved, pool = (defaults[name]["Default"] for name in ("ReservedConcurrency", "MaxPoolSize"))
    assert f"{reserved} x ({pool} + 1) = {reserved * (pool + 1)}" in top
    assert sam_template.outputs(BASE)["ConnectionsPerServer"] == f"{reserved} x ({pool} + 1)"


def _at(node: Any, path: list[str]) -> Any:
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node
