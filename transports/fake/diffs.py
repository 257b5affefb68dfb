"""The difference that an update made, as the oplog writes it, and as change streams tell it.

A diff is a document: ``d`` fields deleted, ``u`` updated, ``i`` inserted, ``s<name>`` the diff of
an embedded document or array; an array's has ``a: true``, ``l`` its new length, ``u<index>``,
``s<index>``. An operator update names the paths it touches; for a pipeline the documents are
compared, and one that has changed too much counts as replaced.

Spec: https://www.mongodb.com/docs/manual/reference/change-events/update/
"""

from __future__ import annotations

from typing import Any, Final

import bson

from transports.fake.paths import array_index
from transports.fake.values import MISSING, Document, bson_type, equal
from transports.fake.wire import CODEC

_APPENDED: Final = "append"
_WHOLE: Final = "whole"
_ENTRY_BYTES: Final = 15
"""What an oplog entry has around a diff; the server counts it against the diff."""


def _identical(left: Any, right: Any) -> bool:
    return bson_type(left) == bson_type(right) and equal(left, right)


def _size(value: Any) -> int:
    """Return the size of a document or an array as BSON."""
    if type(value) is list:
        value = {str(place): element for place, element in enumerate(value)}
    return len(bson.encode(value, codec_options=CODEC))


def compared(old: Document, new: Document) -> Document | None:
    """Return the diff of two documents; None if it is not worth it and the document is replaced."""
    diff = _compared_document(old, new)
    return None if diff and _size(diff) + _ENTRY_BYTES > _size(new) else diff


def _compared_document(old: Document, new: Document) -> Document:
    deleted = {name: False for name in old if name not in new}
    updated: Document = {}
    inserted: Document = {}
    embedded: Document = {}
    for name, value in new.items():
        before = old.get(name, MISSING)
        if before is MISSING:
            inserted[name] = value
        elif not _identical(before, value):
            diff = _embedded(before, value)
            if diff is None:
                updated[name] = value
            else:
                embedded[f"s{name}"] = diff
    return _assembled(deleted, updated, inserted, embedded)


def _compared_array(old: list[Any], new: list[Any]) -> Document:
    diff: Document = {"a": True}
    if len(new) < len(old):
        diff["l"] = len(new)
    for place, value in enumerate(new):
        before = old[place] if place < len(old) else MISSING
        if before is MISSING:
            diff[f"u{place}"] = value
        elif not _identical(before, value):
            inner = _embedded(before, value)
            diff[f"u{place}" if inner is None else f"s{place}"] = value if inner is None else inner
    return diff


def _embedded(before: Any, value: Any) -> Document | None:
    if type(before) is not type(value) or type(value) not in (dict, list):
        return None
    if type(value) is dict:
        diff = _compared_document(before, value)
    else:
        diff = _compared_array(before, value)
    return None if diff and _size(diff) >= _size(value) else diff


def _assembled(
    deleted: Document, updated: Document, inserted: Document, embedded: Document
) -> Document:
    diff: Document = {}
    if deleted:
        diff["d"] = deleted
    if updated:
        diff["u"] = updated
    if inserted:
        diff["i"] = inserted
    return {**diff, **embedded}


def touched(update: Document, old: Document, new: Document) -> Document:
    """Return the diff of an operator update: only what its paths name, as they name it."""
    tree: Document = {}
    for operator, fields in update.items():
        for path, argument in fields.items():
            _plant(tree, path.split("."), _mode(operator, argument))
            if operator == "$rename":
                _plant(tree, argument.split("."), _WHOLE)
    return _touched_document(old, new, tree)


def _mode(operator: str, argument: Any) -> str:
    if operator != "$push":
        return _WHOLE
    if type(argument) is dict and "$each" in argument and len(argument) > 1:
        return _WHOLE
    return _APPENDED


def _plant(tree: Document, parts: list[str], mode: str) -> None:
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if type(tree) is not dict:
            return
    tree.setdefault(parts[-1], mode)


def _touched_document(old: Document, new: Document, tree: Document) -> Document:
    deleted = {name: False for name in old if name in tree and name not in new}
    updated: Document = {}
    inserted: Document = {}
    embedded: Document = {}
    for name, value in new.items():
        below = tree.get(name)
        if below is None:
            continue
        before = old.get(name, MISSING)
        if before is MISSING:
            inserted[name] = value
        elif not _identical(before, value):
            diff = _touched_below(before, value, below)
            if diff is None:
                updated[name] = value
            else:
                embedded[f"s{name}"] = diff
    return _assembled(deleted, updated, inserted, embedded)


def _touched_below(before: Any, value: Any, below: Any) -> Document | None:
    """Return the diff below a path's part; None if the value is told whole."""
    if below == _APPENDED and type(before) is list and type(value) is list:
        return {"a": True} | {f"u{place}": value[place] for place in range(len(before), len(value))}
    if type(below) is not dict or type(before) is not type(value):
        return None
    if type(value) is dict:
        return _touched_document(before, value, below)
    return _touched_array(before, value, below) if type(value) is list else None


def _touched_array(before: list[Any], value: list[Any], below: Document) -> Document | None:
    positional = any(array_index(part) < 0 for part in below)
    changed = [
        place
        for place, element in enumerate(value)
        if place >= len(before) or not _identical(before[place], element)
    ]
    if (positional and len(changed) != 1) or len(value) < len(before):
        return None
    diff: Document = {"a": True}
    for place in changed:
        if place >= len(before):
            if str(place) not in below:
                continue  # nulls that fill the gap before a new element
            diff[f"u{place}"] = value[place]
            continue
        part = below.get(str(place))
        if part is None:
            part = next(iter(below.values()))
        inner = _touched_below(before[place], value[place], part)
        if inner is None:
            diff[f"u{place}"] = value[place]
        else:
            diff[f"s{place}"] = inner
    return diff


def described(diff: Document) -> Document:
    """Return a diff as the ``updateDescription`` of an event."""
    updated: Document = {}
    removed: list[str] = []
    truncated: list[Document] = []
    _describe(diff, "", updated, removed, truncated)
    return {"updatedFields": updated, "removedFields": removed, "truncatedArrays": truncated}


def _describe(
    diff: Document,
    prefix: str,
    updated: Document,
    removed: list[str],
    truncated: list[Document],
) -> None:
    if diff.get("a") is True:
        if "l" in diff:
            truncated.append({"field": prefix[:-1], "newSize": diff["l"]})
        for name, value in diff.items():
            if name in ("a", "l"):
                continue
            if name[0] == "u":
                updated[prefix + name[1:]] = value
            else:
                _describe(value, f"{prefix}{name[1:]}.", updated, removed, truncated)
        return
    removed.extend(prefix + name for name in diff.get("d", {}))
    for kind in ("u", "i"):
        for name, value in diff.get(kind, {}).items():
            updated[prefix + name] = value
    for name, value in diff.items():
        if name[0] == "s":
            _describe(value, f"{prefix}{name[1:]}.", updated, removed, truncated)
