"""Which indexes of a collection are in each other's way, and which exist already.

Works on specifications as `transports.fake.index_specs.normalised` returns them.

Spec: https://www.mongodb.com/docs/manual/reference/command/createIndexes/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transports.fake.bson_text import render, render_document
from transports.fake.errors import (
    CANNOT_CREATE_INDEX,
    INDEX_KEY_SPECS_CONFLICT,
    INDEX_OPTIONS_CONFLICT,
    CommandFailure,
)
from transports.fake.indexes import Index
from transports.fake.values import Document

_INDEX_ALREADY_EXISTS: Final = 68
_OPERATION_FAILED: Final = 96


def check_together(indexes: Mapping[str, Index], specs: list[Document], *, empty: bool) -> None:
    """Refuse specifications of one command that are in each other's way.

    Args:
        indexes: those that the collection has.
        specs: the new ones, as `normalised` returns them.
        empty: whether the collection holds no documents: its indexes are made one after the
            other, those of any other in one build.

    Raises:
        CommandFailure: 68 (96 in a build) for two that are the same, and what `existing` raises.
    """
    held = dict(indexes)
    for spec in specs:
        if existing(held, spec) is not None:
            if empty:
                raise CommandFailure(
                    _INDEX_ALREADY_EXISTS, f"Identical index already exists: {spec['name']}"
                )
            raise CommandFailure(
                _OPERATION_FAILED,
                "Cannot build two identical indexes. Try again without duplicate indexes.",
            )
        held[spec["name"]] = Index(spec)


def existing(indexes: Mapping[str, Index], spec: Document) -> Index | None:
    """Return the index that the specification asks for if it exists already.

    Raises:
        CommandFailure: 85 or 86 if another index is in its way, 67 for a second text index.
    """
    same_name = indexes.get(spec["name"])
    if same_name is not None and _same(same_name.spec, spec):
        return same_name
    shown = f"Requested index: {_shown(spec)}, existing index: "
    if same_name is not None and not _equivalent(same_name.spec, spec):
        raise CommandFailure(
            INDEX_KEY_SPECS_CONFLICT,
            "An existing index has the same name as the requested index. When index names are not "
            "specified, they are auto generated and can cause conflicts. Please refer to our "
            f"documentation. {shown}{_shown(same_name.spec)}",
        )
    for index in indexes.values():
        if not _equivalent(index.spec, spec):
            continue
        if index.name == spec["name"]:
            raise CommandFailure(
                INDEX_OPTIONS_CONFLICT,
                "An equivalent index already exists with the same name but different options. "
                f"{shown}{_shown(index.spec)}",
            )
        if index.name == "_id_":
            return index
        if _same({**index.spec, "name": ""}, {**spec, "name": ""}):
            raise CommandFailure(
                INDEX_OPTIONS_CONFLICT,
                f"Index already exists with a different name: {index.name}",
            )
        raise CommandFailure(
            INDEX_OPTIONS_CONFLICT,
            "An equivalent index already exists with a different name and options. "
            f"{shown}{_shown(index.spec)}",
        )
    if "_fts" in spec["key"]:
        for index in indexes.values():
            if "_fts" in index.pattern:
                raise CommandFailure(
                    CANNOT_CREATE_INDEX,
                    "only one text index per collection allowed, found existing text index "
                    f'"{index.name}"',
                )
    return None


def _shown(spec: Document) -> str:
    """Return a specification as the conflict messages show it: flags before the key."""
    first = {"v": spec["v"]}
    if spec.get("unique"):
        first["unique"] = True
    rest = {field: value for field, value in spec.items() if field not in first}
    return render_document({**first, **rest})


def _equivalent(left: Document, right: Document) -> bool:
    """Tell whether two indexes would hold the same keys for the same documents."""
    fields = ("key", "collation", "partialFilterExpression", "unique", "sparse")
    return all(
        render(left.get(field) or None) == render(right.get(field) or None) for field in fields
    )


def _same(left: Document, right: Document) -> bool:
    ignored = ("background", "hidden", "v")
    return render(
        {
            field: value
            for field, value in sorted(left.items())
            if field not in ignored and value is not False
        }
    ) == render(
        {
            field: value
            for field, value in sorted(right.items())
            if field not in ignored and value is not False
        }
    )
