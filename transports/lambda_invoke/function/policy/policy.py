"""The policy: what the DB proxy function sends to MongoDB for its callers, and what it refuses.

One call for every command, before it is sent: `Policy.check`. It reads the message as strictly as
a server does and no more of it than it must; it connects to nothing. Where a rule can only be held
against a view's definition it asks `Views`, and only then.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import unquote

from transports.lambda_invoke.function.policy import ceilings
from transports.lambda_invoke.function.policy.check import check_command, is_session
from transports.lambda_invoke.function.policy.message import (
    DOCUMENT,
    Data,
    Element,
    read,
    text,
)
from transports.lambda_invoke.function.policy.pipelines import check_view
from transports.lambda_invoke.function.policy.refusal import Refused, Violation, shown
from transports.lambda_invoke.function.policy.rules import Rules, parse
from transports.lambda_invoke.function.policy.scope import Scope
from transports.lambda_invoke.function.settings import FunctionSettings

VARIABLE = "ODM_PROXY_POLICY"

_MAX_VIEWS = 20  # a server's own limit of views on views
_MAX_READS = 100  # collections of one command: each may be a question to the server
_MAX_NAMESPACE_BYTES = 255  # a server's own; the answers are remembered by name


class Views(Protocol):
    """Where the definitions of views are."""

    def definition(self, database: str, collection: str) -> bytes | None:
        """Return a view's options as BSON (``viewOn``, ``pipeline``), None for no view.

        Raises:
            LookupError: whether it is one is not to be found out.
        """
        ...


class Policy:
    """What may run.

    Args:
        rules: None for everything.
        named: whose policy it is, in what is refused.
    """

    def __init__(
        self, rules: Rules | None, *, named: str = f"the function's policy ({VARIABLE})"
    ) -> None:
        self._rules = rules
        self._named = named

    @classmethod
    def from_text(cls, policy: str, *, mongodb_uri: str = "", staging: str = "") -> Policy:
        """Return the policy that *policy* says: a preset's name or a JSON object.

        Args:
            policy: ``""`` for the default.
            mongodb_uri: whose database is the one allowed where the policy names none.
            staging: ``"database.collection"`` of the function's own.

        Raises:
            PolicyError: it says something else; with what to write.
        """
        return cls(parse(policy, database=database_of(mongodb_uri), staging=staging))

    @classmethod
    def from_settings(cls, settings: FunctionSettings) -> Policy:
        """Return the policy of a function's configuration.

        Raises:
            PolicyError: it says something else; with what to write.
        """
        return cls.from_text(
            settings.policy, mongodb_uri=settings.mongodb_uri, staging=settings.staging
        )

    @property
    def summary(self) -> str:
        """The policy in a line, for logs."""
        if self._rules is None:
            return "unrestricted"
        rules = self._rules
        parts = ["readOnly" if rules.read_only else "readWrite"]
        parts.append("on " + (", ".join(sorted(rules.databases)) or "no database"))
        if rules.restricts_collections:
            parts.append("some collections")
        return " ".join(parts) + (", with JavaScript" if rules.java_script else "")

    @property
    def needs_views(self) -> bool:
        """Whether `check` asks for the definitions of views."""
        return self._rules is not None and self._rules.restricts_views

    def check(self, message: Data, views: Views | None = None) -> Data:
        """Return the message that may be sent for *message*, an OP_MSG after its header.

        Args:
            message: flags and sections.
            views: asked where `needs_views`; without it a policy that needs it refuses to read.

        Raises:
            Refused: the policy does not allow it. Nothing was sent.
        """
        if self._rules is None:
            return message
        name, database = "this message", ""
        try:
            command = read(message)
            name = "command " + shown(next(iter(command.fields)))
            if b"$db" not in command.fields:
                raise Violation("takes no command without $db")
            database = text(message, command.fields[b"$db"], "$db")
            scope = Scope(self._rules, message)
            known = check_command(scope, command, database)
            if self._rules.restricts_views and scope.reads:
                _check_views(scope, views)
            return ceilings.lower(self._rules, command, known)
        except Violation as violation:
            raise self._refused(name, database, str(violation)) from None
        except RecursionError:
            raise self._refused(name, database, "takes no nesting as deep as this") from None

    def check_reply(self, reply: bytes) -> None:
        """Refuse to pass on a reply that is larger than the policy allows.

        Raises:
            Refused: the command has run all the same.
        """
        if self._rules is None or self._rules.max_reply_bytes is None:
            return
        if len(reply) > self._rules.max_reply_bytes:
            raise Refused(
                f"not authorized to receive a reply of {len(reply):,} bytes: {self._named} "
                f"allows {self._rules.max_reply_bytes:,} (maxReplyBytes). "
                "The command ran; ask for smaller batches or fewer fields"
            )

    def check_session(self, lsid: bytes) -> None:
        """Refuse to end operations by anything but one session's id, under every policy.

        Raises:
            Refused: *lsid* is not the BSON of ``{"id": UUID}``.
        """
        if not is_session(lsid, Element(b"lsid", DOCUMENT, 0, len(lsid))):
            raise Refused("not authorized to end operations but those of one session (lsid)")

    def _refused(self, name: str, database: str, rule: str) -> Refused:
        where = f" on {shown(database)}" if database else ""
        return Refused(f"not authorized{where} to execute {name}: {self._named} {rule}")


def database_of(mongodb_uri: str) -> str:
    """Return the database in a ``mongodb://`` URI's path, ``""`` for none."""
    body = mongodb_uri.partition("://")[2].partition("?")[0]
    path = body.rpartition("@")[2].partition("/")[2]
    return unquote(path).partition(".")[0]


def _check_views(command: Scope, views: Views | None) -> None:
    """Check the definition of every view that *command* reads, and of the views beneath it."""
    if views is None:
        raise Violation("cannot be held against views here")
    waiting = [(database, name, 0) for database, name in sorted(command.reads)]
    seen = set(command.reads)
    while waiting:
        if len(seen) > _MAX_READS:
            raise Violation(f"reads no more than {_MAX_READS} collections at a time")
        database, name, depth = waiting.pop()
        if len(f"{database}.{name}".encode()) > _MAX_NAMESPACE_BYTES:
            raise Violation(f"takes no namespace of more than {_MAX_NAMESPACE_BYTES} bytes")
        try:
            definition = views.definition(database, name)
        except LookupError:
            raise Violation(f"needs to know whether {shown(name)!r} is a view") from None
        if definition is None:
            continue
        if depth >= _MAX_VIEWS:
            raise Violation(f"takes no more than {_MAX_VIEWS} views on each other")
        scope = Scope(command.rules, definition, looks=command.looks)
        try:
            check_view(scope, Element(b"", DOCUMENT, 0, len(definition)), database)
        except Violation as violation:
            raise Violation(f"{violation}; so says the view {shown(name)!r}") from None
        waiting += [(*found, depth + 1) for found in scope.reads - seen]
        seen |= scope.reads
