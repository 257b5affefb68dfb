"""One command held against the rules: which it is, what it acts on, and what its fields hold."""

from __future__ import annotations

from collections.abc import Callable

from transports.lambda_invoke.function.policy.commands import (
    ALIASES,
    COMMANDS,
    GENERIC,
    NEVER_ALLOWED,
    Command,
    Target,
)
from transports.lambda_invoke.function.policy.message import (
    ARRAY,
    BINARY,
    DOCUMENT,
    INT32,
    INT64,
    STRING,
    Data,
    Element,
    Message,
    documents,
    fields_of,
    whole_number,
)
from transports.lambda_invoke.function.policy.pipelines import check_pipeline
from transports.lambda_invoke.function.policy.refusal import Violation, shown
from transports.lambda_invoke.function.policy.scope import Scope

_EXPLAINED = frozenset({"aggregate", "count", "delete", "distinct", "find", "findAndModify"}) | {
    "mapReduce",
    "update",
}
# {"id": UUID(…)}: 30 bytes, of which 16 are the session's own.
_SESSION_HEAD = b"\x1e\x00\x00\x00\x05id\x00\x10\x00\x00\x00\x04"
_SESSION_BYTES = 30
# Cursors of commands that read no collection: their namespace ends so.
_COMMAND_CURSORS = frozenset({"$cmd.aggregate", "$cmd.listCollections"})
_BULK_CURSOR = "$cmd.bulkWrite"


def check_command(scope: Scope, message: Message, database: str) -> Command | None:
    """Refuse a command that the rules do not allow.

    Args:
        scope: the rules, and the message's bytes.
        message: the command.
        database: its ``$db``.

    Returns:
        What is known of the command; None for one that only the policy's own words allow.

    Raises:
        Violation: they do not allow it.
    """
    command = known(scope, message.fields)
    _Check(scope, database, message.sequences).run(command, message.fields)
    return command


def known(scope: Scope, fields: dict[bytes, Element]) -> Command | None:
    """Return what is known of the command whose fields are *fields*, if it may run at all."""
    given = next(iter(fields))
    name = shown(given)
    name = ALIASES.get(name, name)
    if name in scope.rules.extra_commands:
        return None
    command = COMMANDS.get(name)
    if command is None or name not in scope.rules.commands:
        if name in NEVER_ALLOWED:
            raise Violation("allows no authentication on a connection that callers share")
        if name == "mapReduce":
            raise Violation("allows no JavaScript (javaScript): mapReduce")
        if command is not None and command.by_default:
            raise Violation(f"denies {name} (commands.deny)")
        raise Violation(f"allows no administration: {name} is not among its commands (commands)")
    if command.writes and scope.rules.read_only:
        raise Violation(f"is read-only (readOnly), and {name} writes")
    return command


def is_session(data: Data, element: Element) -> bool:
    """Whether a value is ``{"id": UUID}`` and nothing else."""
    return (
        element.type == DOCUMENT
        and element.end - element.start == _SESSION_BYTES
        and data.startswith(_SESSION_HEAD, element.start)
    )


