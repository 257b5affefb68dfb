"""docs/doctor.md and deploy/ against the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from odm.cli.doctor.changes import PARAMETERS, parameters
from odm.cli.doctor.documentation import rewritten
from odm.cli.doctor.facts import Facts
from odm.cli.doctor.rule import Status, judge
from odm.cli.doctor.rules.catalogue import RULES

Plant = Callable[..., Facts]

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "doctor.md"


def test_the_page_has_every_rule_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == rewritten(page), "run python -m odm.cli.doctor.documentation"
    assert all(f"`{rule.id}`" in page for rule in RULES)


def test_rules_are_named_once_and_in_one_way() -> None:
    names = [rule.id for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_every_rule_says_why_and_where_that_is_written() -> None:
    for rule in RULES:
        assert rule.why.endswith("."), rule.id
        assert rule.source.startswith(("https://", "docs/", "Webiny")), rule.id
        if rule.source.startswith("docs/"):
            assert (ROOT / rule.source).is_file(), rule.id


def test_the_page_has_every_permission_that_is_asked_for() -> None:
    source = "".join(
        (ROOT / "odm" / "cli" / "doctor" / name).read_text(encoding="utf-8")
        for name in ("inspect_function.py", "function_uri.py")
    )
    asked = set(re.findall(r'"((?:lambda|logs|kms|secretsmanager|ssm):\w+)"', source))
    page = PAGE.read_text(encoding="utf-8")
    assert asked
    assert {permission for permission in asked if permission not in page} == set()


def test_parameters_that_are_printed_exist_in_the_templates(good_lambda: Facts) -> None:
    rules = ROOT / "odm" / "cli" / "doctor" / "rules"
    source = "".join(path.read_text(encoding="utf-8") for path in rules.glob("*.py"))
    named = {
        *PARAMETERS.values(),
        *re.findall(r"parameters\(facts, (\w+)=", source),
        *re.findall(r'configure\([^)]*"([A-Z]\w+)"\)', source),
        "SecurityGroupIds",
    }
    assert {"MemorySize", "Timeout", "Runtime", "ReservedConcurrency", "Tracing"} <= named
    template = (ROOT / "deploy" / "template.yaml").read_text(encoding="utf-8")
    declared = set(re.findall(r"^  (\w+):\n    Type: (?:String|Number)", template, re.MULTILINE))
    assert named - declared == set()
    variables = (ROOT / "deploy" / "terraform" / "variables.tf").read_text(encoding="utf-8")
    for name in named:
        [_, terraform] = parameters(good_lambda, **{name: 1})
        [variable] = re.findall(r": (\w+) = 1$", terraform.text)
        assert f'variable "{variable}"' in variables


def test_the_templates_defaults_follow_the_rules(good_lambda: Facts, plant: Plant) -> None:
    """In a VPC, that is: the template cannot know whose."""
    template = (ROOT / "deploy" / "template.yaml").read_text(encoding="utf-8")
    defaults = dict(
        re.findall(r"^  (\w+):\n    Type: \w+\n    Default: (.*)$", template, re.MULTILINE)
    )
    facts = plant(
        good_lambda,
        {
            "function.configuration.Runtime": defaults["Runtime"],
            "function.configuration.MemorySize": int(defaults["MemorySize"]),
            "function.configuration.Timeout": int(defaults["Timeout"]),
            "function.configuration.TracingConfig.Mode": defaults["Tracing"],
            "function.reserved": int(defaults["ReservedConcurrency"]),
            "function.retention_days": int(defaults["LogRetentionDays"]),
            **{
                f"function.variables.{variable}": defaults[parameter]
                for variable, parameter in PARAMETERS.items()
                if parameter != "MongodbUri"
            },
        },
    )
    wrong = [each for each in judge(RULES, facts) if each.status is not Status.OK]
    assert {each.rule.id: each.saw for each in wrong} == {}
