"""Collation: how strings compare when a command asks for the rules of a language.

The server asks ICU; this follows the Unicode Collation Algorithm over the order of characters in
`collation_order` and the letters of languages in `collation_tailoring`.

Spec: https://www.mongodb.com/docs/manual/reference/collation/
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from transports.fake.collation_order import (
    COMMON,
    DIGIT,
    LIGATURE,
    LIKE,
    PUNCTUATION,
    SPACE,
    Primary,
    expansion,
    is_mark,
    like,
    mark_weight,
    primary,
)
from transports.fake.collation_tailoring import DEFAULTS, tailoring_of

VERSION: Final = "57.1"
"""The version of the rules, as the server names it."""
_LOWER_CASE, _MIXED_CASE, _UPPER_CASE = range(3)
# Weights of the third level: a letter, one for compatibility, their capitals; then the language's.
_COMPATIBLE: Final = 1
_CAPITAL: Final = 2
_NEXT: Final = 64


_tailoring = lru_cache(maxsize=None)(tailoring_of)


@dataclass(frozen=True, slots=True)
class Element:
    """What one letter or mark weighs; a mark has no primary weight."""

    primary: Primary | None
    secondary: int
    tertiary: int = 0
    case: int = _LOWER_CASE


class Collation:
    """The rules of one collation document.

    Attributes:
        spec: the document, completed with the defaults.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        spec = {**DEFAULTS.get(spec["locale"], {}), **spec}
        self.spec: dict[str, Any] = {
            "locale": spec["locale"],
            "caseLevel": spec.get("caseLevel", False),
            "caseFirst": spec.get("caseFirst", "off"),
            "strength": spec.get("strength", 3),
            "numericOrdering": spec.get("numericOrdering", False),
            "alternate": spec.get("alternate", "non-ignorable"),
            "maxVariable": spec.get("maxVariable", "punct"),
            "normalization": spec.get("normalization", False),
            "backwards": spec.get("backwards", False),
            "version": VERSION,
        }
        self._tailoring = _tailoring(str(spec["locale"]))
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
        decomposed = unicodedata.normalize("NFD", text)
        variable = -1
        if spec["alternate"] == "shifted":
            variable = PUNCTUATION if spec["maxVariable"] == "punct" else SPACE
        kept, fourth = _shift(self._elements(decomposed), variable)
        strength = spec["strength"]
        upper_first = spec["caseFirst"] == "upper"
        letters = [element for element in kept if element.primary is not None]
        levels: list[Hashable] = [tuple(element.primary for element in letters)]
        if strength >= 2:
            seconds = [element.secondary for element in kept]
            levels.append(tuple(reversed(seconds) if spec["backwards"] else seconds))
        if spec["caseLevel"]:
            levels.append(tuple(_case(element, upper_first) for element in letters))
        if strength >= 3:
            first = spec["caseFirst"] != "off"
            levels.append(tuple((_case(e, upper_first) if first else 0, e.tertiary) for e in kept))
        if strength >= 4 and variable >= 0:
            levels.append(fourth)
        if strength >= 5:
            levels.append(decomposed)
        return tuple(levels)

    def _elements(self, text: str) -> Iterator[Element]:
        """Yield the elements of a decomposed text."""
        place = 0
        numeric = self.spec["numericOrdering"]
        while place < len(text):
            if numeric and text[place].isdecimal():
                end = place
                while end < len(text) and text[end].isdecimal():
                    end += 1
                yield Element((DIGIT + 0.5, float(int(text[place:end]))), COMMON)
                place = end
                continue
            length = self._tailored_length(text, place)
            if length:
                yield from self._tailored(text[place : place + length])
                place += length
                continue
            yield from map(self._placed, _root_elements(text[place]))
            place += 1

    def _placed(self, element: Element) -> Element:
        """Return an element with the language's own script before all others."""
        own = self._tailoring.script
        if own is None or element.primary is None or element.primary[0] != own:
            return element
        return replace(element, primary=(DIGIT + 0.75, *element.primary[1:]))

    def _tailored_length(self, text: str, place: int) -> int:
        first = self._lower(text[place])
        for length in self._tailoring.starts.get(first, ()):
            part = "".join(self._lower(char) for char in text[place : place + length])
            if part in self._tailoring.letters:
                return length
        return 0

    def _tailored(self, part: str) -> tuple[Element, ...]:
        weight = self._tailoring.letters["".join(self._lower(char) for char in part)]
        capitals = [char != self._lower(char) for char in part if not is_mark(char)]
        bits = sum(capital << place for place, capital in enumerate(reversed(capitals)))
        case = _MIXED_CASE if any(capitals) else _LOWER_CASE
        element = Element(
            weight.primary,
            weight.secondary,
            weight.tertiary * _NEXT + bits * _CAPITAL,
            _UPPER_CASE if all(capitals) else case,
        )
        return (self._placed(element),) * weight.times

    def _lower(self, char: str) -> str:
        if char == "I" and self._tailoring.dotless:
            return "ı"
        lowered = char.lower()
        return lowered if len(lowered) == 1 else char


def _case(element: Element, upper_first: bool) -> int:
    if element.primary is None:
        return 0
    return -element.case if upper_first else element.case


@lru_cache(maxsize=8192)
def _root_elements(char: str) -> tuple[Element, ...]:
    """Return the elements of a character of a decomposed text."""
    if is_mark(char):
        return (Element(None, mark_weight(char)),)
    lowered = char.lower() if len(char.lower()) == 1 else char
    capital = lowered != char
    tertiary = _CAPITAL if capital else 0
    case = _UPPER_CASE if capital else _LOWER_CASE
    parts = expansion(lowered)
    if parts == lowered:
        compatible = unicodedata.normalize("NFKD", lowered)
        if compatible != lowered and unicodedata.category(char)[0] in "LN":
            found = [each for part in compatible for each in _root_elements(part)]
            return tuple(
                replace(each, tertiary=each.tertiary | tertiary | _COMPATIBLE, case=case)
                for each in found
            )
        weight = primary(lowered)
        if like(lowered) != lowered:
            tertiary = _CAPITAL | _COMPATIBLE
        return () if weight is None else (Element(weight, COMMON, tertiary, case),)
    elements: list[Element] = []
    for part in parts:
        if part == LIGATURE:
            elements[-1] = replace(elements[-1], secondary=LIKE)
        else:
            elements += _root_elements(part)
    return tuple(
        replace(each, tertiary=tertiary, case=case) if each.primary is not None else each
        for each in elements
    )


_NOT_VARIABLE: Final = (1e9,)


def _shift(elements: Iterator[Element], variable: int) -> tuple[list[Element], tuple[Primary, ...]]:
    """Return the elements that are not ignored, and the weights of the fourth level.

    Args:
        elements: of a text.
        variable: the last group of characters that is ignored; -1 for none.
    """
    kept: list[Element] = []
    fourth: list[Primary] = []
    ignoring = False
    for element in elements:
        if element.primary is None:
            if not ignoring:
                kept.append(element)
            continue
        ignoring = element.primary[0] <= variable
        if ignoring:
            fourth.append(element.primary)
        else:
            kept.append(element)
            fourth.append(_NOT_VARIABLE)
    return kept, tuple(fourth)
