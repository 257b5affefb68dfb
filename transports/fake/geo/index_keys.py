"""What a 2dsphere or 2d index takes and refuses.

Spec: https://www.mongodb.com/docs/manual/core/indexes/index-types/index-geospatial/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from transports.fake.bson_text import render, render_document
from transports.fake.errors import CommandFailure
from transports.fake.geo.shapes import is_geojson, legacy_point, read_geometry, read_pair
from transports.fake.paths import Parts, any_value, split
from transports.fake.values import MISSING, Document, is_number

_NO_GEO_KEYS: Final = 16755
_NOT_A_LOCATION: Final = 16804
_ONE_ELEMENT: Final = 13068
_NOT_A_PAIR: Final = 13026
_OUT_OF_BOUNDS: Final = 13027
_DEFAULT_BOUNDS: Final = (-180.0, 180.0)

Check = Callable[[Document], None]


def geo_check(spec: Document) -> Check | None:
    """Return what refuses documents that the index cannot take; None for other indexes.

    Args:
        spec: of the index, as ``listIndexes`` shows it.
    """
    checks: list[tuple[Parts, Callable[[Any, Document], None]]] = []
    for field, kind in spec["key"].items():
        if kind == "2dsphere":
            checks.append((split(field), _sphere_check(split(field)[-1])))
        elif kind == "2d":
            bounds = (spec.get("min", _DEFAULT_BOUNDS[0]), spec.get("max", _DEFAULT_BOUNDS[1]))
            checks.append((split(field), _flat_check(*bounds)))
    if not checks:
        return None

    def check(document: Document) -> None:
        for path, refuse in checks:
            for value in _values(document, path):
                refuse(value, document)

    return check


def _values(document: Document, path: Parts) -> list[Any]:
    found: list[Any] = []

    def remember(value: Any) -> bool:
        if value is not MISSING and value is not None:
            found.append(value)
        return False

    any_value(document, path, remember, False)
    return found


def _sphere_check(name: str) -> Callable[[Any, Document], None]:
    def check(value: Any, document: Document) -> None:
        reason = _sphere_refusal(name, value)
        if reason:
            raise CommandFailure(
                _NO_GEO_KEYS, f"Can't extract geo keys: {render_document(document)}  {reason}"
            )

    return check


def _sphere_refusal(name: str, value: Any) -> str:
    if type(value) not in (dict, list):
        return f"geo element must be an array or object: {name}: {render(value)}"
    if is_geojson(value):
        try:
            read_geometry(value)
        except CommandFailure as failure:
            return failure.message
        return ""
    if not value:
        return ""
    pair = read_pair(value)
    if pair is None:
        return "Point must only contain numeric elements"
    if not legacy_point(pair).points:
        return f"can't project geometry into spherical CRS: {render(value)}"
    return ""


def _flat_check(low: float, high: float) -> Callable[[Any, Document], None]:
    def check_pair(value: Any, document: Document) -> None:
        members = list(value.values()) if type(value) is dict else value
        caused_by = f" :: caused by :: {render_document(document)}"
        if type(value) is dict and members and not is_number(members[0]):
            raise CommandFailure(
                _NOT_A_LOCATION,
                "location object expected, location array not in correct format",
            )
        if len(members) == 1:
            raise CommandFailure(_ONE_ELEMENT, f"geo field only has 1 element{caused_by}")
        if not all(is_number(member) for member in members[:2]):
            raise CommandFailure(
                _NOT_A_PAIR,
                f"geo values must be 'legacy coordinate pairs' for 2d indexes{caused_by}",
            )
        if not all(low <= float(str(member)) < high for member in members[:2]):
            raise CommandFailure(
                _OUT_OF_BOUNDS, f"point not in interval of [ {low:g}, {high:g} ]{caused_by}"
            )

    def check(value: Any, document: Document) -> None:
        if type(value) not in (dict, list) or not value:
            return
        if type(value) is list and type(value[0]) in (list, dict):
            for member in value:
                if type(member) is dict and "type" in member:
                    raise CommandFailure(
                        _NOT_A_PAIR,
                        "geo values must be 'legacy coordinate pairs' for 2d indexes :: caused by "
                        f":: {render_document(document)}",
                    )
                if type(member) in (dict, list) and member:
                    check_pair(member, document)
            return
        check_pair(value, document)

    return check
