"""Value types that several aggregates share: instants in UTC, slugs, locales.

MongoDB keeps a date as milliseconds since 1970 and knows no time zone; PyMongo reads it back
without one. `Instant` makes both explicit, so that a document equals itself after a round trip.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def as_instant(value: datetime) -> datetime:
    """Return *value* in UTC, cut to the millisecond; one without a zone is taken for UTC."""
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def now() -> datetime:
    """Return the present instant."""
    return as_instant(datetime.now(UTC))


def slugify(text: str) -> str:
    """Return *text* as the part of a URL: ``"Über uns!"`` gives ``"uber-uns"``."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "untitled"


Instant = Annotated[datetime, AfterValidator(as_instant)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=120)]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")]
EmailAddress = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254
    ),
]
