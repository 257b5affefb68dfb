"""Collation: how strings compare when a command asks for the rules of a language.

The server asks ICU; this follows the Unicode Collation Algorithm in what Python knows without it:
letters by their base, then accents, then case; punctuation before digits before letters. The
special rules of languages are not known: a locale whose alphabet has any is refused.

Spec: https://www.mongodb.com/docs/manual/reference/collation/
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, TYPE_MISMATCH, CommandFailure, unsupported

PLAIN_LOCALES: Final = frozenset(
    {
        *("root", "en", "en_US", "en_GB", "en_AU", "en_CA", "en_US_POSIX"),
        *("de", "de_DE", "de_AT", "fr", "fr_FR", "it", "it_IT", "nl"),
        *("pt", "pt_BR", "pt_PT", "id", "ga", "ms", "sw", "zu"),
    }
)
_OPTIONS: Final = {
    "locale": str,
    "caseLevel": bool,
    "caseFirst": str,
    "strength": None,
    "numericOrdering": bool,
    "alternate": str,
    "maxVariable": str,
    "backwards": bool,
    "normalization": bool,
    "version": str,
}
_CHOICES: Final = {
    "caseFirst": ("off", "upper", "lower"),
    "alternate": ("non-ignorable", "shifted"),
    "maxVariable": ("punct", "space"),
}
_DIGITS: Final = re.compile(r"(\d+)")
# The order of groups of characters in the root collation.
_GROUPS: Final = {"Z": 0, "C": 0, "P": 1, "S": 2, "N": 3, "L": 4, "M": 5}
# The order of ASCII punctuation and symbols in the root collation, which is not their code's.
_ASCII: Final = {char: place for place, char in enumerate("_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$")}
# Letters that are two in the root collation, or stand at another one.
_EXPANSIONS: Final = {
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "đ": "d",
    "ł": "l",
    "þ": "th",
    "ı": "i",
}


# The order of the common accents in the root collation, which is not their code's.
_ACCENTS: Final = {
    accent: place
    for place, accent in enumerate(
        "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0328\u0327\u0304"
    )
}


def _accent_key(accents: str) -> tuple[tuple[int, str], ...]:
    return tuple((_ACCENTS.get(accent, len(_ACCENTS)), accent) for accent in accents)


class Collation:
    """The rules of one collation document.

    Attributes:
        spec: the document, completed with the defaults.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec: dict[str, Any] = {
            "locale": spec["locale"],
            "caseLevel": spec.get("caseLevel", False),
            "caseFirst": spec.get("caseFirst", "off"),
            "strength": int(spec.get("strength", 3)),
            "numericOrdering": spec.get("numericOrdering", False),
            "alternate": spec.get("alternate", "non-ignorable"),
            "maxVariable": spec.get("maxVariable", "punct"),
            "normalization": spec.get("normalization", False),
            "backwards": spec.get("backwards", False),
            "version": "57.1",
        }
        self._key = lru_cache(maxsize=4096)(self._compute)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collation) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(tuple(self.spec.items()))

    def key(self, text: str) -> Hashable:
        """Return the key that orders the text; equal keys are equal strings."""
        return self._key(text)

    def _compute(self, text: str) -> Hashable:
        spec = self.spec
        strength = spec["strength"]
        letters: list[Hashable] = []
        accents: list[str] = []
        cases: list[int] = []
        decomposed = unicodedata.normalize("NFD", text)
        pieces = _DIGITS.split(decomposed) if spec["numericOrdering"] else [decomposed]
        for piece in pieces:
            if spec["numericOrdering"] and piece.isdigit():
                letters.append((3, int(piece)))
                accents.append("")
                cases.append(0)
            else:
                self._add(piece, letters, accents, cases)
        if spec["backwards"]:
            accents.reverse()
        if spec["caseFirst"] == "upper":
            cases = [-case for case in cases]
        levels: list[Hashable] = [tuple(letters)]
        if strength >= 2:
            levels.append(tuple(_accent_key(accent) for accent in accents))
        if strength >= 3 or spec["caseLevel"]:
            levels.append(tuple(cases))
        if strength >= 4 and spec["alternate"] == "shifted":
            levels.append(text)
        if strength >= 5:
            levels.append(decomposed)
        return tuple(levels)

    def _add(
        self, piece: str, letters: list[Hashable], accents: list[str], cases: list[int]
    ) -> None:
        for char in piece:
            if unicodedata.combining(char):
                if accents:
                    accents[-1] += char
                continue
            group = unicodedata.category(char)[0]
            if self._ignores(char, group):
                continue
            folded = char.casefold() if char not in _EXPANSIONS else char
            for base in _EXPANSIONS.get(folded, folded):
                letters.append((_GROUPS[group], _ASCII.get(base, 100 + ord(base))))
                accents.append(folded if folded in _EXPANSIONS else "")
                cases.append(int(char != char.lower()))

    def _ignores(self, char: str, group: str) -> bool:
        if group == "C" and char not in "\t\n\x0b\f\r":
            return True
        if self.spec["alternate"] != "shifted":
            return False
        return group == "Z" or (group == "P" and self.spec["maxVariable"] == "punct")


def _check(spec: Mapping[str, Any]) -> None:
    for name, value in spec.items():
        if name not in _OPTIONS:
            raise CommandFailure(40415, f"BSON field 'collation.{name}' is an unknown field.")
        kind = _OPTIONS[name]
        if kind is not None and type(value) is not kind:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"BSON field 'collation.{name}' is the wrong type '{type(value).__name__}'",
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise CommandFailure(
                BAD_VALUE,
                f"Enumeration value '{value}' for field 'collation.{name}' is not a valid value.",
            )
    if "locale" not in spec:
        raise CommandFailure(40414, "BSON field 'collation.locale' is missing but a required field")
    strength = spec.get("strength", 3)
    if strength == 0:
        raise CommandFailure(BAD_VALUE, "Enumeration value '0' for field 'collation.strength'")
    if type(strength) is bool or float(str(strength)) not in (1, 2, 3, 4, 5):
        raise CommandFailure(
            51024, f"BSON field 'strength' value must be >= 1 and <= 5, actual value '{strength}'"
        )


def compile_collation(spec: Mapping[str, Any] | None) -> Collation | None:
    """Return the collation, or None for binary comparison (``locale: "simple"``, no document).

    Raises:
        CommandFailure: 40414, 40415, 14 or 2 for a bad document, 238 for a locale whose order
            the fake does not know.
    """
    if not spec:
        return None
    _check(spec)
    if spec["locale"] == "simple":
        return None
    if spec["locale"] not in PLAIN_LOCALES:
        raise unsupported(f"the collation of the locale {spec['locale']!r}")
    return Collation(spec)