class _Check:
    """The check of one command, or of the one inside ``explain``."""

    def __init__(
        self,
        scope: Scope,
        database: str,
        sequences: dict[bytes, tuple[int, int]],
    ) -> None:
        self._scope = scope
        self._database = database
        self._sequences = sequences
        self._namespaces = 0

    def run(self, command: Command | None, fields: dict[bytes, Element]) -> None:
        first = next(iter(fields.values()))
        self._fields = fields
        if command is None:
            self._extra(first)
            return
        self._target(command, first)
        for element in fields.values():
            name = element.name
            if name in GENERIC:
                if name == b"lsid" and not is_session(self._scope.data, element):
                    raise Violation("takes a session (lsid) as {id: UUID} only")
            elif name in command.data or (element is first and name not in command.special):
                continue
            elif name in command.fields:
                self._scope.evaluated(element)
            elif name in command.special:
                _SPECIAL[name](self, element)
            else:
                raise Violation(f"knows no field {shown(name)!r} of {command.name}")
        for name, (start, end) in self._sequences.items():
            if name not in command.sequences:
                raise Violation(f"knows no document sequence {shown(name)!r} of {command.name}")
            if name in command.special:
                self._sequence(name, start, end)

    def _target(self, command: Command, first: Element) -> None:
        scope = self._scope
        match command.target:
            case Target.READS:
                scope.read(self._database, scope.text(first, "a collection's name"))
            case Target.USES:
                scope.collection(self._database, scope.text(first, "a collection's name"))
            case Target.DATABASE:
                scope.database(self._database)
                if command.name == "dropDatabase" and self._database == scope.rules.staging[0]:
                    raise Violation("keeps the database of the function's own collection")
            case Target.EVERY_DATABASE:
                if not scope.rules.databases:  # else `ceilings` has it tell of these
                    scope.database("")

    def _extra(self, first: Element) -> None:
        """Check a command that is not known: its database, its first value, every operator."""
        if first.type == STRING:
            self._scope.collection(self._database, self._scope.text(first, "a collection's name"))
        elif first.type == BINARY:
            raise Violation("takes a collection by its name only")
        self._scope.database(self._database)
        for element in self._fields.values():
            if element.name not in GENERIC:
                self._scope.evaluated(element)
        if self._sequences:
            raise Violation("takes no document sequence of a command that it does not know")

    # -- reading -----------------------------------------------------------------------------

    def _aggregate(self, element: Element) -> None:
        if element.type == STRING:
            name = self._scope.text(element, "a collection's name")
            self._scope.read(self._database, name)
            return
        if element.type not in (INT32, INT64, 0x01) or whole_number(self._scope.data, element) != 1:
            raise Violation("takes a collection by its name only")
        self._scope.database(self._database)

    def _pipeline(self, element: Element) -> None:
        first = self._fields.get(b"aggregate")
        collection = ""
        if first is not None and first.type == STRING:
            collection = self._scope.text(first, "a collection's name")
        check_pipeline(self._scope, element, self._database, collection)

    def _view_on(self, element: Element) -> None:
        self._scope.read(self._database, self._scope.text(element, "viewOn"))

    def _cursor(self, element: Element) -> None:
        self._scope.fields(element, "cursor", frozenset({b"batchSize"}))

    def _cursor_collection(self, element: Element) -> None:
        """Check the namespace of a cursor, which the server compares with the cursor's own."""
        name = self._scope.text(element, "a collection's name")
        if name == _BULK_CURSOR and self._database == "admin":
            return
        if name in _COMMAND_CURSORS:
            self._scope.database(self._database)
        else:
            self._scope.collection(self._database, name)

    def _explain(self, element: Element) -> None:
        if element.type != DOCUMENT:
            raise Violation("takes explain of a command only")
        fields = self._scope.fields_of(element)
        if not fields:
            raise Violation("takes explain of a command only")
        inner = known(self._scope, fields)
        if inner is None or inner.name not in _EXPLAINED:
            raise Violation("explains reading and writing commands only")
        if b"$db" in fields and self._scope.text(fields[b"$db"], "$db") != self._database:
            raise Violation("explains commands on the database of explain only")
        _Check(self._scope, self._database, {}).run(inner, fields)

    def _map_reduce_out(self, element: Element) -> None:
        if element.type == STRING:
            self._scope.write(self._database, self._scope.text(element, "out"), "out")
            return
        fields = self._scope.fields(element, "out", _MAP_REDUCE_OUT)
        if b"inline" in fields and len(fields) == 1:
            return
        database = self._database
        if b"db" in fields:
            database = self._scope.text(fields[b"db"], "out.db")
        for name in (b"replace", b"merge", b"reduce"):
            if name in fields:
                self._scope.write(database, self._scope.text(fields[name], "out"), "out")

    # -- writing -----------------------------------------------------------------------------

    def _statements(self, element: Element) -> None:
        """Check statements that are an array of the command and no document sequence."""
        if element.type != ARRAY:
            raise Violation(f"takes {shown(element.name)} as an array only")
        for statement in self._scope.elements(element):
            if statement.type == DOCUMENT:
                self._statement(element.name, statement.start, statement.end)
            elif statement.type == ARRAY:
                raise Violation(f"takes {shown(element.name)} of documents only")

    def _sequence(self, name: bytes, start: int, end: int) -> None:
        for begin, stop in documents(self._scope.data, start, end):
            self._statement(name, begin, stop)

    def _statement(self, name: bytes, start: int, end: int) -> None:
        fields = fields_of(self._scope.data, start, end, self._scope.looks)
        if name == b"updates":
            self._checked(fields, "an update", _UPDATE)
        elif name == b"deletes":
            self._checked(fields, "a delete", _DELETE)
        elif name == b"nsInfo":
            self._ns_info(fields)
        else:
            kind = next(iter(fields), b"")
            known_fields = _OPS.get(kind)
            if known_fields is None:
                raise Violation(f"knows no operation {shown(kind)!r} of bulkWrite")
            self._checked(fields, "an operation of bulkWrite", known_fields)

    def _checked(
        self, fields: dict[bytes, Element], what: str, known_fields: dict[bytes, str]
    ) -> None:
        for name, element in fields.items():
            kind = known_fields.get(name)
            if kind == "evaluated":
                self._scope.evaluated(element)
            elif kind == "update":
                self._update(element)
            elif kind is None:
                raise Violation(f"knows no field {shown(name)!r} of {what}")

    def _update(self, element: Element) -> None:
        """Check what an update does: a pipeline, operators, or a document, which is only data."""
        if element.type == ARRAY:
            check_pipeline(self._scope, element, self._database)
        elif element.type == DOCUMENT:
            for change in self._scope.elements(element):
                if change.name[:1] == b"$":
                    self._scope.operator(change.name)
                elif change.start == element.start + len(change.name) + 6:
                    return  # the first name tells: a replacement
                if change.name == b"$pull":
                    self._scope.evaluated(change)

    def _ns_info(self, fields: dict[bytes, Element]) -> None:
        for name in fields:
            if name != b"ns":
                raise Violation(f"knows no field {shown(name)!r} of nsInfo")
        if b"ns" not in fields:
            raise Violation("takes no namespace without a name")
        self._full_namespace(fields[b"ns"])

    def _full_namespace(self, element: Element) -> None:
        namespace = self._scope.text(element, "a namespace")
        database, _, collection = namespace.partition(".")
        self._scope.collection(database, collection)

    # -- collections and sessions -------------------------------------------------------------

    def _rename(self, element: Element) -> None:
        self._full_namespace(element)
        if b"to" not in self._fields:
            raise Violation("takes no renameCollection without to")

    def _indexes(self, element: Element) -> None:
        if element.type != ARRAY:
            raise Violation("takes indexes as an array only")
        for index in self._scope.elements(element):
            if index.type == DOCUMENT and b"storageEngine" in self._scope.fields_of(index):
                raise Violation("allows no administration: storageEngine")
        self._scope.evaluated(element)

    def _sessions(self, element: Element) -> None:
        if element.type != ARRAY:
            raise Violation("takes sessions as an array only")
        for session in self._scope.elements(element):
            if not is_session(self._scope.data, session):
                raise Violation("takes a session as {id: UUID} only")

    def _nothing(self, element: Element) -> None:
        """``bulkWrite: 1``: what it writes to is in nsInfo."""


