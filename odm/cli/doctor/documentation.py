"""The rules as the tables of docs/doctor.md; a test holds the page against them.

``python -m odm.cli.doctor.documentation`` writes the page's tables anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from odm.cli.doctor.rule import DIRECT, LAMBDA, Rule
from odm.cli.doctor.rules.catalogue import AREAS

BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"
_KINDS = {DIRECT: "direct", LAMBDA: "lambda"}


def tables() -> str:
    """Return every rule, a table for each area."""
    parts = []
    for area, rules in AREAS.items():
        rows = "\n".join(_row(rule) for rule in rules)
        parts.append(
            f"### {area}\n\n| rule | URLs | followed when | why | source |\n"
            f"|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def _row(rule: Rule) -> str:
    kinds = _KINDS.get(rule.kinds, "both")
    cells = (f"`{rule.id}`", kinds, rule.title, rule.why, _source(rule.source))
    return "| " + " | ".join(cells) + " |"


def _source(source: str) -> str:
    if source.startswith("docs/"):
        name = source.removeprefix("docs/")
        return f"[{name}]({name})"
    if source.startswith("https://"):
        return f"<{source}>"
    return source


def rewritten(page: str) -> str:
    """Return *page* with its tables written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/doctor.md")
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
