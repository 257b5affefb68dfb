"""String expressions.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/#string-expression-operators
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from bson import Code, DatetimeMS, Regex
from bson.timestamp import Timestamp

from transports.fake.errors import CommandFailure
from transports.fake.expressions.arithmetic import type_name
from transports.fake.expressions.formatting import number_text, timestamp_text
from transports.fake.expressions.numbers import coerced_long, whole32
from transports.fake.expressions.scope import (
    Expression,
    Operator,
    Scope,
    fixed,
    folded,
    is_nullish,
    named,
    variadic,
)
from transports.fake.expressions.time_zones import iso_text
from transports.fake.matcher_regex import compile_pattern
from transports.fake.sizes import checked_string
from transports.fake.values import NUMBER_TYPES, Document, regex_options

_ABSENT: Final = object()


def coerced(value: Any) -> str:
    """Return what ``coerceToString`` gives; null and missing are the empty string.

    Raises:
        CommandFailure: 16007 for a type that has no text.
    """
    kind = type(value)
    if kind is str:
        return str(value)
    if is_nullish(value):
        return ""
    if kind in NUMBER_TYPES:
        return number_text(value)
    if kind is DatetimeMS:
        return iso_text(int(value))
    if kind is Code and value.scope is None:
        return str(value)
    if kind is Timestamp:
        return timestamp_text(value)
    raise CommandFailure(16007, f"can't convert from BSON type {type_name(value)} to String")


def concat(values: Iterable[Any]) -> Any:
    """``$concat``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/concat/."""
    texts = []
    for value in values:
        if type(value) is not str:
            if is_nullish(value):
                return None
            raise CommandFailure(16702, f"$concat only supports strings, not {type_name(value)}")
        texts.append(value)
    return checked_string("".join(texts))


def to_lower(value: Any) -> str:
    """``$toLower``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toLower/."""
    return _ascii(coerced(value), str.lower)


def to_upper(value: Any) -> str:
    """``$toUpper``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/toUpper/."""
    return _ascii(coerced(value), str.upper)


def _ascii(text: str, change: Callable[[str], str]) -> str:
    """Change ASCII letters only, as the server does."""
    if text.isascii():
        return change(text)
    return "".join(change(char) if char.isascii() else char for char in text)


def strcasecmp(left: Any, right: Any) -> int:
    """``$strcasecmp``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/strcasecmp/."""
    first, second = to_upper(left).encode(), to_upper(right).encode()
    return (first > second) - (first < second)


def length_bytes(value: Any) -> int:
    """``$strLenBytes``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/strLenBytes/."""
    if type(value) is not str:
        raise CommandFailure(
            34473, f"$strLenBytes requires a string argument, found: {type_name(value)}"
        )
    return len(value.encode())


def length_cp(value: Any) -> int:
    """``$strLenCP``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/strLenCP/."""
    if type(value) is not str:
        raise CommandFailure(
            34471, f"$strLenCP requires a string argument, found: {type_name(value)}"
        )
    return len(value)


def _continues(data: bytes, at: int) -> bool:
    return at < len(data) and data[at] & 0xC0 == 0x80


def substring_bytes(text: Any, start: Any, length: Any) -> str:
    """``$substrBytes``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/substrBytes/."""
    data = coerced(text).encode()
    for value, code, what in ((start, 16034, "starting index"), (length, 16035, "length")):
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                code,
                f"$substrBytes: {what} must be a numeric type (is BSON type {type_name(value)})",
            )
    first, count = coerced_long(start), coerced_long(length)
    if first < 0:
        raise CommandFailure(
            50752, f"$substrBytes:  starting index must be non-negative (got: {first})"
        )
    if _continues(data, first):
        raise CommandFailure(
            28656, "$substrBytes:  Invalid range, starting index is a UTF-8 continuation byte."
        )
    end = len(data) if count < 0 else first + count
    if first < len(data) and _continues(data, end):
        raise CommandFailure(
            28657,
            "$substrBytes:  Invalid range, ending index is in the middle of a UTF-8 character.",
        )
    return data[first:end].decode()


def substring_cp(text: Any, start: Any, length: Any) -> str:
    """``$substrCP``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/substrCP/."""
    string = coerced(text)
    for value, code, what in ((start, 34450, "starting index"), (length, 34452, "length")):
        if type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                code, f"$substrCP: {what} must be a numeric type (is BSON type {type_name(value)})"
            )
        if whole32(value) is None:
            raise CommandFailure(
                code + 1, f"$substrCP: {what} cannot be represented as a 32-bit integral value"
            )
    first, count = int(whole32(start) or 0), int(whole32(length) or 0)
    if count < 0:
        raise CommandFailure(34454, "$substrCP: length must be a nonnegative integer.")
    if first < 0:
        raise CommandFailure(34455, "$substrCP: the starting index must be nonnegative integer.")
    return string[first : first + count]


def _index(
    name: str, codes: tuple[int, int, int], find: Callable[[str, str, list[int]], int]
) -> Callable[..., Any]:
    not_text, not_pattern, negative = codes

    def index_of(text: Any, pattern: Any, start: Any = 0, end: Any = _ABSENT) -> Any:
        if is_nullish(text):
            return None
        if type(text) is not str:
            raise CommandFailure(
                not_text,
                f"{name} requires a string as the first argument, found: {type_name(text)}",
            )
        if type(pattern) is not str:
            raise CommandFailure(
                not_pattern,
                f"{name} requires a string as the second argument, found: {type_name(pattern)}",
            )
        bounds = []
        for value, what in ((start, "starting"), (end, "ending")):
            if value is _ABSENT:
                continue
            number = whole32(value)
            if number is None:
                raise CommandFailure(
                    40096,
                    f"{name} requires an integral {what} index, found a value of type: "
                    f"{type_name(value)}",
                )
            if number < 0:
                raise CommandFailure(
                    negative, f"{name} requires a nonnegative {what} index, found: {number}"
                )
            bounds.append(number)
        return find(text, pattern, bounds)

    index_of.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return index_of


def _find_bytes(text: str, pattern: str, bounds: list[int]) -> int:
    data, sought = text.encode(), pattern.encode()
    start = bounds[0]
    end = min(bounds[1], len(data)) if len(bounds) > 1 else len(data)
    if start > len(data) or end < start:
        return -1
    return data.find(sought, start, end)


def _find_code_points(text: str, pattern: str, bounds: list[int]) -> int:
    """Find where a match starts, which may go on behind the bound."""
    if not text and not pattern:
        return 0
    end = min(bounds[1], len(text)) if len(bounds) > 1 else len(text)
    found = text.find(pattern, bounds[0])
    return found if 0 <= found < end else -1


def split(text: Any, separator: Any) -> Any:
    """``$split``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/split/."""
    if is_nullish(text) or is_nullish(separator):
        return None
    if type(text) is not str:
        raise CommandFailure(
            40085,
            "$split requires an expression that evaluates to a string as a first argument, found: "
            f"{type_name(text)}",
        )
    if type(separator) is not str:
        raise CommandFailure(
            40086,
            "$split requires an expression that evaluates to a string as a second argument, found: "
            f"{type_name(separator)}",
        )
    if not separator:
        raise CommandFailure(40087, "$split requires a non-empty separator")
    return text.split(separator)


_WHITESPACE: Final = (
    "\0 \t\n\x0b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)


def _trim(name: str, strip: Callable[[str, str], str]) -> Operator:
    def trim(*, input: Any, chars: Any = _WHITESPACE) -> Any:  # the operator's own name
        if is_nullish(input):
            return None
        if type(input) is not str:
            raise CommandFailure(
                50699, f"{name} requires its input to be a string, got {input!r} instead."
            )
        if is_nullish(chars):
            return None
        if type(chars) is not str:
            raise CommandFailure(
                50700, f"{name} requires 'chars' to be a string, got {chars!r} instead."
            )
        return strip(input, chars)

    trim.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return named(name, trim, {"input": 50695}, ("chars",), not_an_object=50696, unknown=50694)


def _strip_some(text: str, chars: str, left: bool, right: bool) -> str:
    if not chars:
        return text
    if left:
        text = text.lstrip(chars)
    return text.rstrip(chars) if right else text


def _pattern_of(name: str, regex: Any, options: Any) -> re.Pattern[str] | None:
    given = ""
    if not is_nullish(options):
        if type(options) is not str:
            raise CommandFailure(51106, f"{name} needs 'options' to be of type string")
        if "\0" in options:
            raise CommandFailure(
                51110, f"{name}: regular expression options cannot contain an embedded null byte"
            )
        given = options
    if is_nullish(regex):
        return None
    if type(regex) is str:
        if "\0" in regex:
            raise CommandFailure(
                51109, f"{name}: regular expression cannot contain an embedded null byte"
            )
        return _compiled(regex, given)
    if type(regex) is Regex:
        own = regex_options(regex)
        if own and given:
            raise CommandFailure(
                51107,
                f"{name}: found regex option(s) specified in both 'regex' and 'option' fields",
            )
        return _compiled(regex.pattern, given or own)
    raise CommandFailure(51105, f"{name} needs 'regex' to be of type string or regex")


def _compiled(pattern: str, options: str) -> re.Pattern[str]:
    try:
        return compile_pattern(pattern, options)
    except CommandFailure as failure:
        if failure.code != 51091:
            raise
        raise CommandFailure(51111, failure.message) from failure


def _regex(name: str, absent: Any, decide: Callable[[re.Pattern[str], str], Any]) -> Operator:
    def find(*, input: Any, regex: Any, options: Any = None) -> Any:  # the operator's own name
        if not is_nullish(input) and type(input) is not str:
            raise CommandFailure(51104, f"{name} needs 'input' to be of type string")
        pattern = _pattern_of(name, regex, options)
        if is_nullish(input) or pattern is None:
            return [] if absent is list else absent
        return decide(pattern, input)

    find.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    compiled = named(
        name,
        find,
        {"input": 31022, "regex": 31023},
        ("options",),
        not_an_object=51103,
        unknown=31024,
    )

    def operator(operand: Any, scope: Scope) -> Expression:
        if type(operand) is dict and "regex" in operand:  # a constant one is looked at first
            parts = [scope.compile(operand["regex"]), scope.compile(operand.get("options"))]
            folded(
                lambda document, variables: _pattern_of(
                    name, *[part(document, variables) for part in parts]
                ),
                parts,
            )
        return compiled(operand, scope)

    operator.__doc__ = find.__doc__
    return operator


def _found(match: re.Match[str]) -> Document:
    return {"match": match[0], "idx": match.start(), "captures": list(match.groups())}


def _find_one(pattern: re.Pattern[str], text: str) -> Any:
    match = pattern.search(text)
    return None if match is None else _found(match)


def _find_all(pattern: re.Pattern[str], text: str) -> list[Document]:
    # The server stops at the end of the text, unless there is nothing else.
    return [
        _found(match)
        for match in pattern.finditer(text)
        if match.start() < len(text) or not text or match[0]
    ]


def _replace(name: str, count: int) -> Operator:
    def replace(*, input: Any, find: Any, replacement: Any) -> Any:  # the operator's own name
        for value, what, code in (
            (input, "input", 51746),
            (find, "find", 51745),
            (replacement, "replacement", 51744),
        ):
            if not is_nullish(value) and type(value) is not str:
                raise CommandFailure(
                    code, f"{name} requires that '{what}' be a string, found: {value!r}"
                )
        if is_nullish(input) or is_nullish(find) or is_nullish(replacement):
            return None
        return checked_string(input.replace(find, replacement, count))

    replace.__doc__ = f"``{name}``: https://www.mongodb.com/docs/manual/reference/operator/aggregation/{name[1:]}/."
    return named(
        name,
        replace,
        {"input": 51749, "find": 51748, "replacement": 51747},
        not_an_object=51751,
        unknown=51750,
    )


STRINGS: Final[dict[str, Operator]] = {
    "$concat": variadic(concat),
    "$indexOfBytes": fixed(
        "$indexOfBytes", _index("$indexOfBytes", (40091, 40092, 40097), _find_bytes), 2, 4
    ),
    "$indexOfCP": fixed(
        "$indexOfCP", _index("$indexOfCP", (40093, 40094, 40097), _find_code_points), 2, 4
    ),
    "$ltrim": _trim("$ltrim", lambda text, chars: _strip_some(text, chars, True, False)),
    "$rtrim": _trim("$rtrim", lambda text, chars: _strip_some(text, chars, False, True)),
    "$trim": _trim("$trim", lambda text, chars: _strip_some(text, chars, True, True)),
    "$regexFind": _regex("$regexFind", None, _find_one),
    "$regexFindAll": _regex("$regexFindAll", list, _find_all),
    "$regexMatch": _regex(
        "$regexMatch", False, lambda pattern, text: pattern.search(text) is not None
    ),
    "$replaceOne": _replace("$replaceOne", 1),
    "$replaceAll": _replace("$replaceAll", -1),
    "$split": fixed("$split", split, 2),
    "$strcasecmp": fixed("$strcasecmp", strcasecmp, 2),
    "$strLenBytes": fixed("$strLenBytes", length_bytes, 1),
    "$strLenCP": fixed("$strLenCP", length_cp, 1),
    "$substr": fixed("$substr", substring_bytes, 3),
    "$substrBytes": fixed("$substrBytes", substring_bytes, 3),
    "$substrCP": fixed("$substrCP", substring_cp, 3),
    "$toLower": fixed("$toLower", to_lower, 1),
    "$toUpper": fixed("$toUpper", to_upper, 1),
}
