"""What every part of a command is held against: databases, collections, operators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from transports.lambda_invoke.function.policy import names
from transports.lambda_invoke.function.policy.message import (
    ARRAY,
    DOCUMENT,
    MAX_DEPTH,
    Data,
    Element,
    Looks,
    elements,
    fields_of,
    look,
    looks,
    text,
)
from transports.lambda_invoke.function.policy.refusal import Violation, shown
from transports.lambda_invoke.function.policy.rules import EVERY, Rules

# A key that begins with "$" is, in the bytes, the type of its value, the name, and a zero byte.
# Other bytes may look so too: then the documents are walked. Neither a type nor "$" can stand in a
# name, so no match hides another, and the time is linear in the length whatever the bytes are.
_MAY_BE_OPERATOR = re.compile(rb"[\x01-\x13\x7f\xff](\$[A-Za-z0-9_*]++)\x00")
_LITERALS = (b"$literal", b"$const")


@dataclass(slots=True)
class Scope:
    """The rules, the bytes they are held against, and the collections that were read so far.

    Attributes:
        data: the message, or a view's definition.
        reads: ``(database, collection)`` of what is read: each might be a view.
        looks: how much of it may still be looked at.
    """

    rules: Rules
    data: Data
    reads: set[tuple[str, str]] = field(default_factory=set)
    looks: Looks = field(default_factory=looks)

    def database(self, name: str) -> None:
        """Refuse a database that the policy does not allow."""
        if self.rules.allows_database(name):
            return
        if not self.rules.databases:
            written = shown(name) if name else "cms"
            raise Violation(
                f'names no database: set it to {{"databases": ["{written}"]}}, or put the database '
                "into ODM_PROXY_MONGODB_URI"
            )
        allowed = sorted(self.rules.databases - {EVERY})
        if EVERY in self.rules.databases:
            allowed.append("all but admin, config and local")
        raise Violation(f"allows no database {shown(name)!r}: databases is {', '.join(allowed)}")

    def collection(self, database: str, name: str) -> None:
        """Refuse a collection that the policy does not allow."""
        self.database(database)
        if not self.rules.allows_collection(database, name):
            raise Violation(f"allows no use of the collection {shown(name)!r} (collections)")

    def read(self, database: str, name: str) -> None:
        """Refuse reading a collection, or note that it is read."""
        self.collection(database, name)
        self.reads.add((database, name))

    def write(self, database: str, name: str, what: str) -> None:
        """Refuse writing to a collection."""
        if self.rules.read_only:
            raise Violation(f"is read-only (readOnly), and {what} writes")
        self.collection(database, name)

    def text(self, element: Element, what: str) -> str:
        """Return a string of the data."""
        return text(self.data, element, what)

    def elements(self, element: Element) -> Iterator[Element]:
        """Return the fields of a document or array, one after another."""
        return elements(self.data, element.start, element.end, self.looks)

    def fields_of(self, element: Element) -> dict[bytes, Element]:
        """Return the fields of a document by name, none twice."""
        return fields_of(self.data, element.start, element.end, self.looks)

    def fields(self, element: Element, what: str, known: frozenset[bytes]) -> dict[bytes, Element]:
        """Return the fields of a document, all of them among *known*, none twice."""
        if element.type != DOCUMENT:
            raise Violation(f"takes {what} as a document only")
        found = self.fields_of(element)
        for name in found:
            if name not in known:
                raise Violation(f"knows no field {shown(name)!r} of {what}")
        return found

    def evaluated(self, element: Element) -> None:
        """Refuse operators that the policy does not allow, at any depth of a value.

        Whatever looks like an operator counts as one: it may stand in a filter, an expression or
        a place that this release does not know. Only what ``$literal`` holds is data.
        """
        if element.type not in (DOCUMENT, ARRAY):
            return
        operators = self.rules.operators
        for match in _MAY_BE_OPERATOR.finditer(self.data, element.start, element.end):
            look(self.looks)
            if match[1] not in operators:
                self._walk(element.start, element.end)
                return

    def operator(self, name: bytes) -> None:
        """Refuse an operator.

        One that nobody has heard of passes, for the server to say so. What runs JavaScript, holds
        a pipeline or a namespace, or is meant for servers among themselves is known by its name.
        """
        rules = self.rules
        if name in rules.operators:
            return
        if name in names.JAVASCRIPT and not rules.java_script:
            raise Violation(f"allows no JavaScript (javaScript): {shown(name)}")
        if name in rules.denied_operators:
            raise Violation(f"denies {shown(name)} (operators.deny)")
        if name in names.STAGES or name in names.ADMINISTRATION or name[:2] == b"$_":
            raise Violation(f"allows no {shown(name)} here")

    def _walk(self, start: int, end: int) -> None:
        """Look at every key, however many: it takes memory for the depth alone."""
        open_documents = [(start, end, elements(self.data, start, end, self.looks))]
        while open_documents:
            begin, stop, remaining = open_documents[-1]
            element = next(remaining, None)
            if element is None:
                open_documents.pop()
                continue
            name, kind, value, after = element
            if name[:1] == b"$":
                self.operator(name)
                alone = value == begin + len(name) + 6 and after == stop - 1
                if name in _LITERALS and alone:
                    continue
            if kind in (DOCUMENT, ARRAY):
                if len(open_documents) > MAX_DEPTH:
                    raise Violation(f"takes no more than {MAX_DEPTH} levels of nesting")
                inner = elements(self.data, value, after, self.looks)
                open_documents.append((value, after, inner))
