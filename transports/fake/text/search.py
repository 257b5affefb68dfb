"""Which documents a text search finds, and how well each fits.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/text/#std-label-text-operator-text-score
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from transports.fake.errors import CommandFailure, unsupported
from transports.fake.paths import split
from transports.fake.text.query import TextQuery
from transports.fake.text.tokens import (
    canonical,
    is_known,
    language_of,
    terms,
    without_diacritics,
)
from transports.fake.values import Document

_WILDCARD: Final = "$**"
_OVERRIDE_NOT_STRING: Final = 17261
_OVERRIDE_UNSUPPORTED: Final = 17262
_SAME_AS_FIELD: Final = 1.1

Piece = tuple[str, float, str]
"""One string of a document: the text, its field's weight, its language."""


def pieces(document: Document, spec: Document) -> Iterator[Piece]:
    """Yield the strings of a document that a text index covers.

    Args:
        spec: of the index, as ``listIndexes`` shows it.

    Raises:
        CommandFailure: 17261 or 17262 for a language that is none.
    """
    walker = _Walker(spec)
    yield from walker.walk(document, (), walker.default_language)


class _Walker:
    def __init__(self, spec: Document) -> None:
        weights = {name: float(str(weight)) for name, weight in spec["weights"].items()}
        self._everywhere: float | None = weights.pop(_WILDCARD, None)
        self._weights = {split(name): weight for name, weight in weights.items()}
        self._prefixes = {path[:end] for path in self._weights for end in range(len(path))}
        self._override: str = spec["language_override"]
        self.default_language = canonical(spec["default_language"])

    def walk(self, node: Document, path: tuple[str, ...], language: str) -> Iterator[Piece]:
        """Yield the pieces below a document."""
        language = self._language(node, language)
        for name, value in node.items():
            if name == self._override and self._everywhere is not None:
                continue
            yield from self._value(value, (*path, name), language)

    def _value(self, value: Any, path: tuple[str, ...], language: str) -> Iterator[Piece]:
        if type(value) is str:
            weight = self._weights.get(path, self._everywhere)
            if weight is not None:
                yield value, weight, language
        elif type(value) is list:
            for element in value:
                yield from self._value(element, path, language)
        elif type(value) is dict and (self._everywhere is not None or path in self._prefixes):
            yield from self.walk(value, path, language)

    def _language(self, node: Document, inherited: str) -> str:
        if self._override not in node:
            return inherited
        named = node[self._override]
        if type(named) is not str:
            raise CommandFailure(
                _OVERRIDE_NOT_STRING,
                "found language override field in document with non-string type",
            )
        if not is_known(named):
            raise CommandFailure(_OVERRIDE_UNSUPPORTED, f"language override unsupported: {named}")
        return canonical(named)


def check_languages(document: Document, spec: Document) -> None:
    """Refuse a document that a text index cannot take: see `pieces`."""
    for _ in pieces(document, spec):
        pass


def score(found: Iterable[Piece], wanted: frozenset[str]) -> float:
    """Return how well a document fits: the sum over its strings and the wanted terms."""
    total = 0.0
    by_term: dict[str, float] = {}
    for text, weight, language in found:
        counts = Counter(terms(text, language))
        length = counts.total()
        for term in counts.keys() & wanted:
            count = counts[term]
            often = sum(0.5**turn for turn in range(count))
            share = 0.5 * count / length + 0.5
            boost = _SAME_AS_FIELD if text.lower() == term else 1.0
            by_term[term] = by_term.get(term, 0.0) + weight * often * share * boost
    for term in sorted(by_term):
        total += by_term[term]
    return total


class TextSearch:
    """The ``$text`` of one filter, and what it has found.

    Attributes:
        query: what it asks for.
    """

    def __init__(self, query: TextQuery) -> None:
        self.query = query
        self._found: dict[int, tuple[Document, float]] | None = None

    def run(self, documents: Iterable[Document], spec: Document) -> None:
        """Search stored documents by a text index.

        Args:
            spec: of the index, as ``listIndexes`` shows it.
        """
        self._found = {}
        for document in documents:
            points = search(self.query, document, spec)
            if points is not None:
                # By identity: the document is kept with it, so that no other can have its place.
                self._found[id(document)] = (document, points)

    def finds(self, document: Document) -> bool:
        """Tell whether the search has found this very document.

        Raises:
            CommandFailure: 238 where nothing was searched, in a sub-pipeline for example.
        """
        if self._found is None:
            raise unsupported("$text elsewhere than in the first stage of a command's pipeline")
        return id(document) in self._found

    def score(self, document: Document) -> float | None:
        """Return the score of this very document; None if it was not found."""
        found = (self._found or {}).get(id(document))
        return None if found is None else found[1]


def search(query: TextQuery, document: Document, spec: Document) -> float | None:
    """Return the score of a document; None if the search does not find it."""
    language = language_of(spec["default_language"])
    wanted = query.terms(language)
    found = list(pieces(document, spec))
    points = score(found, wanted)
    if not points or not _passes(query, found, language):
        return None
    return points


def _passes(query: TextQuery, found: list[Piece], default_language: str) -> bool:
    """Tell whether letters, phrases and what must not be there are as wanted."""
    wanted, language = query.wanted, query.language or default_language
    exact = {
        "case_sensitive": query.case_sensitive,
        "diacritic_sensitive": query.diacritic_sensitive,
    }
    if wanted.unwanted or query.case_sensitive or query.diacritic_sensitive:
        there = {term for text, _, own in found for term in terms(text, own, **exact)}
        if there.intersection(terms(wanted.unwanted, language, **exact)):
            return False
        if any(exact.values()) and there.isdisjoint(terms(wanted.words, language, **exact)):
            return False
    if wanted.phrases or wanted.unwanted_phrases:
        texts = [_letters(text, query) for text, _, _ in found]
        for phrase in wanted.phrases:
            if not any(_letters(phrase, query) in text for text in texts):
                return False
        for phrase in wanted.unwanted_phrases:
            if any(_letters(phrase, query) in text for text in texts):
                return False
    return True


def _letters(text: str, query: TextQuery) -> str:
    plain = text if query.case_sensitive else text.lower()
    return plain if query.diacritic_sensitive else without_diacritics(plain)
