"""The table of failures in docs/lambda.md names a test for every row."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "lambda.md"


def test_every_row_of_the_table_of_failures_has_a_test() -> None:
    section = PAGE.read_text().partition("## When something fails")[2]
    table, _, rest = section.partition("<!-- Row by row")
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    named = re.findall(r"^test_\w+$", rest.partition("-->")[0], re.MULTILINE)
    assert len(rows) == len(named)
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    missing = [name for name in named if f"def {name}(" not in tests]
    assert not missing
