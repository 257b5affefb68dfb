"""Geometries: read from GeoJSON and from legacy coordinate pairs, compared on the sphere.

Source: https://www.mongodb.com/docs/manual/reference/geojson/
https://www.mongodb.com/docs/manual/geospatial-queries/#legacy-coordinate-pairs
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.errors import BAD_VALUE, CommandFailure
from transports.fake.geo import plane, sphere
from transports.fake.geo.plane import Pair
from transports.fake.geo.sphere import Loop, Point
from transports.fake.values import Document, is_number

DEFAULT_CRS: Final = frozenset({"EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84"})
STRICT_CRS: Final = "urn:x-mongodb:crs:strictwinding:EPSG:4326"


def bad_geometry(message: str) -> CommandFailure:
    """Return the refusal of a geometry."""
    return CommandFailure(BAD_VALUE, message)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Points, lines and polygons on the sphere; what a GeoJSON object or a legacy pair holds.

    Attributes:
        kind: the GeoJSON type; ``"legacy"`` for a pair.
        points: of a Point or MultiPoint, or a pair that is a place on the earth.
        lines: chains of points.
        polygons: each with its outer loop and its holes.
        pair: the flat coordinates of a point; None for anything else.
    """

    kind: str
    points: tuple[Point, ...] = ()
    lines: tuple[tuple[Point, ...], ...] = ()
    polygons: tuple[tuple[Loop, ...], ...] = ()
    pair: Pair | None = None

    def vertices(self) -> Iterator[Point]:
        """Yield every point that it is drawn with."""
        yield from self.points
        for line in self.lines:
            yield from line
        for loops in self.polygons:
            for loop in loops:
                yield from loop.vertices

    def edges(self) -> Iterator[tuple[Point, Point]]:
        """Yield the edges of its lines and borders."""
        for line in self.lines:
            yield from pairwise(line)
        for loops in self.polygons:
            for loop in loops:
                yield from loop.edges()

    def contains_point(self, point: Point) -> bool:
        """Tell whether a polygon of it contains the point."""
        return any(_inside(loops, point) for loops in self.polygons)

    def contains(self, other: Geometry) -> bool:
        """Tell whether the other lies in its polygons as a whole."""
        mine = list(self.edges())
        if not all(
            self.contains_point(vertex) or any(sphere.touches(vertex, a, b) for a, b in mine)
            for vertex in other.vertices()
        ):
            return False
        if not all(self.contains_point(_within(p)) for p in other.polygons):
            return False
        return not any(sphere.crossing(a, b, c, d) > 0 for a, b in other.edges() for c, d in mine)

    def intersects(self, other: Geometry) -> bool:
        """Tell whether the two have a point in common."""
        for one, two in ((self, other), (other, self)):
            edges = list(one.edges())
            for vertex in two.vertices():
                if one.contains_point(vertex):
                    return True
                if any(sphere.touches(vertex, a, b) for a, b in edges):
                    return True
        if any(
            sphere.angle(a, b) <= sphere._SAME_POINT_RADIANS
            for a in self.points
            for b in other.points
        ):
            return True
        mine = list(self.edges())
        return any(sphere.crossing(a, b, c, d) > 0 for a, b in other.edges() for c, d in mine)

    def distance(self, point: Point) -> float:
        """Return the angle from a point to the nearest point of it, in radians."""
        if self.contains_point(point):
            return 0.0
        away = [sphere.angle(point, mine) for mine in self.points]
        away += [sphere.distance_to_edge(point, a, b) for a, b in self.edges()]
        return min(away)


def _inside(loops: Sequence[Loop], point: Point) -> bool:
    return sum(loop.contains(point) for loop in loops) % 2 == 1


def _within(loops: Sequence[Loop]) -> Point:
    """Return a point inside a polygon."""
    vertices = loops[0].vertices
    for place in range(len(vertices)):
        a, b, c = (vertices[(place + step) % len(vertices)] for step in range(3))
        for weight in (1, 50):  # in the middle of the corner, and close to its vertex
            x, y, z = (a[axis] + weight * b[axis] + c[axis] for axis in range(3))
            point = sphere.normalized((x, y, z))
            if _inside(loops, point):
                return point
    return vertices[0]


