"""Projection of find and findAndModify: inclusion, exclusion, array operators, expressions.

Spec: https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#projection
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bson import DatetimeMS

from transports.fake.collation import Collation
from transports.fake.matcher import Match
from transports.fake.values import Document


def compile_projection(
    spec: Mapping[str, Any],
    *,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
) -> Callable[[Document, Match | None], Document]:
    """Compile a projection; the function never changes the document it is given.

    The second argument is how the document matched the filter (`Matcher.match`); only the
    positional ``"a.$": 1`` needs it.
    """
    raise NotImplementedError
