"""The server's other engine: which expressions it runs, and the codes that it fails with.

MongoDB 6.0 gives the ``$group`` and ``$lookup`` at the start of a pipeline to its slot-based engine
if that knows every expression in them. There the same mistake in a document has another code.
Found by asking mongod 6.0.5 each operator both ways.
"""

from __future__ import annotations

from typing import Any, Final

from transports.fake.errors import CommandFailure
from transports.fake.expressions.scope import Constant, Expression, Variables
from transports.fake.values import Document

_CODES: Final[dict[tuple[str, ...], dict[int, int]]] = {
    ("$abs",): {28765: 4903700},
    ("$acos", "$acosh", "$asin", "$atanh", "$cos", "$sin", "$tan"): {28765: 4995502},
    ("$add",): {14: 4974201, 16554: 4974201, 16612: 4974202},
    ("$anyElementTrue",): {17041: 5159200},
    ("$arrayElemAt",): {28689: 5126701, 28690: 5126702},
    ("$asinh", "$atan", "$cosh", "$sinh", "$tanh"): {28765: 4995501},
    ("$atan2",): {51044: 5688500, 51045: 5688500},
    ("$bsonSize",): {31393: 5043001},
    ("$ceil",): {28765: 4903702},
    ("$concat",): {16702: 5073001},
    ("$concatArrays",): {28664: 5153400},
    ("$dateAdd", "$dateSubtract"): {
        9: 5166605,
        5166403: 5166603,
        5166404: 5166604,
        5166405: 5166606,
    },
    ("$dateDiff",): {5166307: 5166500, 5439013: 5166502, 5439014: 5166503},
    ("$dateFromParts",): {40515: 4848979},
    ("$dateToParts",): {16006: 4997703, 40485: 4997704, 40517: 4997701, 40521: 4997702},
    ("$dayOfMonth", "$dayOfWeek", "$dayOfYear"): {16006: 4998202, 40485: 4998201, 40533: 4998200},
    ("$degreesToRadians", "$radiansToDegrees"): {28765: 4995501},
    ("$divide",): {14: 5073101},
    ("$exp",): {28765: 4903703},
    ("$filter",): {28651: 5073201},
    ("$first", "$last"): {28689: 5126704},
    ("$floor",): {28765: 4903704},
    ("$indexOfBytes",): {40091: 5075300, 40092: 5075302},
    ("$indexOfCP",): {40093: 5075300, 40094: 5075302},
    ("$ln",): {28765: 4903705},
    ("$log10",): {28765: 4903707},
    ("$mod",): {16611: 5154000},
    ("$multiply",): {14: 5073102, 16555: 5073102},
    ("$range",): {34443: 5154300, 34445: 5154301},
    ("$regexFind", "$regexFindAll", "$regexMatch"): {
        51104: 5073401,
        51105: 5126601,
        51106: 5126603,
    },
    ("$replaceOne",): {51744: 5154400, 51745: 5154400, 51746: 5154400},
    ("$reverseArray",): {34435: 5154901},
    ("$setDifference",): {17048: 5126900, 17049: 5126900},
    ("$setIntersection",): {17047: 5126900},
    ("$setUnion",): {17043: 5126900},
    ("$sortArray",): {2942504: 6096700},
    ("$sqrt",): {28765: 4903709},
    ("$toLower", "$toUpper"): {16007: 5066300},
    ("$tsIncrement",): {5687302: 5687401},
    ("$tsSecond",): {5687301: 5687400},
}
CODES: Final = {name: codes for names, codes in _CODES.items() for name in names}
"""Operator → its own code → the code of the other engine."""

_OPERATORS: Final = frozenset(
    {
        *CODES,
        *("$isArray", "$isNumber", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$cmp"),
        *("$and", "$or", "$not", "$cond", "$ifNull", "$switch", "$let"),
    }
)
_ACCUMULATORS: Final = frozenset(
    {
        *("$sum", "$avg", "$min", "$max", "$first", "$last", "$push", "$addToSet"),
        *("$stdDevPop", "$stdDevSamp", "$mergeObjects", "$count"),
    }
)


def runs(expression: Any) -> bool:
    """Tell whether the engine knows everything in an expression."""
    if type(expression) is list:
        return not any(_varies(member) for member in expression)
    if type(expression) is not dict:
        return True
    for name, operand in expression.items():
        if name in ("$literal", "$const"):
            continue
        if name.startswith("$") and name not in _OPERATORS:
            return False
        if name == "$switch":
            operand = _branches(operand)
        members = operand if name.startswith("$") and type(operand) is list else [operand]
        if name.startswith("$") and type(operand) is dict and not _is_operator(operand):
            members = list(operand.values())
        if not all(runs(member) for member in members):
            return False
    return True


def _is_operator(operand: dict[str, Any]) -> bool:
    return next(iter(operand), "").startswith("$")


def _branches(operand: Any) -> Any:
    if type(operand) is not dict or type(operand.get("branches")) is not list:
        return operand
    parts = [operand.get("default")]
    for branch in operand["branches"]:
        parts += branch.values() if type(branch) is dict else [branch]
    return parts


def _varies(expression: Any) -> bool:
    """Tell whether an expression depends on the document."""
    if type(expression) is str:
        return expression.startswith("$")
    if type(expression) is list:
        return any(_varies(member) for member in expression)
    if type(expression) is dict:
        return "$literal" not in expression and any(_varies(v) for v in expression.values())
    return False


def runs_group(spec: Any) -> bool:
    """Tell whether the engine takes a ``$group``."""
    return type(spec) is dict and runs(spec.get("_id")) and runs_accumulators(spec)


def runs_accumulators(spec: Any) -> bool:
    """Tell whether the engine knows the accumulators of a ``$group``."""
    return type(spec) is dict and all(
        name == "_id"
        or (
            type(operand) is dict
            and operand.keys() <= _ACCUMULATORS
            and all(runs(argument) for argument in operand.values())
        )
        for name, operand in spec.items()
    )


def with_codes(name: str, expression: Expression) -> Expression:
    """Return an operator's expression with the codes of this engine."""
    codes = CODES.get(name)
    if codes is None or type(expression) is Constant:
        return expression

    def run(document: Document, variables: Variables) -> Any:
        try:
            return expression(document, variables)
        except CommandFailure as failure:
            failure.code = codes.get(failure.code, failure.code)
            raise

    return run
