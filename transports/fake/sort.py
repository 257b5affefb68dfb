"""Sort specifications: ``{"a": 1, "b.c": -1}`` over documents.

Spec: https://www.mongodb.com/docs/manual/reference/method/cursor.sort/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from transports.fake.collation import Collation
from transports.fake.values import Document


def compile_sort(
    spec: Mapping[str, Any], collation: Collation | None = None
) -> Callable[[Iterable[Document]], list[Document]]:
    """Compile a sort; stable, so documents that compare equal keep their order."""
    raise NotImplementedError
