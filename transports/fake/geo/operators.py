"""``$geoWithin``, ``$geoIntersects``, ``$near``: what they say, compiled to tests of values.

`REGIONS` and `GEO_OPERATORS` are the tables.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query-geospatial/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transports.fake.bson_text import render, render_document
from transports.fake.errors import BAD_VALUE, CommandFailure
from transports.fake.geo import plane, sphere
from transports.fake.geo.plane import Pair
from transports.fake.geo.shapes import (
    Cap,
    Flat,
    Geometry,
    bad_geometry,
    is_geojson,
    legacy_point,
    read_geometry,
    read_pair,
    stored_geometry,
)
from transports.fake.paths import Parts, any_value, split
from transports.fake.values import Document, is_number

Region = Geometry | Cap | Flat
ValueTest = Callable[[Any], bool]

NEAR: Final = ("$near", "$nearSphere", "$geoNear")
BESIDE_NEAR: Final = frozenset({"$maxDistance", "$minDistance"})
_AREAS: Final = frozenset({"Polygon", "MultiPolygon"})
_WRONG_BESIDE_NEAR: Final = 34413


def _members(value: Any) -> list[Any]:
    return list(value.values()) if type(value) is dict else list(value)


def _pair(value: Any) -> Pair:
    if type(value) not in (list, dict):
        raise bad_geometry("Point must be an array or object")
    members = _members(value)
    if not all(is_number(member) for member in members[:2]):
        raise bad_geometry("Point must only contain numeric elements")
    if len(members) != 2:
        raise bad_geometry("Point must only contain two numeric elements")
    return (float(str(members[0])), float(str(members[1])))


def _round(value: Any) -> tuple[Pair, float]:
    members = _members(value)
    center = _pair(members[0] if members else None)
    radius = members[1] if len(members) > 1 else None
    if not is_number(radius) or not float(str(radius)) >= 0:
        raise bad_geometry("radius must be a non-negative number")
    if len(members) > 2:
        raise bad_geometry("Only 2 fields allowed for circular region")
    return center, float(str(radius))


def box(value: Any) -> Region:
    """``$box``: https://www.mongodb.com/docs/manual/reference/operator/query/box/."""
    members = _members(value)
    a, b = (_pair(members[place] if len(members) > place else None) for place in (0, 1))
    low, high = (min(a[0], b[0]), min(a[1], b[1])), (max(a[0], b[0]), max(a[1], b[1]))
    return Flat(plane.Box(low, high))


def center(value: Any) -> Region:
    """``$center``: https://www.mongodb.com/docs/manual/reference/operator/query/center/."""
    return Flat(plane.Circle(*_round(value)))


def center_sphere(value: Any) -> Region:
    """``$centerSphere``: https://www.mongodb.com/docs/manual/reference/operator/query/centerSphere/."""
    pair, radians = _round(value)
    place = legacy_point(pair)
    if not place.points:
        raise bad_geometry(
            f"longitude/latitude is out of bounds, lng: {pair[0]:g} lat: {pair[1]:g}"
        )
    return Cap(place.points[0], radians)


def polygon(value: Any) -> Region:
    """``$polygon``: https://www.mongodb.com/docs/manual/reference/operator/query/polygon/."""
    vertices = [_pair(member) for member in _members(value)]
    if len(vertices) < 3:
        raise bad_geometry("Polygon must have at least 3 points")
    return Flat(plane.Polygon(vertices))


def geometry(value: Any) -> Region:
    """``$geometry``: https://www.mongodb.com/docs/manual/reference/operator/query/geometry/."""
    if not is_geojson(value):
        pair = read_pair(value)
        if pair is not None:
            return legacy_point(pair)
    return read_geometry(value)


REGIONS: Final[dict[str, Callable[[Any], Region]]] = {
    "$box": box,
    "$center": center,
    "$centerSphere": center_sphere,
    "$geometry": geometry,
    "$polygon": polygon,
}


def _region(operand: Any) -> tuple[str, Region]:
    if type(operand) not in (dict, list):
        raise bad_geometry("geometry must be an object")
    found: tuple[str, Region] | None = None
    for name, value in operand.items() if type(operand) is dict else ():
        if name == "$uniqueDocs":
            continue
        read = REGIONS.get(name)
        if read is None or type(value) not in (dict, list):
            raise bad_geometry(f"unknown geo specifier: {name}: {render(value)}")
        found = (name, read(value))
    if found is None:
        raise bad_geometry("geo query doesn't have any geometry")
    return found


def geo_within(name: str, operand: Any) -> ValueTest:
    """``$geoWithin``: https://www.mongodb.com/docs/manual/reference/operator/query/geoWithin/."""
    _, region = _region(operand)
    if isinstance(region, Geometry) and region.kind not in _AREAS:
        raise bad_geometry(
            f"$within not supported with provided geometry: {render_document({name: operand})}"
        )

    flat = isinstance(region, Flat)

    def within(value: Any) -> bool:
        found = stored_geometry(value)
        if found is None or not (found.pair is None or found.points or flat):
            return False  # a pair that is no place on the earth
        return region.contains(found)

    return within


def geo_intersects(name: str, operand: Any) -> ValueTest:
    """``$geoIntersects``: https://www.mongodb.com/docs/manual/reference/operator/query/geoIntersects/."""
    _, region = _region(operand)
    if not isinstance(region, Geometry):
        raise bad_geometry(
            "$geoIntersect not supported with provided geometry: "
            f"{render_document({name: operand})}"
        )

    def intersects(value: Any) -> bool:
        found = stored_geometry(value)
        return found is not None and region.intersects(found)

    return intersects


