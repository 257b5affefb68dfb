"""deploy/template.yaml as AWS CloudFormation understands it, without AWS.

Both transforms are AWS's own code: language extensions (part of aws-sam-cli) put parameters into
their places, aws-sam-translator makes functions, versions and aliases. What CloudFormation does
besides, rules, conditions and references, is done here, as far as the template uses it.

Spec: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samcli.lib.cfn_language_extensions import expand_language_extensions
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

PATH = Path(__file__).parents[2] / "deploy" / "template.yaml"
REGION = "eu-central-1"
ACCOUNT = "123456789012"
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
# What `sam package` makes of CodeUri.
CODE = "s3://code/function.zip"


@cache
def _text() -> str:
    return PATH.read_text()


def load() -> dict[str, Any]:
    """The template as it is written, short forms spelled out."""
    template: dict[str, Any] = yaml_parse(_text())
    return template


def transform(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template after its transforms, as it depends on *parameters*."""
    made: dict[str, Any] = json.loads(_transformed(tuple(sorted(parameters.items()))))
    return made


@cache
def _transformed(given: tuple[tuple[str, str], ...]) -> str:
    parameters = dict(given)
    template = load()
    template["Resources"]["Function"]["Properties"]["CodeUri"] = CODE
    expanded = expand_language_extensions(template, {**PSEUDO, **parameters}, enabled=True)
    assert expanded.had_language_extensions
    session = boto3.Session(region_name=REGION)
    translator = Translator({}, Parser(), boto_session=session)
    return json.dumps(translator.translate(expanded.expanded_template, parameters))


def resources(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The stack's resources by logical id, every property as it is deployed.

    What only a deployment knows is written ``<Resource>`` or ``<Resource.Attribute>``.
    """
    template = transform(parameters)
    stack = Evaluation(template, parameters)
    return {
        name: stack.value(resource)
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or stack.condition(resource["Condition"])
    }


def outputs(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The stack's outputs."""
    template = transform(parameters)
    stack = Evaluation(template, parameters)
    return {name: stack.value(output["Value"]) for name, output in template["Outputs"].items()}


def broken_rules(parameters: Mapping[str, str]) -> list[str]:
    """What CloudFormation answers to *parameters*, before it makes anything."""
    template = load()
    stack = Evaluation(template, parameters)
    said = [
        f"{name} {parameter.get('ConstraintDescription', '')}".strip()
        for name, parameter in template["Parameters"].items()
        if not _allowed(parameter, stack.parameters[name])
    ]
    for rule in template["Rules"].values():
        if "RuleCondition" in rule and not stack.value(rule["RuleCondition"]):
            continue
        said += [
            assertion["AssertDescription"]
            for assertion in rule["Assertions"]
            if not stack.value(assertion["Assert"])
        ]
    return said


def _allowed(parameter: Mapping[str, Any], value: str) -> bool:
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return False
    if parameter["Type"] == "Number":
        low, high = parameter.get("MinValue", 0), parameter.get("MaxValue", float("inf"))
        return value.isdecimal() and low <= int(value) <= high
    return re.fullmatch(parameter.get("AllowedPattern", "(?s).*"), value) is not None


class Evaluation:
    """Parameters, and with them the value of everything in a template."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        unknown = set(parameters) - set(template["Parameters"])
        assert not unknown, f"no parameters of the template: {unknown}"
        defaults = {name: str(one["Default"]) for name, one in template["Parameters"].items()}
        self.parameters: dict[str, str] = defaults | dict(parameters)
        self._conditions = template.get("Conditions", {})

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        return bool(self.value(self._conditions[name]))

    def value(self, node: Any) -> Any:
        """*node* without intrinsic functions."""
        if isinstance(node, dict):
            if len(node) == 1:
                [(name, argument)] = node.items()
                if name == "Ref" or name.startswith("Fn::"):
                    return self._call(name, argument)
            return {name: self.value(one) for name, one in node.items()}
        return [self.value(one) for one in node] if isinstance(node, list) else node

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return f"<{'.'.join(argument)}>"
            case "Fn::Equals":
                one, other = (str(self.value(side)) for side in argument)
                return one == other
            case "Fn::Not":
                return not self.value(argument[0])
            case "Fn::And":
                return all(map(self.value, argument))
            case "Fn::Or":
                return any(map(self.value, argument))
            case "Fn::Sub":
                assert isinstance(argument, str)
                return re.sub(r"\$\{([^}]+)\}", lambda found: str(self._ref(found[1])), argument)
        raise AssertionError(f"the tests do not know {name}")

    def _ref(self, name: str) -> str:
        if name in self.parameters:
            return self.parameters[name]
        return PSEUDO.get(name, f"<{name}>")


if __name__ == "__main__":  # scripts/lint-deploy
    print(json.dumps(transform({"MongodbUri": "mongodb+srv://cluster0.example.net/cms"}), indent=2))
