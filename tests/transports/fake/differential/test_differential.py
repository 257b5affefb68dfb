"""The fake answers random questions as a real server does.

A bounded run; `scripts/fake-differential` asks as many as one likes, with any seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transports.fake.differential.families import FAMILIES
from tests.transports.fake.differential.known import KNOWN, Known
from tests.transports.fake.differential.running import Pair
from tests.transports.fake.differential.survey import survey

SEED = 20_261_122
CASES = {"builds": 60, "validators": 150, "indexes": 150}
DOCS = Path(__file__).parents[4] / "docs" / "fake.md"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fake_answers_as_the_server(pair: Pair, family: str) -> None:
    done = survey(pair, family, cases=CASES.get(family, 400), seed_=SEED)
    different = done.of("different")
    shown = "\n\n".join(str(finding) for finding in different)
    assert done.cases >= 60
    assert not different, f"seed {SEED}:\n{shown}"


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.reason[:40])
def test_a_known_difference_is_still_there(pair: Pair, known: Known) -> None:
    (verdict,) = pair.run(known.case)
    assert verdict.outcome == "different"
    assert known.covers(set(), verdict) or known.covers({*known.reason.split()}, verdict)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.reason[:40])
def test_the_documentation_names_a_known_difference(known: Known) -> None:
    documented = " ".join(DOCS.read_text(encoding="utf-8").split())
    assert known.reason in documented
