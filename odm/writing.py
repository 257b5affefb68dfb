"""What becomes of documents on their way into the database, where Beanie has no method for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from beanie.odm.operators.update import BaseUpdateOperator
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from odm import dumping
from odm.arguments import checked_id
from odm.binding import Binder


def new_revision() -> UUID:
    """Return the id of a new revision."""
    return uuid4()


def new_content(document: Any) -> dict[str, Any]:
    """Return what is inserted for a new document, its first revision included."""
    settings = document.get_settings()
    if settings.use_revision:
        document.revision_id = new_revision()
    return dumping.content(document, keep_nulls=settings.keep_nulls)


Insertions = Mapping[int, tuple[Any, dict[str, Any]]]
"""Of a write in many parts: the position of each insertion, its document and its content."""


@contextmanager
def settled(
    insertions: Insertions, connection: Binder, *, count: int, ordered: bool
) -> Iterator[None]:
    """Let the documents that the block has inserted know: their ids, their states, their homes.

    Args:
        insertions: what the block inserts.
        connection: where to.
        count: how many operations it sends altogether.
        ordered: whether the server stops at the first that fails.
    """
    written: set[int] = set()
    try:
        yield
        written = set(insertions)
    except BulkWriteError as error:
        written = set(insertions) - not_written(error, count, ordered=ordered)
        raise
    finally:  # after any other error nobody knows of one that was written
        for index in written:
            document, content = insertions[index]
            document.id = checked_id(type(document), content["_id"])
            document._odm_home = connection.home
            document._save_state()


INSERT_PART = 10_000
"""Documents that the driver gets at a time: for all it prepares at once, the garbage collector goes
through what it has prepared again and again, and ten times as many take fourteen times as long."""


async def insert_many(
    collection: AsyncCollection[dict[str, Any]], contents: list[dict[str, Any]], *, ordered: bool
) -> None:
    """Insert *contents* as the driver's ``insert_many`` does, in parts of `INSERT_PART`.

    Raises:
        BulkWriteError: some were refused; its places and counts are those of all together.
    """
    if len(contents) <= INSERT_PART:
        await collection.insert_many(contents, ordered=ordered)
        return
    refused: list[dict[str, Any]] = []
    concerns: list[dict[str, Any]] = []
    inserted = 0
    details: dict[str, Any] = {}
    for start in range(0, len(contents), INSERT_PART):
        part = contents[start : start + INSERT_PART]
        try:
            await collection.insert_many(part, ordered=ordered)
            inserted += len(part)
        except BulkWriteError as error:
            details = dict(error.details)
            inserted += details["nInserted"]
            concerns += details["writeConcernErrors"]
            refused += [{**e, "index": e["index"] + start} for e in details["writeErrors"]]
            if ordered and refused:
                break
    if details:
        all_together = {"nInserted": inserted, "writeErrors": refused}
        raise BulkWriteError({**details, **all_together, "writeConcernErrors": concerns})


@contextmanager
def restored_on_failure(document: Any) -> Iterator[None]:
    """Give a document back its identity when the block fails: its id, its revision, its home.

    A document that was not written must not go by the id of another: the next ``delete()`` would
    delete that one.
    """
    before = document.id, document.revision_id, document._odm_home
    try:
        yield
    except BaseException:
        document.id, document.revision_id, document._odm_home = before
        raise


def update_expression(model: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return *changes* as an update; where revisions are used, with a new one.

    Raises:
        ValueError: *changes* has no update operators.
    """
    expression = checked_changes(changes)
    return with_new_revision(expression) if model.get_settings().use_revision else expression


def with_new_revision(changes: dict[str, Any]) -> dict[str, Any]:
    """Return *changes*, update operators, which set a new revision, too."""
    return {**changes, "$set": {**changes.get("$set", {}), "revision_id": new_revision()}}


def checked_changes(changes: Any) -> dict[str, Any]:
    """Return *changes* as a dict of update operators.

    Raises:
        TypeError: it is no mapping.
        ValueError: it has no update operators.
    """
    if type(changes) is not dict:
        if isinstance(changes, BaseUpdateOperator):
            changes = changes.query
        if not isinstance(changes, Mapping):
            raise TypeError(f"changes are a mapping such as {{'$set': {{…}}}}, not {changes!r}")
    if not _are_operators(changes):
        raise ValueError(
            f"changes are update operators: write {{'$set': {{…}}}}, not {dict(changes)!r}"
        )
    return dict(changes)


def _are_operators(changes: Mapping[str, Any]) -> bool:
    for name in changes:
        if not str(name).startswith("$"):
            return False
    return bool(changes)


def not_written(error: BulkWriteError, count: int, *, ordered: bool) -> set[int]:
    """Return the indexes of the operations that a failed bulk write did not apply."""
    failed = {entry["index"] for entry in error.details.get("writeErrors", ())}
    if ordered and failed:
        return set(range(min(failed), count))
    return failed
