"""What a ``$text`` asks for: terms, phrases, and what must not be there.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/text/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, NO_SUCH_KEY, TYPE_MISMATCH, CommandFailure
from transports.fake.text.tokens import language_of, terms
from transports.fake.values import Document, bson_type

_OPTIONS: Final = {
    "$search": (str, "string"),
    "$language": (str, "string"),
    "$caseSensitive": (bool, "bool"),
    "$diacriticSensitive": (bool, "bool"),
}
_TOKENS: Final = re.compile(r'(?P<space>\s*)(?P<part>["-]|[^\s"-]+)')


@dataclass(frozen=True, slots=True)
class Wanted:
    """The text of ``$search``, taken apart.

    Attributes:
        words: what is searched, phrases included, as one text.
        unwanted: what must not be there.
        phrases: what must be there letter by letter.
        unwanted_phrases: what must not be.
    """

    words: str
    unwanted: str
    phrases: tuple[str, ...]
    unwanted_phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A ``$text``, read.

    Attributes:
        language: None for the index's own.
    """

    wanted: Wanted
    language: str | None
    case_sensitive: bool
    diacritic_sensitive: bool

    def terms(self, default_language: str) -> frozenset[str]:
        """Return the terms of which a document must have one, as the index has them."""
        return frozenset(terms(self.wanted.words, self.language or default_language))


def read_text(operand: Any) -> TextQuery:
    """Return what a ``$text`` says.

    Raises:
        CommandFailure: as a server refuses it.
    """
    if type(operand) is not dict:
        raise CommandFailure(BAD_VALUE, "$text expects an object")
    if "$search" not in operand:
        raise CommandFailure(NO_SUCH_KEY, 'Missing expected field "$search"')
    for name, (kind, kind_name) in _OPTIONS.items():
        if name in operand and type(operand[name]) is not kind:
            raise CommandFailure(
                TYPE_MISMATCH,
                f'"{name}" had the wrong type. Expected {kind_name}, found '
                f"{bson_type(operand[name])[1]}",
            )
    if operand.keys() - _OPTIONS.keys():
        raise CommandFailure(BAD_VALUE, "extra fields in $text")
    return _read(operand)


def _read(operand: Document) -> TextQuery:
    language = operand.get("$language")
    return TextQuery(
        parse(operand["$search"]),
        None if language is None else language_of(language),
        operand.get("$caseSensitive", False),
        operand.get("$diacriticSensitive", False),
    )


def parse(search: str) -> Wanted:
    """Take a search text apart: ``coffee "ice cream" -decaf``."""
    words: list[str] = []
    unwanted: list[str] = []
    phrases: list[str] = []
    unwanted_phrases: list[str] = []
    negated = False
    phrase_start: int | None = None
    for found in _TOKENS.finditer(search):
        part, after_space = found["part"], bool(found["space"]) or found.start() == 0
        if part == "-":
            if phrase_start is None and after_space:
                negated = True
        elif part == '"':
            if phrase_start is None:
                negated = negated and not after_space
                phrase_start = found.end()
            else:
                phrase = search[phrase_start : found.start("part")]
                (unwanted_phrases if negated else phrases).append(phrase)
                phrase_start = None
        elif phrase_start is None:
            negated = negated and not after_space
            (unwanted if negated else words).append(part)
        elif not negated:
            words.append(part)
    return Wanted(" ".join(words), " ".join(unwanted), tuple(phrases), tuple(unwanted_phrases))
