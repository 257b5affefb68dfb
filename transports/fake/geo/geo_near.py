"""``$geoNear``: documents in the order of their distance, with the distance in them.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/geoNear/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.errors import BAD_VALUE, TYPE_MISMATCH, CommandFailure
from transports.fake.geo.operators import Near, near_point
from transports.fake.geo.shapes import read_pair
from transports.fake.matcher_operators import truthy
from transports.fake.paths import Parts, put, split
from transports.fake.values import Document, bson_type, is_number

_KINDS: Final = ("2dsphere", "2d")
_GONE: Final = {"limit": 50858, "num": 50857, "start": 50856}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoNear:
    """A stage's specification.

    Attributes:
        distance_field: where the distance goes.
        near: the point and the range of distances; its path is the index's field.
        query: a filter besides.
        multiplier: what distances are multiplied by.
        include_locs: where the place goes that was measured; None for nowhere.
    """

    distance_field: Parts
    near: Near
    query: Document
    multiplier: float
    include_locs: Parts | None

    def shown(self, document: Document, distance: float, place: Any) -> Document:
        """Return a document with its distance, and with the place if that is wanted."""
        result = put(document, self.distance_field, distance * self.multiplier)
        return result if self.include_locs is None else put(result, self.include_locs, place)


def read_geo_near(spec: Any, patterns: Callable[[], Iterable[Document]], namespace: str) -> GeoNear:
    """Return what a ``$geoNear`` says.

    Args:
        spec: the stage's value.
        patterns: returns the key patterns of the collection's indexes; it may raise.
        namespace: ``"database.collection"``, for messages.

    Raises:
        CommandFailure: as a server refuses it; 27 without an index that answers it.
    """
    if type(spec) is not dict:
        raise CommandFailure(10065, "invalid parameter: expected an object ($geoNear)")
    for name, code in _GONE.items():
        if name in spec:
            raise CommandFailure(
                code,
                f"$geoNear no longer supports the '{name}' parameter. Use a $limit stage instead.",
            )
    if "near" not in spec:
        raise CommandFailure(5860400, "$geoNear requires a 'near' argument")
    if type(spec.get("distanceField")) is not str:
        raise CommandFailure(16606, "$geoNear requires a 'distanceField' option as a String")
    distance_field = _field(spec["distanceField"])
    query = spec.get("query", {})
    if type(query) is not dict:
        raise CommandFailure(TYPE_MISMATCH, "query must be an object")
    least, most = _number(spec, "minDistance", 0.0), _number(spec, "maxDistance", math.inf)
    multiplier = _number(spec, "distanceMultiplier", 1.0)
    locs = spec.get("includeLocs")
    if "includeLocs" in spec and type(locs) is not str:
        raise CommandFailure(16607, "$geoNear requires that 'includeLocs' option is a String")
    include_locs = None if locs is None else _field(locs)
    if "key" in spec and type(spec["key"]) is not str:
        raise CommandFailure(
            TYPE_MISMATCH,
            "$geoNear parameter 'key' must be of type string but found type: "
            f"{bson_type(spec['key'])[1]}",
        )
    found = list(patterns())
    key = spec["key"] if "key" in spec else _key(found, namespace)
    return GeoNear(
        distance_field=distance_field,
        near=_near(spec, key, least, most),
        query=query,
        multiplier=multiplier,
        include_locs=include_locs,
    )


def _field(name: str) -> Parts:
    if name.startswith("$"):
        raise CommandFailure(
            16410,
            "FieldPath field names may not start with '$'. Consider using $getField or $setField.",
        )
    return split(name)


def _key(patterns: Iterable[Document], namespace: str) -> str:
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for pattern in patterns:
        for field, kind in pattern.items():
            if type(kind) is str and kind in found:
                found[kind].append(field)
    for kind in ("2d", "2dsphere"):
        if len(found[kind]) > 1:
            raise CommandFailure(
                27,
                f"There is more than one {kind} index on {namespace}; unsure which to use for "
                "$geoNear",
            )
    for kind in ("2d", "2dsphere"):
        if found[kind]:
            return found[kind][0]
    raise CommandFailure(27, "$geoNear requires a 2d or 2dsphere index, but none were found")


def _near(spec: Document, key: str, least: float, most: float) -> Near:
    value = spec["near"]
    if type(value) not in (dict, list):
        raise CommandFailure(
            5860401,
            "$geoNear requires near argument to be a GeoJSON object or a legacy point(array)",
        )
    geojson = type(value) is dict and type(value.get("type")) is str
    pair = near_point(value) if geojson else read_pair(value)
    if pair is None:
        raise CommandFailure(BAD_VALUE, "invalid point in geo near query")
    return Near(
        path=split(key),
        pair=pair,
        geojson=geojson,
        spherical=geojson or truthy(spec.get("spherical", False)),
        least=least,
        most=most,
    )


def _number(spec: Document, name: str, default: float) -> float:
    if name not in spec:
        return default
    value = spec[name]
    if not is_number(value):
        raise CommandFailure(TYPE_MISMATCH, f"{name} must be a number")
    number = float(str(value))
    if not number >= 0:
        raise CommandFailure(BAD_VALUE, f"{name} must be nonnegative")
    return number
