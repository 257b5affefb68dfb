"""Updates: operators, replacements and pipelines applied to one document.

Spec: https://www.mongodb.com/docs/manual/reference/operator/update/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bson import DatetimeMS, Regex

from transports.fake.collation import Collation
from transports.fake.errors import (
    FAILED_TO_PARSE,
    ILLEGAL_OPERATION,
    IMMUTABLE_FIELD,
    INVALID_ID_FIELD,
    INVALID_OPTIONS,
    PATH_NOT_VIABLE,
    CommandFailure,
)
from transports.fake.expressions.scope import folding
from transports.fake.matcher import (
    NOT_SINGLE_VALUE_FIELD,
    SPECIAL_FEATURES,
    Match,
    Matcher,
    compile_filter,
)
from transports.fake.paths import split
from transports.fake.stages.reshape import compile_reshape
from transports.fake.stages.table import STAGES
from transports.fake.update_modifiers import MODIFIERS, Modifier, Setting, identical
from transports.fake.update_paths import (
    bad_value,
    check_stored_name,
    filter_name,
    is_positional,
    update_parts,
)
from transports.fake.update_tree import Application, Branch, insert
from transports.fake.values import MISSING, Document, bson_type, deep_copy, equal

Change = Callable[[Document, Match | None, bool], Document]
_IN_UPDATES: Final = frozenset(
    {"$addFields", "$set", "$project", "$unset", "$replaceRoot", "$replaceWith"}
)


class Update:
    """A compiled update.

    Attributes:
        is_replacement: the whole document is replaced (``_id`` is kept).
        is_pipeline: the update is a list of stages.
    """

    def __init__(
        self, change: Change, *, is_replacement: bool = False, is_pipeline: bool = False
    ) -> None:
        self._change = change
        self.is_replacement = is_replacement
        self.is_pipeline = is_pipeline

    def apply(
        self, document: Document, match: Match | None = None, *, inserting: bool = False
    ) -> Document:
        """Return the updated document; the argument is never changed.

        The result is the argument itself when nothing changes (``nModified`` stays).

        Raises:
            CommandFailure: 66 ImmutableField for a changed ``_id``, 28 PathNotViable, …
        """
        updated = self._change(document, match, inserting)
        if updated is document:
            return document
        key = document.get("_id", MISSING)
        new = updated.get("_id", MISSING)
        if self.is_replacement and not inserting:
            check_id(new)
        if key is not MISSING and (new is MISSING or not equal(new, key)):
            raise CommandFailure(
                IMMUTABLE_FIELD,
                "After applying the update, the (immutable) field '_id' was found to have been "
                f"altered to _id: {new!r}",
            )
        if new is not key and not (inserting and type(new) is list):
            check_id(new)  # of an upsert, an array is `seed_upsert`'s to refuse
        return updated


def check_id(key: Any) -> None:
    """Raise if a value cannot be an ``_id``.

    Raises:
        CommandFailure: 53 InvalidIdField.
    """
    if type(key) in (list, Regex):
        raise CommandFailure(
            INVALID_ID_FIELD, f"The '_id' value cannot be of type {bson_type(key)[1]}"
        )


def compile_update(
    update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    array_filters: Sequence[Mapping[str, Any]] | None = None,
    collation: Collation | None = None,
    let: Mapping[str, Any] | None = None,
    now: DatetimeMS | None = None,
) -> Update:
    """Compile the ``u`` of an update statement: operators, a replacement or a pipeline.

    Args:
        update: ``{"$set": …}``, a document, or a list of stages.
        array_filters: what ``$[name]`` stands for, e.g. ``[{"name.grade": {"$gt": 5}}]``.
        collation: how strings compare.
        let: variables of a pipeline.
        now: the time of ``$currentDate`` and ``$$NOW``; the clock's if absent.
    """
    now = DatetimeMS(int(time.time() * 1000)) if now is None else now
    filters = _array_filters(array_filters or (), collation)
    if isinstance(update, Mapping):
        if next(iter(update), "").startswith("$"):
            return _operators(update, filters, Setting(collation, now))
        return _replacement(update)
    if array_filters is not None:
        raise CommandFailure(FAILED_TO_PARSE, "Cannot specify arrayFilters and a pipeline update")
    return _pipeline(update, collation, dict(let or {}), now)


def _replacement(replacement: Mapping[str, Any]) -> Update:
    new: Document = deep_copy(dict(replacement))

    def change(document: Document, match: Match | None, inserting: bool) -> Document:
        if not inserting:
            for name in new:
                check_stored_name(name, name)
        if "_id" in new or "_id" not in document:
            if identical(new, document):  # with its _id: without one the server does not look
                return document
            changed = new if "_id" in new else dict(new)
        else:
            changed = {"_id": document["_id"], **new}
        return _id_first(changed)

    return Update(change, is_replacement=True)


def _id_first(document: Document) -> Document:
    if "_id" in document and next(iter(document)) != "_id":
        return {"_id": document["_id"], **document}
    return document


def _pipeline(
    stages: Sequence[Mapping[str, Any]],
    collation: Collation | None,
    variables: dict[str, Any],
    now: DatetimeMS,
) -> Update:
    steps = []
    refused = ""
    for stage in stages:
        if len(stage) != 1:
            raise CommandFailure(
                40323, "A pipeline stage specification object must contain exactly one field."
            )
        name, spec = next(iter(stage.items()))
        if name in _IN_UPDATES:
            with folding(fails=False):
                steps.append(compile_reshape(name, spec, frozenset(variables), collation))
        else:
            refused = refused or name
    if refused:
        _refuse_stage(refused)
    known = {"NOW": now, **variables}

    def change(document: Document, match: Match | None, inserting: bool) -> Document:
        changed = document
        for step in steps:
            changed = step(changed, known)
        if "_id" not in changed and "_id" in document:
            return {"_id": document["_id"], **changed}
        changed = _id_first(changed)
        return document if identical(changed, document) else changed

    return Update(change, is_pipeline=True)


def _refuse_stage(name: str) -> None:
    if name not in STAGES:
        raise CommandFailure(40324, f"Unrecognized pipeline stage name: '{name}'")
    raise CommandFailure(INVALID_OPTIONS, f"{name} is not allowed to be used within an update")


def _operators(
    update: Mapping[str, Any],
    filters: dict[str, Callable[[Any], bool]],
    setting: Setting,
) -> Update:
    root = Branch()
    used: set[str] = set()
    renames: list[tuple[str, str]] = []

    def check(parts: tuple[str, ...], path: str) -> None:
        _check_identifiers(parts, path, filters, used)

    for operator, fields in update.items():
        if operator != "$rename" and operator not in MODIFIERS:
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"Unknown modifier: {operator}. Expected a valid update modifier or pipeline-style "
                "update specified as an array",
            )
        if type(fields) is not dict:
            raise CommandFailure(
                FAILED_TO_PARSE,
                "Modifiers operate on fields but we found type "
                f"{bson_type(fields)[1]} instead. For example: {{$mod: {{<field>: ...}}}} not "
                f"{{{operator}: {fields!r}}}",
            )
        for path, operand in fields.items():
            if operator == "$rename":
                renames.append((path, operand))
                _rename(root, path, operand, check)
                continue
            parts = update_parts(path)
            _check_positions(parts, path)
            insert(root, parts, MODIFIERS[operator](operand, setting))
            check(parts, path)
    for name in filters:
        if name not in used:
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"The array filter for identifier '{name}' was not used in the update",
            )
    return Update(_walker(root, filters, renames))


def _walker(
    root: Branch, filters: dict[str, Callable[[Any], bool]], renames: list[tuple[str, str]]
) -> Change:
    def change(document: Document, match: Match | None, inserting: bool) -> Document:
        index = None if match is None else match.array_index
        tree = root
        sources: list[Branch] = []
        if renames:
            tree, sources = _with_renames(root, renames, document)
        application = Application(index, filters, inserting, document.get("_id"))
        changed: Document = application.apply(tree, document, "")
        for source in sources:  # a rename removes after it has set
            changed = application.apply(source, changed, "")
        return changed

    return change


def _check_positions(parts: tuple[str, ...], path: str) -> None:
    if is_positional(parts[0]):
        raise bad_value(
            "Cannot have array filter identifier (i.e. '$[<id>]') element in the first "
            f"position in path '{path}'"
        )
    if sum(part == "$" for part in parts) > 1:
        raise bad_value(f"Too many positional (i.e. '$') elements found in path '{path}'")


def _check_identifiers(
    parts: tuple[str, ...], path: str, filters: Mapping[str, Any], used: set[str]
) -> None:
    for part in parts:
        name = filter_name(part)
        if name:
            if name not in filters:
                raise bad_value(f"No array filter found for identifier '{name}' in path '{path}'")
            used.add(name)


def _array_filters(
    array_filters: Sequence[Mapping[str, Any]], collation: Collation | None
) -> dict[str, Callable[[Any], bool]]:
    filters: dict[str, Callable[[Any], bool]] = {}
    for given in array_filters:
        try:
            matches = compile_filter(given, collation=collation, banned=SPECIAL_FEATURES)
        except CommandFailure as failure:
            failure.message = f"Error parsing array filter :: caused by :: {failure.message}"
            raise
        names = [] if _is_nothing(given) else list(dict.fromkeys(_top_names(given)))
        if not names:
            raise CommandFailure(
                FAILED_TO_PARSE,
                "Cannot use an expression without a top-level field name in arrayFilters",
            )
        if len(names) > 1:
            raise CommandFailure(
                FAILED_TO_PARSE,
                "Error parsing array filter :: caused by :: Expected a single top-level field "
                "name, "
                f"found '{names[0]}' and '{names[1]}'",
            )
        name = names[0]
        if name in filters:
            raise CommandFailure(
                FAILED_TO_PARSE,
                f"Found multiple array filters with the same top-level field name {name}",
            )
        if not (name[:1].islower() and name.isalnum()):
            raise bad_value(
                "Error parsing array filter :: caused by :: The top-level field name must be an "
                f"alphanumeric string beginning with a lowercase letter, found '{name}'"
            )
        filters[name] = _element_test(name, matches)
    return filters


def _is_nothing(given: Mapping[str, Any]) -> bool:
    """Tell whether a filter is one ``$all`` of nothing, whose field is lost to the server."""
    nothing: tuple[Document, ...] = ({"$all": []}, {"$not": {"$all": []}})
    return len(given) == 1 and all(
        type(value) is dict and value in nothing for value in given.values()
    )


def _element_test(name: str, matches: Matcher) -> Callable[[Any], bool]:
    return lambda element: matches({name: element})


def _top_names(query: Mapping[str, Any]) -> list[str]:
    names = []
    for name, value in query.items():
        if name in ("$and", "$or", "$nor"):
            names += [inner for member in value for inner in _top_names(member)]
        elif not name.startswith("$"):
            names.append(split(name)[0])
    return names


_NOTHING: Final = Modifier(lambda value, path, key: value, creates=False, removes=True)


_REMOVAL: Final = Modifier(lambda value, path, key: MISSING, creates=False, removes=True)


def _rename(
    root: Branch, source: str, target: Any, check: Callable[[tuple[str, ...], str], None]
) -> None:
    """Check a ``$rename`` and hold its two places in the tree."""
    source_parts = update_parts(source)
    _check_positions(source_parts, source)
    insert(root, source_parts, _NOTHING)
    check(source_parts, source)
    if type(target) is not str:
        raise bad_value(f"The 'to' field for $rename must be a string: {source}: {target!r}")
    for path, which in ((source, "source"), (target, "destination")):
        if any(is_positional(part) for part in update_parts(path)):
            raise bad_value(f"The {which} field for $rename may not be dynamic: {path}")
    if source == target:
        raise bad_value(
            f'The source and target field for $rename must differ: {source}: "{target}"'
        )
    target_parts = split(target)
    shorter = min(len(source_parts), len(target_parts))
    if source_parts[:shorter] == target_parts[:shorter]:
        raise bad_value(
            "The source and target field for $rename must not be on the same path: "
            f'{source}: "{target}"'
        )
    insert(root, target_parts, _NOTHING)


def _with_renames(
    root: Branch, renames: list[tuple[str, str]], document: Document
) -> tuple[Branch, list[Branch]]:
    """Return the tree with what the renames set in one document, and what they then remove."""
    tree = _copied(root)
    sources: list[Branch] = []
    for source, target in renames:
        value = _plain_value(document, split(source), "source", source)
        if value is MISSING:
            continue
        _plain_value(document, split(target), "destination", target)
        removal = Branch()
        insert(removal, split(source), _REMOVAL)
        sources.append(removal)
        _replace(tree, split(target), Modifier(_constant(value)))
    return tree, sources


def _constant(value: Any) -> Callable[[Any, str, Any], Any]:
    return lambda old, path, key: value


def _plain_value(document: Document, parts: tuple[str, ...], which: str, path: str) -> Any:
    """Return the value at one of the paths of a ``$rename``, which may go through no array."""
    value: Any = document
    through_array = False
    for part in parts:
        if type(value) is list:
            through_array = True
            if part.isdigit():
                value = value[int(part)] if int(part) < len(value) else MISSING
                continue
            if which == "source":
                raise _not_traversable(part, path)
            break
        if type(value) is not dict:
            if which == "source" and value is not MISSING:
                raise _not_traversable(part, path)
            value = MISSING
            break
        value = value.get(part, MISSING)
    if through_array and (value is not MISSING or which == "destination"):
        raise bad_value(
            f"The {which} field cannot be an array element, '{path}' in doc with _id: "
            f"{document.get('_id')!r} has an array field"
        )
    return value


def _not_traversable(part: str, path: str) -> CommandFailure:
    return CommandFailure(PATH_NOT_VIABLE, f"cannot use the part '{part}' of '{path}' to traverse")


def _copied(branch: Branch) -> Branch:
    return Branch(
        {
            name: _copied(child) if isinstance(child, Branch) else child
            for name, child in branch.children.items()
        }
    )


def _replace(tree: Branch, parts: tuple[str, ...], modifier: Modifier) -> None:
    for part in parts[:-1]:
        child = tree.children[part]
        assert isinstance(child, Branch)
        tree = child
    tree.children[parts[-1]] = modifier


def seed_upsert(matcher: Matcher, update: Update) -> Document:
    """Return the document to insert when an upsert matched nothing.

    The filter's equalities and then the update, ``$setOnInsert`` included, are applied; ``_id``
    comes first where there is one, and is left to the caller where there is none.

    Raises:
        CommandFailure: 54 for equalities that contradict each other, and what `Update.apply` does.
    """
    equalities = matcher.equalities(only_id=update.is_replacement)
    seed: Document = {}
    for path, value in equalities.items():
        if not path:
            raise CommandFailure(ILLEGAL_OPERATION, "Cannot call setValue on the root object")
        _put(seed, split(path), deep_copy(value))
    applied = update.apply(seed, None, inserting=True)
    document = _id_first(applied)
    refused = applied is not seed and (update.is_replacement or update.is_pipeline)
    if refused and type(document.get("_id")) is list:
        raise CommandFailure(
            NOT_SINGLE_VALUE_FIELD,
            "After applying the update to the document, the field '_id' was found to be an array "
            "or array descendant.",
        )
    check_id(document.get("_id"))
    return document


def _put(document: Document, parts: tuple[str, ...], value: Any) -> None:
    for part in parts[:-1]:
        document = document.setdefault(part, {})
    document[parts[-1]] = value
