"""A rule, what it may say, and the changes that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from odm.cli.doctor.facts import Facts, Kind, Unseen


class Status(StrEnum):
    """What became of a rule."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class Change(StrEnum):
    """Where a change is made."""

    COMMAND = "command"  # a line for a shell
    TEMPLATE = "template"  # a parameter of deploy/template.yaml
    TERRAFORM = "terraform"  # a variable of deploy/terraform
    URL = "url"  # the URL that the application is given
    URI = "uri"  # the mongodb:// URI behind the function
    VARIABLE = "variable"  # an environment variable of the application
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Fix:
    """An exact change; printed, never made.

    Attributes:
        change: where it is made.
        text: the change, written out.
        edit: of a URL's changes, what they do to any: several can then be made together.
    """

    change: Change
    text: str
    edit: Callable[[str], str] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says: its status, what was seen, and what to change."""

    status: Status
    saw: str
    fixes: tuple[Fix, ...] = ()


def ok(saw: str) -> Verdict:
    """Return that the rule is followed."""
    return Verdict(Status.OK, saw)


def warning(saw: str, *fixes: Fix) -> Verdict:
    """Return that the rule is not followed; it works, and may not always."""
    return Verdict(Status.WARNING, saw, fixes)


def problem(saw: str, *fixes: Fix) -> Verdict:
    """Return that the rule is not followed, and that it will hurt."""
    return Verdict(Status.PROBLEM, saw, fixes)


Check = Callable[[Facts], Verdict | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule.

    Attributes:
        id: its name in reports.
        title: what following it means, in a line.
        why: why it matters.
        source: where it is written: a URL, or a text's title.
        kinds: the kinds of URL it is about.
        check: judges facts; None where the rule has nothing to be about; raises `Unseen`.
    """

    id: str
    title: str
    why: str
    source: str
    kinds: frozenset[Kind]
    check: Check


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a rule in an examination; `permission` would have let it be judged."""

    rule: Rule
    status: Status
    saw: str
    fixes: tuple[Fix, ...] = ()
    permission: str | None = None


EVERY_KIND = frozenset({Kind.DIRECT, Kind.LAMBDA})
DIRECT = frozenset({Kind.DIRECT})
LAMBDA = frozenset({Kind.LAMBDA})


def rule(
    id: str,
    title: str,
    *,
    why: str,
    source: str,
    kinds: frozenset[Kind] = LAMBDA,
) -> Callable[[Check], Rule]:
    """Make a `Rule` of the function below."""

    def made(check: Check) -> Rule:
        return Rule(id=id, title=title, why=why, source=source, kinds=kinds, check=check)

    return made


def judge(rules: tuple[Rule, ...], facts: Facts) -> list[Finding]:
    """Return what *rules* say of *facts*, those that are about its kind of URL."""
    findings = []
    for each in rules:
        if facts.kind not in each.kinds:
            continue
        try:
            verdict = each.check(facts)
        except Unseen as unseen:
            findings.append(
                Finding(each, Status.SKIPPED, unseen.reason, permission=unseen.permission)
            )
            continue
        if verdict is not None:
            findings.append(Finding(each, verdict.status, verdict.saw, verdict.fixes))
    return findings
