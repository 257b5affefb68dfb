"""Parsing and checking the paths that updates write to."""

from __future__ import annotations

from transports.fake.errors import (
    BAD_VALUE,
    CONFLICTING_UPDATE_OPERATORS,
    DOLLAR_PREFIXED_FIELD_NAME,
    EMPTY_FIELD_NAME,
    CommandFailure,
)
from transports.fake.paths import Parts, split


def update_parts(path: str) -> Parts:
    """Return the parts of a path that an update may write.

    Raises:
        CommandFailure: 56 for an empty part.
    """
    if not path:
        raise CommandFailure(EMPTY_FIELD_NAME, "An empty update path is not valid.")
    parts = split(path)
    if not all(parts):
        raise CommandFailure(
            EMPTY_FIELD_NAME,
            f"The update path '{path}' contains an empty field name, which is not allowed.",
        )
    return parts


def check_stored_name(part: str, path: str) -> None:
    """Raise for a part that may not be stored: a dollar name that is neither positional nor DBRef.

    Raises:
        CommandFailure: 52 DollarPrefixedFieldName.
    """
    if part.startswith("$") and part not in ("$ref", "$id", "$db"):
        raise CommandFailure(
            DOLLAR_PREFIXED_FIELD_NAME,
            f"The dollar ($) prefixed field '{part}' in '{path}' is not allowed in the context of "
            "an update's replacement document. Consider using an aggregation pipeline with "
            "$replaceWith.",
        )


def is_positional(part: str) -> bool:
    """Tell whether a part is ``$``, ``$[]`` or ``$[name]``."""
    return part == "$" or (part.startswith("$[") and part.endswith("]"))


def filter_name(part: str) -> str | None:
    """Return ``name`` of ``$[name]``, ``""`` of ``$[]``; None for another part."""
    return part[2:-1] if part.startswith("$[") and part.endswith("]") else None


def conflict(path: str, at: str) -> CommandFailure:
    """Return the refusal of two operators that write the same place."""
    return CommandFailure(
        CONFLICTING_UPDATE_OPERATORS,
        f"Updating the path '{path}' would create a conflict at '{at}'",
    )


def bad_value(message: str) -> CommandFailure:
    """Return the server's BadValue."""
    return CommandFailure(BAD_VALUE, message)
