"""Which field paths and variable names an expression may use."""

from __future__ import annotations

from transports.fake.errors import FAILED_TO_PARSE, CommandFailure
from transports.fake.paths import Parts

# The parts of a DBRef and two fields that servers send each other; a server lets no other pass.
_ALLOWED_DOLLAR_NAMES = frozenset({"$id", "$ref", "$db", "$sortKey", "$recordId"})


def check_path(path: str) -> Parts:
    """Return the parts of a field path, or raise what the server raises for a bad one."""
    if not path:
        raise CommandFailure(40352, "FieldPath cannot be constructed with empty string")
    if path.endswith("."):
        raise CommandFailure(40353, "FieldPath must not end with a '.'.")
    parts = tuple(path.split("."))
    for part in parts:
        if not part:
            raise CommandFailure(15998, "FieldPath field names may not be empty strings.")
        if part.startswith("$") and part not in _ALLOWED_DOLLAR_NAMES:
            raise CommandFailure(
                16410,
                f"FieldPath field names may not start with '$'. Consider using $getField or "
                f"$setField. {part}",
            )
        if "\0" in part:
            raise CommandFailure(16411, "FieldPath field names may not contain '\\0'.")
    return parts


def check_variable_name(name: str) -> None:
    """Raise if a name cannot be given to a variable by a user."""
    if not name:
        raise CommandFailure(FAILED_TO_PARSE, "empty variable names are not allowed")
    if name == "CURRENT":
        return
    if not (name[0].islower() or ord(name[0]) >= 128):
        raise CommandFailure(
            FAILED_TO_PARSE,
            f"'{name}' starts with an invalid character for a user variable name",
        )
    for char in name:
        if not (char.isalnum() or char == "_" or ord(char) >= 128):
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"'{name}' contains an invalid character for a variable name: '{char}'",
            )
