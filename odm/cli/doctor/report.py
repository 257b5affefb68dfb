"""What was found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from odm.cli.console import Console, counted
from odm.cli.doctor.changes import publish, together
from odm.cli.doctor.facts import Facts, FunctionFacts, ServerFacts, Unreachable, Unseen
from odm.cli.doctor.rule import Change, Finding, Status
from odm.cli.doctor.rules.catalogue import AREAS
from odm.cli.failures import ExitCode

_STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.PROBLEM: "bold red",
    Status.SKIPPED: "dim",
}
_WIDTH = max(len(status) for status in Status)
_FIX_WORDS = {
    Change.COMMAND: "run",
    Change.TEMPLATE: "or",
    Change.TERRAFORM: "or",
    Change.URL: "URL",
    Change.URI: "MongoDB URI",
    Change.VARIABLE: "environment",
    Change.CODE: "do",
}


def exit_code(facts: Facts, findings: Sequence[Finding], *, strict: bool) -> ExitCode:
    """Return how the command ends: unreachable before problems, problems before done."""
    if _is_unreachable(facts):
        return ExitCode.UNAVAILABLE
    bad = {Status.PROBLEM, Status.WARNING} if strict else {Status.PROBLEM}
    if any(finding.status in bad for finding in findings):
        return ExitCode.CHECK_FAILED
    return ExitCode.OK


def _is_unreachable(facts: Facts) -> bool:
    """Whether what was to be asked did not answer; where the URL answers, AWS need not."""
    if isinstance(facts.server, ServerFacts):
        return facts.server.error is not None
    if isinstance(facts.function, FunctionFacts):
        asked = facts.function
        answers = (asked.configuration, asked.reserved, asked.provisioned, asked.policy)
        return all(isinstance(answer, Unseen) for answer in answers)
    return isinstance(facts.function, Unreachable) or isinstance(facts.caller, Unreachable)


def document(facts: Facts, findings: Sequence[Finding], code: ExitCode) -> dict[str, Any]:
    """Return the JSON document of an examination."""
    counts = Counter(finding.status for finding in findings)
    areas = {rule.id: area for area, rules in AREAS.items() for rule in rules}
    return {
        "ok": code is ExitCode.OK,
        "exit_code": int(code),
        "url": facts.url.redacted,
        "summary": {status.value: counts[status] for status in Status},
        "looked_at": looked_at(facts),
        "together": [
            {"change": fix.change.value, "text": fix.text}
            for fix in together(facts, (fix for finding in findings for fix in finding.fixes))
        ],
        "findings": [
            {
                "rule": finding.rule.id,
                "area": areas[finding.rule.id],
                "status": finding.status.value,
                "title": finding.rule.title,
                "saw": finding.saw,
                "why": finding.rule.why,
                "source": finding.rule.source,
                "permission": finding.permission,
                "fixes": [{"change": fix.change.value, "text": fix.text} for fix in finding.fixes],
            }
            for finding in findings
        ],
    }


def looked_at(facts: Facts) -> dict[str, str]:
    """Return what was looked at, and where it was not, why."""
    server = facts.server
    seen = {
        "url": facts.url.redacted,
        "environment": facts.environment.where,
        "function": facts.function.reason
        if isinstance(facts.function, Unseen)
        else facts.function.name,
        "server": server.reason if isinstance(server, Unseen) else server.error or "answered",
    }
    if facts.caller is not None:
        seen["caller"] = (
            facts.caller.reason if isinstance(facts.caller, Unseen) else facts.caller.name
        )
    return seen


def write(console: Console, facts: Facts, findings: Sequence[Finding], *, fix: bool) -> None:
    """Write the report for people: by area, what is wrong in full, the rest in a line."""
    by_rule = {finding.rule.id: finding for finding in findings}
    width = max((len(each) for each in by_rule), default=0)
    for area, rules in AREAS.items():
        shown = [
            by_rule[rule.id]
            for rule in rules
            if rule.id in by_rule and by_rule[rule.id].status is not Status.SKIPPED
        ]
        if not shown:
            continue
        console.line(area, style="bold")
        for finding in shown:
            _write_finding(console, finding, width, fix=fix)
        console.line()
    _write_skipped(console, findings)
    _write_end(console, facts, findings, fix=fix)


def _write_finding(console: Console, finding: Finding, width: int, *, fix: bool) -> None:
    status = f"  {finding.status.value:<{_WIDTH}}  {finding.rule.id:<{width}}  "
    console.line(status + finding.saw, style=_STYLES[finding.status])
    if finding.status is Status.OK:
        return
    indent = " " * (_WIDTH + 4)
    console.line(f"{indent}rule: {finding.rule.title}")
    console.line(f"{indent}why: {finding.rule.why}")
    console.line(f"{indent}source: {finding.rule.source}", style="dim")
    if fix:
        for each in finding.fixes:
            console.line(f"{indent}{_FIX_WORDS[each.change]}: {each.text}", style="cyan")


def _write_skipped(console: Console, findings: Sequence[Finding]) -> None:
    """Write what could not be looked at, by its reason."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.status is Status.SKIPPED:
            reasons.setdefault(finding.saw, []).append(finding.rule.id)
    if not reasons:
        return
    console.line("Not looked at", style="bold")
    for reason, rules in reasons.items():
        console.line(f"  {reason}")
        console.line(f"    {', '.join(rules)}", style="dim")
    console.line()


def _write_end(console: Console, facts: Facts, findings: Sequence[Finding], *, fix: bool) -> None:
    counts = Counter(finding.status for finding in findings)
    changes = [each for finding in findings for each in finding.fixes]
    configured = any("update-function-configuration" in each.text for each in changes)
    then = publish(facts)
    whole = together(facts, changes) if fix else []
    if whole:
        console.line("Together:", style="bold")
        for each in whole:
            console.line(f"  {_FIX_WORDS[each.change]}: {each.text}", style="cyan")
        console.line()
    if fix and configured and then is not None:
        console.line("Then, so that what the URL names has the new configuration:", style="bold")
        console.line(f"  {then.text}", style="cyan")
        console.line()
    hint = "" if fix or not changes else "; --fix prints the exact changes"
    console.line(
        f"{counted(counts[Status.PROBLEM], 'problem')}, "
        f"{counted(counts[Status.WARNING], 'warning')}, {counts[Status.OK]} ok, "
        f"{counts[Status.SKIPPED]} not looked at{hint}"
    )