def _known(evaluated: str = "", data: str = "", update: str = "") -> dict[bytes, str]:
    kinds = {"evaluated": evaluated, "data": data, "update": update}
    return {name.encode(): kind for kind, names in kinds.items() for name in names.split()}


_UPDATE = _known("q c collation arrayFilters hint sort", "multi upsert", "u")
_DELETE = _known("q collation hint", "limit")
_OPS = {
    b"insert": _known("", "insert document"),
    b"update": _known(
        "filter constants collation arrayFilters hint sort", "update multi upsert", "updateMods"
    ),
    b"delete": _known("filter collation hint", "delete multi"),
}
_MAP_REDUCE_OUT = frozenset({b"inline", b"replace", b"merge", b"reduce", b"db"})
_SPECIAL: dict[bytes, Callable[[_Check, Element], None]] = {
    b"aggregate": _Check._aggregate,
    b"bulkWrite": _Check._nothing,
    b"collection": _Check._cursor_collection,
    b"cursor": _Check._cursor,
    b"deletes": _Check._statements,
    b"endSessions": _Check._sessions,
    b"explain": _Check._explain,
    b"indexes": _Check._indexes,
    b"killCursors": _Check._cursor_collection,
    b"nsInfo": _Check._statements,
    b"ops": _Check._statements,
    b"out": _Check._map_reduce_out,
    b"pipeline": _Check._pipeline,
    b"refreshSessions": _Check._sessions,
    b"renameCollection": _Check._rename,
    b"to": _Check._full_namespace,
    b"update": _Check._update,
    b"updates": _Check._statements,
    b"viewOn": _Check._view_on,
}