# Reading


def read_pair(value: Any) -> Pair | None:
    """Return the legacy pair in an array or a document; None if it is none."""
    members = list(value.values()) if type(value) is dict else value
    if type(members) is not list or len(members) < 2:
        return None
    if not all(is_number(member) for member in members[:2]):
        return None
    x, y = float(str(members[0])), float(str(members[1]))
    return (x, y)


def legacy_point(pair: Pair) -> Geometry:
    """Return a pair as a geometry: a place on the earth if it can be one."""
    if not _is_place(pair):
        return Geometry("legacy", pair=pair)
    return Geometry("legacy", points=(sphere.from_degrees(*pair),), pair=pair)


def _is_place(pair: Pair) -> bool:
    return abs(pair[0]) <= 180 and abs(pair[1]) <= 90


def is_geojson(value: Any) -> bool:
    """Tell whether a value is meant as a GeoJSON object."""
    return type(value) is dict and type(value.get("type")) is str


def read_geometry(value: Any) -> Geometry:
    """Return the geometry of a GeoJSON object.

    Raises:
        CommandFailure: 2 if it is malformed.
    """
    if type(value) is not dict or type(value.get("type")) is not str:
        raise bad_geometry(f"unknown GeoJSON type: {render(value)}")
    kind = value["type"]
    strict = _crs(value)
    if kind == "GeometryCollection":
        return _collection(value)
    reader = _READERS.get(kind)
    if reader is None:
        raise bad_geometry(f"unknown GeoJSON type: {render(value)}")
    if strict and kind != "Polygon":
        raise bad_geometry("Strict winding order is only supported for polygons")
    coordinates = value.get("coordinates")
    if type(coordinates) is not list:
        raise bad_geometry(f"{kind} coordinates must be an array")
    return _polygon(coordinates, as_wound=True) if strict else reader(coordinates)


def _crs(value: Document) -> bool:
    """Check the coordinate reference system; tell whether it is the one of strict winding."""
    if "crs" not in value:
        return False
    crs = value["crs"]
    properties = crs.get("properties") if type(crs) is dict else None
    if type(properties) is not dict or crs.get("type") != "name":
        raise bad_geometry('GeoJSON CRS must have field "type": "name"')
    name = properties.get("name")
    if name == STRICT_CRS:
        return True
    if name not in DEFAULT_CRS:
        raise bad_geometry(f"Unknown CRS name: {name}")
    return False


def _place(value: Any) -> tuple[Point, Pair]:
    if type(value) is not list or len(value) < 2:
        raise bad_geometry("Point must be an array of at least two numbers")
    if not all(is_number(member) for member in value[:2]):
        raise bad_geometry("Point must only contain numeric elements")
    pair = (float(str(value[0])), float(str(value[1])))
    if not _is_place(pair):
        raise bad_geometry(
            f"longitude/latitude is out of bounds, lng: {pair[0]:g} lat: {pair[1]:g}"
        )
    return sphere.from_degrees(*pair), pair


def _point(coordinates: list[Any]) -> Geometry:
    point, pair = _place(coordinates)
    return Geometry("Point", points=(point,), pair=pair)


def _places(coordinates: list[Any], what: str) -> tuple[Point, ...]:
    if type(coordinates) is not list:
        raise bad_geometry(f"{what} coordinates must be an array of coordinates")
    return tuple(_place(member)[0] for member in coordinates)


def _line(coordinates: list[Any]) -> Geometry:
    points = _without_repetition(_places(coordinates, "LineString"))
    if len(points) < 2:
        raise bad_geometry("GeoJSON LineString must have at least 2 vertices")
    return Geometry("LineString", lines=(points,))


