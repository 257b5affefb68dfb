"""What languages change in the common order of letters.

A rule is a letter to start from and what follows it: ``"n < ñ"``. ``<`` makes another letter,
``<<`` one that differs like an accent, ``<<<`` one that differs like case. ``|`` is the end of the
Latin alphabet, ``^x`` the place before x. Letters may be several characters; case needs no rules.
Every language here has been compared with mongod 6.0.5 on words of its letters.

Spec: https://cldr.unicode.org/translation/core-data/collation (the rules are the languages' own)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from transports.fake.collation_order import (
    COMMON,
    CYRILLIC,
    GREEK,
    LATIN,
    Primary,
    expansion,
    primary,
)

_NORDIC: Final = ("d << đ << ð", "y << ü << ű")
_SPANISH: Final = ("n < ñ",)
_CROATIAN: Final = ("c < č < ć", "d < dž < đ", "l < lj", "n < nj", "s < š", "z < ž")

RULES: Final[dict[str, tuple[str, ...]]] = {
    "bs": _CROATIAN,
    "cs": ("c < č", "h < ch", "r < ř", "s < š", "z < ž"),
    "cy": (*("c < ch", "d < dd", "f < ff", "g < ng", "l < ll", "p < ph", "r < rh", "t < th"),),
    "da": (*_NORDIC, "| < æ << ä < ø << ö << ő < å <<< aa"),
    "eo": ("c < ĉ", "g < ĝ", "h < ĥ", "j < ĵ", "s < ŝ", "u < ŭ"),
    "es": _SPANISH,
    "et": ("s < š < z < ž", "^x < õ < ä < ö < ü"),
    "fi": ("d << đ", "n << ŋ", "t << ŧ", "y << ü", "z << ʒ", "| < å < ä << æ < ö << ø"),
    "fil": ("n < ñ < ng",),
    "fo": (*_NORDIC, "| < æ << ä < ø << ö << ő < å << aa"),
    "gl": _SPANISH,
    "hr": _CROATIAN,
    "hu": (
        *("c < cs", "d < dz < dzs", "g < gy", "l < ly", "n < ny", "s < sz", "t < ty", "z < zs"),
        *("o < ö << ő", "u < ü << ű"),
    ),
    "is": (
        *("^b < á", "d << đ < ð", "^f < é", "^j < í", "^p < ó", "^v < ú", "^z < ý"),
        "| < æ << ä < ö << ø < å",
    ),
    "lt": (*("a << ą", "c < č", "e << ę << ė", "i << į << y", "s < š", "u << ų << ū", "z < ž"),),
    "lv": (
        *("^d < č", "^h < ģ", "i << y", "^l < ķ", "^m < ļ", "^o < ņ", "^s < ŗ", "^t < š"),
        "^ʒ < ž",
    ),
    "nb": (*_NORDIC, "| < æ << ä << ę < ø << ö << ő << œ < å << aa"),
    "nn": (*_NORDIC, "| < æ << ä << ę < ø << ö << ő << œ < å << aa"),
    "pl": ("a < ą", "c < ć", "e < ę", "l < ł", "n < ń", "o < ó", "s < ś", "z < ź < ż"),
    "ro": ("a < ă < â", "i < î", "s < ș", "t < ț"),
    "sk": ("a < ä", "c < č", "h < ch", "o < ô", "s < š", "z < ž"),
    "sl": ("c < č < ć", "d < đ", "s < š", "z < ž"),
    "sv": (
        *("d << đ << ð", "y << ü << ű"),
        "| < å < ä << æ << ę < ö << ø << ő << œ << ô",
    ),
    "uk": ("г < ґ", "і < ї"),
    "mk": ("д < ѓ", "т < ќ"),
    "be": ("е < ё", "у < ў"),
    "tr": ("c < ç", "g < ğ", "^i < ı", "o < ö", "s < ş", "u < ü"),
}
SCRIPTS: Final = {
    "be": CYRILLIC,
    "bg": CYRILLIC,
    "bs_Cyrl": CYRILLIC,
    "el": GREEK,
    "mk": CYRILLIC,
    "ru": CYRILLIC,
    "sr": CYRILLIC,
    "uk": CYRILLIC,
}
"""Languages whose script comes before all others."""
DEFAULTS: Final[dict[str, dict[str, str | bool]]] = {
    "da": {"caseFirst": "upper"},
    "fr_CA": {"backwards": True},
}
"""Options that a language sets itself."""
_SHORT_I: Final = ("^ј", "<", "й")
"""The one letter with a mark that is a letter of its own everywhere."""
_SAME_AS: Final = {"ş": "ș", "ţ": "ț"}


@dataclass(slots=True)
class Weight:
    """What one letter of a language weighs, and how often: a doubled one twice."""

    primary: Primary
    secondary: int = COMMON
    tertiary: int = 0
    times: int = 1


@dataclass(slots=True)
class Tailoring:
    """A language's letters.

    Attributes:
        letters: letter, decomposed and in lower case → its weight.
        starts: first character → the lengths of letters that start with it, longest first.
        dotless: whether I is the capital of ı and İ that of i.
        script: the group of characters that comes before the other scripts.
    """

    letters: dict[str, Weight] = field(default_factory=dict)
    starts: dict[str, list[int]] = field(default_factory=dict)
    dotless: bool = False
    script: int | None = None

    def add(self, letter: str, weight: Weight) -> None:
        """Add a letter."""
        key = unicodedata.normalize("NFD", letter)
        self.letters[key] = weight
        lengths = self.starts.setdefault(key[0], [])
        if len(key) not in lengths:
            lengths.append(len(key))
            lengths.sort(reverse=True)


def tailoring_of(locale: str) -> Tailoring:
    """Return a language's letters; none for one without rules."""
    tailoring = Tailoring(dotless=locale == "tr", script=SCRIPTS.get(locale))
    _apply(_SHORT_I, tailoring)
    for rule in RULES.get(locale, ()):
        _apply(rule.split(), tailoring)
    if tailoring.dotless:
        dotted = primary("i")
        assert dotted is not None
        tailoring.add("ı\u0307", Weight(dotted))  # İ, whose I is the capital of ı
    if locale == "hu":
        for letter, weight in list(tailoring.letters.items()):
            if letter.isascii():
                tailoring.add(letter[0] + letter, replace(weight, tertiary=1, times=2))
    if locale == "ro":
        for old, new in _SAME_AS.items():
            tailoring.add(old, tailoring.letters[unicodedata.normalize("NFD", new)])
    return tailoring


def _apply(rule: Sequence[str], tailoring: Tailoring) -> None:
    base, secondary, tertiary = _start(rule[0], tailoring), COMMON, 0
    step = 0.0001
    for relation, letter in zip(rule[1::2], rule[2::2], strict=True):
        if relation == "<":
            base, secondary, tertiary = (*base[:1], base[1] + step, *base[2:]), COMMON, 0
        elif relation == "<<":
            secondary, tertiary = secondary + 1, 0
        else:
            tertiary += 1
        tailoring.add(letter, Weight(base, secondary, tertiary))


def _start(reset: str, tailoring: Tailoring) -> Primary:
    if reset == "|":
        end = primary("ǀ")
        assert end is not None
        return (float(LATIN), end[1] - 0.5)
    before = reset.startswith("^")
    letter = expansion(reset.lstrip("^"))
    found = primary(letter[0])
    assert found is not None
    return (found[0], found[1] - 0.5) if before else found