GEO_OPERATORS: Final[dict[str, Callable[[str, Any], ValueTest]]] = {
    "$geoIntersects": geo_intersects,
    "$geoWithin": geo_within,
    "$within": geo_within,
}


# Nearness


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """What is to be near to what.

    Attributes:
        path: the field.
        pair: the point's coordinates.
        geojson: distances are metres; else radians on a sphere, or units of the plane.
        spherical: distances are measured on the sphere.
        least: the shortest distance that matches.
        most: the longest.
    """

    path: Parts
    pair: Pair
    geojson: bool
    spherical: bool
    least: float = 0.0
    most: float = math.inf

    @property
    def index_kinds(self) -> frozenset[str]:
        """The kinds of index that can answer it."""
        if self.geojson:
            return frozenset({"2dsphere"})
        return frozenset({"2d", "2dsphere"} if self.spherical else {"2d"})

    def distance(self, document: Document) -> tuple[float, Any] | None:
        """Return the distance of the document's nearest place, and which; None out of range."""
        found: list[tuple[float, Any]] = []
        point = sphere.from_degrees(*self.pair) if self.spherical else None

        def measure(value: Any) -> bool:
            stored = stored_geometry(value)
            if stored is not None:
                away = self._measure(stored, point)
                if away is not None:
                    found.append((away, value))
            return False

        any_value(document, self.path, measure, True)
        nearest = min(found, key=lambda entry: entry[0], default=None)
        if nearest is None or not self.least <= nearest[0] <= self.most:
            return None
        return nearest

    def _measure(self, stored: Geometry, point: sphere.Point | None) -> float | None:
        if point is None:
            return None if stored.pair is None else plane.distance(self.pair, stored.pair)
        if stored.kind == "legacy" and not stored.points:
            return None
        metres = stored.distance(point) * sphere.EARTH_RADIUS_M
        return metres if self.geojson else metres / sphere.EARTH_RADIUS_M

    def __str__(self) -> str:
        most = "1.79769e+308" if math.isinf(self.most) else f"{self.most:g}"
        field = ".".join(self.path)
        on_sphere = int(self.spherical and not self.geojson)
        return f"GEONEAR  field={field} maxdist={most} isNearSphere={on_sphere}"


def read_near(path: str, name: str, operators: Mapping[str, Any]) -> Near:
    """Return what ``{"$near": …}`` and its neighbours say.

    Raises:
        CommandFailure: 2 or 34413, as a server refuses it.
    """
    operand = operators[name]
    if type(operand) not in (dict, list):
        raise bad_geometry(f"near must be first in: {render_document(dict(operators))}")
    if type(operand) is dict and next(iter(operand), "").startswith("$"):
        if len(operators) > 1:
            extra = next(key for key in operators if key != name)
            raise bad_geometry(
                "geo near accepts just one argument when querying for a GeoJSON point. Extra "
                f"field found: {extra}: {render(operators[extra])}"
            )
        return _near_geojson(path, operand)
    return _near_legacy(path, name, operand, operators)


def _near_geojson(path: str, operand: Document) -> Near:
    limits: dict[str, float] = {}
    pair: Pair | None = None
    for name, value in operand.items():
        if name == "$geometry":
            pair = near_point(value)
        elif name in BESIDE_NEAR:
            limits[name] = _distance(name, value)
        else:
            raise bad_geometry(f"invalid argument in geo near query: {name}")
    if pair is None:
        raise bad_geometry("$geometry is required for geo near query")
    return Near(
        path=split(path),
        pair=pair,
        geojson=True,
        spherical=True,
        least=limits.get("$minDistance", 0.0),
        most=limits.get("$maxDistance", math.inf),
    )


def near_point(value: Any) -> Pair:
    """Return the coordinates of a GeoJSON point.

    Raises:
        CommandFailure: 2 if it is none.
    """
    try:
        found = geometry(value)
    except CommandFailure as failure:
        raise _no_point(value, failure.message) from failure
    if not isinstance(found, Geometry) or found.pair is None or not found.points:
        raise _no_point(value, "Point must only contain numeric elements")
    return found.pair


def _no_point(value: Any, reason: str) -> CommandFailure:
    return bad_geometry(
        f"invalid point in geo near query $geometry argument: {render(value)}  {reason}"
    )


def _near_legacy(
    path: str, name: str, operand: dict[str, Any] | list[Any], operators: Mapping[str, Any]
) -> Near:
    limits = {key: _distance(key, value) for key, value in operators.items() if key in BESIDE_NEAR}
    for key in operators:
        if key != name and key not in BESIDE_NEAR:
            raise CommandFailure(_WRONG_BESIDE_NEAR, f"invalid argument in geo near query: {key}")
    members: Sequence[Any] = _members(operand)
    if len(members) > 2:
        limits.setdefault("$maxDistance", _distance("$maxDistance", members[2]))
    pair = read_pair(list(members[:2]))
    if pair is None:
        raise bad_geometry(f"near must be first in: {render_document(dict(operators))}")
    return Near(
        path=split(path),
        pair=pair,
        geojson=False,
        spherical=name == "$nearSphere",
        least=limits.get("$minDistance", 0.0),
        most=limits.get("$maxDistance", math.inf),
    )


def _distance(name: str, value: Any) -> float:
    if not is_number(value):
        raise CommandFailure(BAD_VALUE, f"{name} must be a number")
    distance = float(str(value))
    if not distance >= 0:
        raise CommandFailure(BAD_VALUE, f"{name} must be non-negative")
    return distance
