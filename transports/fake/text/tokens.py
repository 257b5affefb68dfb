"""From text to terms: words without stop words, stemmed, without case and diacritics.

Spec: https://www.mongodb.com/docs/manual/core/indexes/index-types/index-text/text-index-properties/
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, CommandFailure, unsupported

_NONE: Final = "none"
_ENGLISH: Final = "english"
LANGUAGES: Final = {_NONE: _NONE, _ENGLISH: _ENGLISH, "en": _ENGLISH}
# What a server knows besides; its stop words and stems are not here.
_OTHER_LANGUAGES: Final = """
    danish da dutch nl finnish fi french fr german de hungarian hu italian it norwegian nb
    portuguese pt romanian ro russian ru spanish es swedish sv turkish tr
"""
OTHER_LANGUAGES: Final = frozenset(_OTHER_LANGUAGES.split())
# What mongod 6.0 does not index in English.
_NOT_INDEXED: Final = """
    a about above after again against all am an and any are aren't as at be because been before
    being below between both but by can't cannot could couldn't did didn't do does doesn't doing
    don't down during each few for from further had hadn't has hasn't have haven't having he
    he'd he'll he's her here here's hers herself him himself his how how's i i'd i'll i'm i've
    if in into is isn't it it's its itself let's me more most mustn't my myself no nor not of
    off on once only or other ought our ours ourselves out over own same shan't she she'd she'll
    she's should shouldn't so some such than that that's the their theirs them themselves then
    there there's these they they'd they'll they're they've this those through to too under
    until up very was wasn't we we'd we'll we're we've were weren't what what's when when's
    where where's which while who who's whom why why's with won't would wouldn't you you'd
    you'll you're you've your yours yourself yourselves
"""
_STOP_WORDS: Final = frozenset(_NOT_INDEXED.split())


def is_known(language: str) -> bool:
    """Tell whether a server knows the language."""
    return language.lower() in LANGUAGES or language.lower() in OTHER_LANGUAGES


def canonical(language: str) -> str:
    """Return the name that `terms` takes of a language that a server knows."""
    return LANGUAGES.get(language.lower(), language.lower())


def language_of(name: str) -> str:
    """Return the language of a name or code.

    Raises:
        CommandFailure: 2 if a server does not know it, 238 if only the fake does not.
    """
    found = LANGUAGES.get(name.lower())
    if found is not None:
        return found
    if name.lower() in OTHER_LANGUAGES:
        raise unsupported(f"text search in the language {name!r}")
    raise CommandFailure(BAD_VALUE, f'unsupported language: "{name}" for text index version 3')


@cache
def _stemmer(language: str) -> Any:
    if language == _NONE:
        return None
    try:
        import snowballstemmer
    except ImportError as error:
        raise unsupported(
            "text search without the package snowballstemmer (pip install odm-transports[fake]),"
            " which finds the stems of words,"
        ) from error
    return snowballstemmer.stemmer(language)


def _is_delimiter(character: str, language: str) -> bool:
    if character == "'":
        return language != _ENGLISH
    if character == "_" or character.isalnum():
        return False
    return unicodedata.category(character)[0] in "ZPSC"


def _words(text: str, language: str) -> Iterator[str]:
    start = -1
    for place, character in enumerate(text):
        if _is_delimiter(character, language):
            if start >= 0:
                yield text[start:place]
            start = -1
        elif start < 0:
            start = place
    if start >= 0:
        yield text[start:]


def without_diacritics(text: str) -> str:
    """Return the text with accents and the like taken off."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


@lru_cache(maxsize=10_000)
def _stem(word: str, language: str) -> str:
    stemmer = _stemmer(language)
    if stemmer is None:
        return word
    stem: str = stemmer.stemWord(word)
    return stem


def terms(
    text: str, language: str, *, case_sensitive: bool = False, diacritic_sensitive: bool = False
) -> Iterator[str]:
    """Yield the terms of a text, in order, repeated as often as they stand there.

    Raises:
        CommandFailure: 238 for a language whose words the fake does not know.
    """
    language = language_of(language)
    for word in _words(text, language):
        lower = word.lower()
        if language == _ENGLISH and lower in _STOP_WORDS:
            continue
        term = _stem(word if case_sensitive else lower, language)
        yield term if diacritic_sensitive else without_diacritics(term)
