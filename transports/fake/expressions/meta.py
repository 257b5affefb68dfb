"""``$meta``: what a text search or ``$geoNear`` knows of a document.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/meta/
"""

from __future__ import annotations

from typing import Any, Final

from transports.fake import metadata
from transports.fake.errors import CommandFailure, unsupported
from transports.fake.expressions.scope import Expression, Operator, Scope

_UNSUPPORTED_META: Final = frozenset({"sortKey"})


def meta(operand: Any, scope: Scope) -> Expression:
    """``$meta``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/meta/."""
    if type(operand) is not str:
        raise CommandFailure(17307, "$meta only supports string arguments")
    if operand not in metadata.KINDS:
        raise CommandFailure(17308, f"Unsupported argument to $meta: {operand}")
    if operand in _UNSUPPORTED_META:
        raise unsupported(f"the expression {{$meta: {operand!r}}}")
    return lambda document, variables: metadata.value(document, operand)


META: Final[dict[str, Operator]] = {"$meta": meta}