def _without_repetition(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(p for place, p in enumerate(points) if not place or p != points[place - 1])


def _polygon(coordinates: list[Any], *, as_wound: bool = False) -> Geometry:
    if not coordinates:
        raise bad_geometry("Polygon has no loops.")
    if as_wound and len(coordinates) > 1:
        raise bad_geometry("Only one simple loop is allowed in a big polygon")
    loops = tuple(_loop(member, as_wound=as_wound) for member in coordinates)
    outer = loops[0]
    for hole in loops[1:]:
        if not any(outer.contains(vertex) for vertex in hole.vertices):
            raise bad_geometry("Secondary loops not contained by first exterior loop")
    return Geometry("Polygon", polygons=(loops,))


def _loop(coordinates: list[Any], *, as_wound: bool) -> Loop:
    points = _places(coordinates, "Polygon loop")
    if not points:
        raise bad_geometry("Loop has no vertices")
    if points[0] != points[-1]:
        raise bad_geometry("Loop is not closed")
    vertices = _without_repetition(points)[:-1]
    if len(vertices) < 3:
        raise bad_geometry("Loop must have at least 3 different vertices")
    if len(set(vertices)) < len(vertices):
        raise bad_geometry("Duplicate vertices")
    _check_simple(vertices)
    return Loop(vertices, as_wound=as_wound)


def _check_simple(vertices: tuple[Point, ...]) -> None:
    edges = list(zip(vertices, (*vertices[1:], vertices[0]), strict=True))
    for place, (a, b) in enumerate(edges):
        for c, d in edges[place + 1 :]:
            if sphere.crossing(a, b, c, d) > 0:
                raise bad_geometry("Edges cross")


def _multi(kind: str, reader: Callable[[list[Any]], Geometry]) -> Callable[[Any], Geometry]:
    def read(coordinates: list[Any]) -> Geometry:
        if not coordinates:
            raise bad_geometry(f"{kind} coordinates must have at least 1 element")
        return _together(kind, [reader(member) for member in coordinates])

    return read


def _together(kind: str, members: Sequence[Geometry]) -> Geometry:
    return Geometry(
        kind,
        points=tuple(point for member in members for point in member.points),
        lines=tuple(line for member in members for line in member.lines),
        polygons=tuple(polygon for member in members for polygon in member.polygons),
    )


def _collection(value: Document) -> Geometry:
    members = value.get("geometries")
    if type(members) is not list or not members:
        raise bad_geometry("GeometryCollection geometries must have at least 1 element")
    for member in members:
        if type(member) is not dict or member.get("type") == "GeometryCollection":
            raise bad_geometry("GeometryCollections cannot be nested")
    return _together("GeometryCollection", [read_geometry(member) for member in members])


_READERS: Final[dict[str, Callable[[list[Any]], Geometry]]] = {
    "Point": _point,
    "LineString": _line,
    "Polygon": _polygon,
    "MultiPoint": _multi("MultiPoint", _point),
    "MultiLineString": _multi("MultiLineString", _line),
    "MultiPolygon": _multi("MultiPolygon", _polygon),
}


def stored_geometry(value: Any) -> Geometry | None:
    """Return the geometry that a stored value is; None if it is none."""
    try:
        if is_geojson(value):
            return read_geometry(value)
    except CommandFailure:
        return None
    pair = read_pair(value)
    return None if pair is None else legacy_point(pair)


# Regions that are no GeoJSON


@dataclass(frozen=True, slots=True)
class Cap:
    """``$centerSphere``: what lies within an angle of a point."""

    center: Point
    radians: float

    def contains(self, other: Geometry) -> bool:
        """Tell whether the other lies in it as a whole."""
        if any(sphere.angle(self.center, v) > self.radians for v in other.vertices()):
            return False
        if self.radians >= math.pi / 2:
            opposite = (-self.center[0], -self.center[1], -self.center[2])
            return all(
                sphere.distance_to_edge(opposite, a, b) >= math.pi - self.radians
                for a, b in other.edges()
            )
        return not other.contains_point((-self.center[0], -self.center[1], -self.center[2]))


@dataclass(frozen=True, slots=True)
class Flat:
    """A region of the plane, for points only."""

    region: plane.Box | plane.Circle | plane.Polygon

    def contains(self, other: Geometry) -> bool:
        """Tell whether the other is a point in it."""
        return other.pair is not None and self.region.contains(other.pair)
