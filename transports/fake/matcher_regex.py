"""Regular expressions: from PCRE, which the server speaks, to Python's `re`.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/regex/
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bson import Regex

from transports.fake.errors import CommandFailure, unsupported
from transports.fake.values import regex_options

_FLAGS: Final = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": 0}

# Without UCP, which the server leaves off, PCRE's classes are ASCII; Python's are not.
_CLASSES: Final = {"w": "A-Za-z0-9_", "d": "0-9", "s": r" \t\n\r\f\x0b", "h": r" \t\xa0"}
_WORD: Final = "[A-Za-z0-9_]"
_BOUNDARY: Final = f"(?:(?<!{_WORD})(?={_WORD})|(?<={_WORD})(?!{_WORD}))"
_NO_BOUNDARY: Final = f"(?:(?<!{_WORD})(?!{_WORD})|(?<={_WORD})(?={_WORD}))"
_OUTSIDE: Final = {
    "b": _BOUNDARY,
    "B": _NO_BOUNDARY,
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "A": r"\A",
    "R": r"(?:\r\n|\n|\x0b|\f|\r|\x85|\u2028|\u2029)",
    "e": r"\x1b",
    "a": r"\a",
    "N": r"[^\n]",
}
_POSIX: Final = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r" \t\n\r\f\x0b",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "A-Fa-f0-9",
    "word": "A-Za-z0-9_",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "print": r" -~",
    "graph": r"!-~",
}
_INLINE: Final = re.compile(r"\(\?([imsx]+)\)")


class _Translator:
    """One pass over a pattern; `translate` is its only use."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        self.open_inline = 0

    def translate(self) -> str:
        while self.at < len(self.pattern):
            self._step()
        return "".join(self.out) + ")" * self.open_inline

    def _step(self) -> None:
        pattern, at = self.pattern, self.at
        char = pattern[at]
        if char == "\\":
            self._escape()
        elif char == "[":
            self._char_class()
        elif pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in ("=", "!"):
            self._emit("(?P<", 3)
        elif pattern.startswith("(?'", at):
            end = pattern.index("'", at + 3)
            self._emit(f"(?P<{pattern[at + 3 : end]}>", end + 1 - at)
        elif inline := _INLINE.match(pattern, at):
            # `re` takes global flags at the start only; a scoped group holds to the end.
            self.open_inline += 1
            self._emit(f"(?{inline[1]}:", inline.end() - at)
        else:
            self._emit(char, 1)

    def _emit(self, text: str, consumed: int) -> None:
        self.out.append(text)
        self.at += consumed

    def _escape(self) -> None:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter == "Q":
            end = self.pattern.find("\\E", self.at)
            end = len(self.pattern) if end < 0 else end
            self._emit(re.escape(self.pattern[self.at + 2 : end]), end + 2 - self.at)
        elif letter.lower() in _CLASSES:
            negated = "^" if letter.isupper() else ""
            self._emit(f"[{negated}{_CLASSES[letter.lower()]}]", 2)
        elif letter in _OUTSIDE:
            self._emit(_OUTSIDE[letter], 2)
        elif letter in ("p", "P", "X", "K", "G", "C", "k", "g"):
            raise unsupported(f"\\{letter} in a regular expression")
        elif letter.isalpha() and letter not in "fnrtvxuU":
            self._emit(letter, 2)
        else:
            self._emit(self.pattern[self.at : self.at + 2], 2)

    def _char_class(self) -> None:
        self._emit("[", 1)
        if self.pattern.startswith("^", self.at):
            self._emit("^", 1)
        if self.pattern.startswith("]", self.at):
            self._emit(r"\]", 1)
        while self.at < len(self.pattern) and self.pattern[self.at] != "]":
            self._class_member()
        self._emit("]", 1)

    def _class_member(self) -> None:
        pattern, at = self.pattern, self.at
        if pattern.startswith("[:", at) and (end := pattern.find(":]", at)) > 0:
            self._emit(_POSIX.get(pattern[at + 2 : end], ""), end + 2 - at)
        elif pattern[at] == "\\":
            letter = pattern[at + 1 : at + 2]
            if letter in _CLASSES:
                self._emit(_CLASSES[letter], 2)
            elif letter in ("S", "W", "D"):
                # Python's classes are Unicode: a negated one excludes more than PCRE's does.
                self._emit(f"\\{letter}", 2)
            else:
                self._emit(pattern[at : at + 2], 2)
        elif pattern[at] in "[&|~":
            self._emit("\\" + pattern[at], 1)
        else:
            self._emit(pattern[at], 1)


def check_options(options: str, *, code: int = 51108) -> None:
    """Raise for a letter that is no option of ``$regex``."""
    for letter in options:
        if letter not in _FLAGS:
            raise CommandFailure(code, f"invalid flag in regex options: {letter}")


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, options: str = "") -> re.Pattern[str]:
    """Compile a PCRE pattern.

    Args:
        pattern: its source.
        options: letters of ``imsxu``.

    Raises:
        CommandFailure: 51091 for what is no pattern, 51108 for an unknown option, 238 for PCRE
            that Python's `re` cannot express.
    """
    if "\0" in pattern:
        raise CommandFailure(2, "Regular expression cannot contain an embedded null byte")
    check_options(options)
    flags = 0
    for letter in options:
        flags |= _FLAGS[letter]
    try:
        return re.compile(_Translator(pattern).translate(), flags)
    except (re.error, ValueError, OverflowError) as error:
        raise CommandFailure(51091, f"Regular expression is invalid: {error}") from error


def compile_bson(value: Regex[str]) -> re.Pattern[str]:
    """Compile a BSON regular expression."""
    return compile_pattern(value.pattern, regex_options(value).replace("l", ""))
