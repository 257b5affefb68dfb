"""``$jsonSchema``: a test of documents from a JSON Schema, draft 4 with BSON types.

`KEYWORDS` is the table: from keyword to a test of a value. A keyword about one type holds for
values of every other type.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, FAILED_TO_PARSE, TYPE_MISMATCH, CommandFailure
from transports.fake.matcher_operators import TYPE_ALIASES
from transports.fake.matcher_regex import compile_pattern
from transports.fake.paths import Test
from transports.fake.values import MISSING, NUMBER_TYPES, as_decimal, bson_type, hash_key, is_nan

Keyword = Callable[[Any, Mapping[str, Any]], Test]

_JSON_TYPES: Final = {
    "object": {"object"},
    "array": {"array"},
    "number": {"int", "long", "double", "decimal"},
    "boolean": {"bool"},
    "string": {"string"},
    "null": {"null"},
}


def compile_schema(schema: Any) -> Test:
    """Compile a schema into a test of a value.

    Raises:
        CommandFailure: 9 FailedToParse or 14 TypeMismatch for what is no schema.
    """
    if type(schema) is not dict:
        raise CommandFailure(TYPE_MISMATCH, "$jsonSchema must be an object")
    if "type" in schema and "bsonType" in schema:
        raise CommandFailure(
            FAILED_TO_PARSE, "Cannot specify both $jsonSchema keywords 'type' and 'bsonType'"
        )
    tests = []
    for name, value in schema.items():
        if name in _ANNOTATIONS:
            if type(value) is not str:
                raise _mismatch(name, "a string")
            continue
        if name in _EXCLUSIVE:
            if _EXCLUSIVE[name] not in schema:
                raise CommandFailure(
                    FAILED_TO_PARSE, f"'{_EXCLUSIVE[name]}' must be present if {name} is present"
                )
            continue
        keyword = KEYWORDS.get(name)
        if keyword is None:
            what = "not currently supported" if name in _REFUSED else "Unknown"
            raise CommandFailure(FAILED_TO_PARSE, f"{what} $jsonSchema keyword: {name}")
        tests.append(keyword(value, schema))
    return lambda value: all(test(value) for test in tests)


_ANNOTATIONS: Final = frozenset({"title", "description"})
_EXCLUSIVE: Final = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_REFUSED: Final = frozenset({"$ref", "$schema", "default", "definitions", "format", "id"})


def _mismatch(keyword: str, wanted: str) -> CommandFailure:
    return CommandFailure(TYPE_MISMATCH, f"$jsonSchema keyword '{keyword}' must be {wanted}")


def _strings(keyword: str, value: Any) -> list[str]:
    if type(value) is not list:
        raise _mismatch(keyword, "an array")
    if not value:
        raise CommandFailure(FAILED_TO_PARSE, f"$jsonSchema keyword '{keyword}' cannot be empty")
    for item in value:
        if type(item) is not str:
            raise _mismatch(keyword, "an array of strings")
    if len(set(value)) != len(value):
        raise CommandFailure(
            FAILED_TO_PARSE, f"$jsonSchema keyword '{keyword}' cannot contain duplicate values"
        )
    return value


def _types(keyword: str, value: Any) -> list[str]:
    if type(value) is str:
        return [value]
    if type(value) is not list:
        raise _mismatch(keyword, "either a string or an array of strings")
    return _strings(keyword, value)


def type_(value: Any, schema: Mapping[str, Any]) -> Test:
    """``type``: the types of JSON."""
    aliases: set[str] = set()
    for name in _types("type", value):
        if name not in _JSON_TYPES:
            code = FAILED_TO_PARSE if name == "integer" else BAD_VALUE
            raise CommandFailure(code, f"Unknown type name alias: {name}")
        aliases |= _JSON_TYPES[name]
    return _of_type(aliases)


def bson_type_(value: Any, schema: Mapping[str, Any]) -> Test:
    """``bsonType``: the aliases of ``$type``."""
    aliases: set[str] = set()
    for name in _types("bsonType", value):
        if name == "number":
            aliases |= _JSON_TYPES["number"]
        elif name in TYPE_ALIASES:
            aliases.add(name)
        else:
            raise CommandFailure(BAD_VALUE, f"Unknown type name alias: {name}")
    return _of_type(aliases)


def _of_type(aliases: set[str]) -> Test:
    return lambda value: value is MISSING or bson_type(value)[1] in aliases


def enum(value: Any, schema: Mapping[str, Any]) -> Test:
    """``enum``: one of the values."""
    if type(value) is not list:
        raise _mismatch("enum", "an array")
    if not value:
        raise CommandFailure(FAILED_TO_PARSE, "$jsonSchema keyword 'enum' cannot be an empty array")
    keys = {hash_key(item) for item in value}
    if len(keys) != len(value):
        raise CommandFailure(FAILED_TO_PARSE, "$jsonSchema keyword 'enum' has duplicate items")
    return lambda given: hash_key(given) in keys


def properties(value: Any, schema: Mapping[str, Any]) -> Test:
    """``properties``: schemas of fields, where they are."""
    if type(value) is not dict:
        raise _mismatch("properties", "an object")
    tests = {name: compile_schema(_object("properties", inner)) for name, inner in value.items()}

    def test(document: Any) -> bool:
        if type(document) is not dict:
            return True
        return all(name not in document or member(document[name]) for name, member in tests.items())

    return test


def _object(keyword: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _mismatch(keyword, "an object")
    checked: dict[str, Any] = value
    return checked


def pattern_properties(value: Any, schema: Mapping[str, Any]) -> Test:
    """``patternProperties``: schemas of the fields whose names match."""
    for name in _object("patternProperties", value):
        try:
            compile_pattern(name)
        except CommandFailure as failure:
            raise CommandFailure(BAD_VALUE, failure.message) from failure
    tests = [
        (compile_pattern(pattern).search, compile_schema(_object("patternProperties", inner)))
        for pattern, inner in _object("patternProperties", value).items()
    ]

    def test(document: Any) -> bool:
        if type(document) is not dict:
            return True
        return all(
            not matches(name) or member(given)
            for matches, member in tests
            for name, given in document.items()
        )

    return test


def additional_properties(value: Any, schema: Mapping[str, Any]) -> Test:
    """``additionalProperties``: whether, or how, other fields may be there."""
    if type(value) is not bool and type(value) is not dict:
        raise _mismatch("additionalProperties", "an object or a boolean")
    named = set(schema.get("properties", ()))
    patterns = [compile_pattern(pattern).search for pattern in schema.get("patternProperties", ())]
    member = compile_schema(value) if type(value) is dict else (lambda given: bool(value))

    def test(document: Any) -> bool:
        if type(document) is not dict:
            return True
        return all(
            name in named or any(matches(name) for matches in patterns) or member(given)
            for name, given in document.items()
        )

    return test


def required(value: Any, schema: Mapping[str, Any]) -> Test:
    """Ask for fields: ``required``."""
    names = _strings("required", value)
    return lambda given: type(given) is not dict or all(name in given for name in names)


def dependencies(value: Any, schema: Mapping[str, Any]) -> Test:
    """``dependencies``: what must hold of the document where a field is there."""
    tests: dict[str, Test] = {}
    for name, inner in _object("dependencies", value).items():
        tests[name] = (
            required(inner, schema) if type(inner) is list else compile_schema(_object(name, inner))
        )
    return lambda given: (
        type(given) is not dict
        or all(name not in given or test(given) for name, test in tests.items())
    )


def _count(keyword: str, value: Any) -> int:
    if type(value) not in NUMBER_TYPES:
        raise CommandFailure(FAILED_TO_PARSE, f"Expected a number in: {keyword}")
    number = as_decimal(value)
    if not number.is_finite() or number != int(number) or number < 0:
        raise CommandFailure(FAILED_TO_PARSE, f"Expected a non-negative integer in: {keyword}")
    return int(number)


def _size(keyword: str, kind: type, holds: Callable[[int, int], bool]) -> Keyword:
    def compile_keyword(value: Any, schema: Mapping[str, Any]) -> Test:
        count = _count(keyword, value)

        def test(given: Any) -> bool:
            sized: Any = given
            return type(given) is not kind or holds(len(sized), count)

        return test

    return compile_keyword


def _at_least(size: int, count: int) -> bool:
    return size >= count


def _at_most(size: int, count: int) -> bool:
    return size <= count


def _limit(keyword: str, exclusive: str, sign: int) -> Keyword:
    def compile_keyword(value: Any, schema: Mapping[str, Any]) -> Test:
        if type(value) not in NUMBER_TYPES:
            raise _mismatch(keyword, "a number")
        open_ended = schema.get(exclusive, False)
        if type(open_ended) is not bool:
            raise _mismatch(exclusive, "a boolean")
        limit = as_decimal(value)

        def test(given: Any) -> bool:
            if type(given) not in NUMBER_TYPES:
                return True
            if is_nan(given) or limit.is_nan():
                return is_nan(given) and limit.is_nan() and not open_ended
            distance = (as_decimal(given) - limit) * sign if limit.is_finite() else None
            if distance is None:
                distance = as_decimal(given).compare(limit) * sign
            return distance > 0 or (distance == 0 and not open_ended)

        return test

    return compile_keyword


def multiple_of(value: Any, schema: Mapping[str, Any]) -> Test:
    """``multipleOf``: divisible without rest."""
    if type(value) not in NUMBER_TYPES:
        raise _mismatch("multipleOf", "a number")
    divisor = as_decimal(value)
    if not divisor.is_finite() or divisor <= 0:
        raise CommandFailure(FAILED_TO_PARSE, "$jsonSchema keyword 'multipleOf' must be positive")

    def test(given: Any) -> bool:
        if type(given) not in NUMBER_TYPES:
            return True
        number = as_decimal(given)
        return number.is_finite() and number % divisor == 0

    return test


def pattern(value: Any, schema: Mapping[str, Any]) -> Test:
    """``pattern``: a regular expression that strings match."""
    if type(value) is not str:
        raise _mismatch("pattern", "a string")
    search = compile_pattern(value).search
    return lambda given: type(given) is not str or search(given) is not None


def items(value: Any, schema: Mapping[str, Any]) -> Test:
    """``items``: the schema of every element, or of each by its position."""
    if type(value) is dict:
        every = compile_schema(value)
        return lambda given: type(given) is not list or all(every(element) for element in given)
    if type(value) is not list:
        raise _mismatch("items", "an array or an object")
    tests = [compile_schema(_object("items", inner)) for inner in value]
    return lambda given: (
        type(given) is not list
        or all(test(element) for test, element in zip(tests, given, strict=False))
    )


def additional_items(value: Any, schema: Mapping[str, Any]) -> Test:
    """``additionalItems``: the schema of elements after those of ``items``."""
    if type(value) is not bool and type(value) is not dict:
        raise _mismatch("additionalItems", "either an object or a boolean")
    member = compile_schema(value) if type(value) is dict else (lambda given: bool(value))
    given_items = schema.get("items")
    if type(given_items) is not list:
        return lambda given: True
    start = len(given_items)
    return lambda given: type(given) is not list or all(member(e) for e in given[start:])


def unique_items(value: Any, schema: Mapping[str, Any]) -> Test:
    """``uniqueItems``: no two elements are equal."""
    if type(value) is not bool:
        raise _mismatch("uniqueItems", "a boolean")
    if not value:
        return lambda given: True
    return lambda given: (
        type(given) is not list or len({hash_key(element) for element in given}) == len(given)
    )


def _schemas(keyword: str, value: Any) -> list[Test]:
    if type(value) is not list:
        raise _mismatch(keyword, "an array")
    if not value:
        raise CommandFailure(BAD_VALUE, f"$jsonSchema keyword '{keyword}' must be nonempty")
    return [compile_schema(_object(keyword, inner)) for inner in value]


def all_of(value: Any, schema: Mapping[str, Any]) -> Test:
    """``allOf``: every schema holds."""
    tests = _schemas("allOf", value)
    return lambda given: all(test(given) for test in tests)


def any_of(value: Any, schema: Mapping[str, Any]) -> Test:
    """``anyOf``: some schema holds."""
    tests = _schemas("anyOf", value)
    return lambda given: any(test(given) for test in tests)


def one_of(value: Any, schema: Mapping[str, Any]) -> Test:
    """``oneOf``: exactly one schema holds."""
    tests = _schemas("oneOf", value)
    return lambda given: sum(test(given) for test in tests) == 1


def not_(value: Any, schema: Mapping[str, Any]) -> Test:
    """``not``: the schema does not hold."""
    test = compile_schema(_object("not", value))
    return lambda given: not test(given)


KEYWORDS: Final[dict[str, Keyword]] = {
    "additionalItems": additional_items,
    "additionalProperties": additional_properties,
    "allOf": all_of,
    "anyOf": any_of,
    "bsonType": bson_type_,
    "dependencies": dependencies,
    "enum": enum,
    "items": items,
    "maxItems": _size("maxItems", list, _at_most),
    "maxLength": _size("maxLength", str, _at_most),
    "maxProperties": _size("maxProperties", dict, _at_most),
    "maximum": _limit("maximum", "exclusiveMaximum", -1),
    "minItems": _size("minItems", list, _at_least),
    "minLength": _size("minLength", str, _at_least),
    "minProperties": _size("minProperties", dict, _at_least),
    "minimum": _limit("minimum", "exclusiveMinimum", 1),
    "multipleOf": multiple_of,
    "not": not_,
    "oneOf": one_of,
    "pattern": pattern,
    "patternProperties": pattern_properties,
    "properties": properties,
    "required": required,
    "type": type_,
    "uniqueItems": unique_items,
}
