"""All expression operators in one table, and those the fake refuses."""

from __future__ import annotations

from typing import Final

from transports.fake.expressions.arithmetic import ARITHMETIC
from transports.fake.expressions.arrays import ARRAYS
from transports.fake.expressions.conditions import CONDITIONS
from transports.fake.expressions.conversion import TYPES
from transports.fake.expressions.dates import DATES
from transports.fake.expressions.loops import LOOPS
from transports.fake.expressions.meta import META
from transports.fake.expressions.objects import OBJECTS
from transports.fake.expressions.scope import Operator
from transports.fake.expressions.sets import SETS
from transports.fake.expressions.strings import STRINGS
from transports.fake.expressions.summaries import SUMMARIES
from transports.fake.expressions.trigonometry import TRIGONOMETRY

OPERATORS: Final[dict[str, Operator]] = {
    **ARITHMETIC,
    **ARRAYS,
    **CONDITIONS,
    **DATES,
    **LOOPS,
    **META,
    **OBJECTS,
    **SETS,
    **STRINGS,
    **SUMMARIES,
    **TRIGONOMETRY,
    **TYPES,
}

UNSUPPORTED: Final = frozenset({"$accumulator", "$function", "$toHashedIndexKey"})
