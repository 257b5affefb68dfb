"""Updates: operators, replacements and pipelines applied to one document.

Spec: https://www.mongodb.com/docs/manual/reference/operator/update/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import DatetimeMS

from transports.fake.collation import Collation
from transports.fake.matcher import Match, Matcher
from transports.fake.values import Document


class Update:
    """A compiled update.

    Attributes:
        is_replacement: the whole document is replaced (``_id`` is kept).
    """

    is_replacement: bool

    def apply(
        self, document: Document, match: Match | None = None, *, inserting: bool = False
    ) -> Document:
        """Return the updated document; the argument is never changed.

        The result is the argument itself when nothing changes (``nModified`` stays).

        Raises:
            CommandFailure: 66 ImmutableField for a changed ``_id``, 28 PathNotViable, …
        """
        raise NotImplementedError


def compile_update(
    update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    array_filters: Sequence[Mapping[str, Any]] | None = None,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
) -> Update:
    """Compile the ``u`` of an update statement: operators, a replacement or a pipeline."""
    raise NotImplementedError


def seed_upsert(matcher: Matcher, update: Update) -> Document:
    """Return the document to insert when an upsert matched nothing (``_id`` may be absent)."""
    raise NotImplementedError
