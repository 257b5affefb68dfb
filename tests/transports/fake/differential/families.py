"""The families of cases, by the names that the script and the tests give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from tests.transports.fake.differential.cases import Batch
from tests.transports.fake.differential.chooser import Chooser
from tests.transports.fake.differential.expressions import expression_batch
from tests.transports.fake.differential.filters import collation_batch, filter_batch
from tests.transports.fake.differential.indexes import build_batch, index_batch, validator_batch
from tests.transports.fake.differential.projections import find_batch
from tests.transports.fake.differential.stages import stage_batch
from tests.transports.fake.differential.updates import bulk_batch, update_batch, upsert_batch

_MAKERS: Final[dict[str, Callable[[Chooser], Batch]]] = {
    "filters": filter_batch,
    "collations": collation_batch,
    "projections": find_batch,
    "updates": update_batch,
    "upserts": upsert_batch,
    "bulk": bulk_batch,
    "expressions": expression_batch,
    "stages": stage_batch,
    "indexes": index_batch,
    "builds": build_batch,
    "validators": validator_batch,
}


@st.composite
def _batch(draw: Any, make: Callable[[Chooser], Batch]) -> Batch:
    return make(Chooser(Random(draw(st.randoms(use_true_random=True)).getrandbits(64))))


FAMILIES: Final[dict[str, Callable[[], st.SearchStrategy[Batch]]]] = {
    name: partial(_batch, make) for name, make in _MAKERS.items()
}
"""Name → the strategy of its batches."""
