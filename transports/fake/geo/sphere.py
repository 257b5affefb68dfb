"""Points, edges and loops on the unit sphere.

The server computes with Google's S2 library; what becomes of points that lie on a line or on a
polygon's vertex follows from S2's rules for them, so they are followed here. A loop contains a
point if the way to it from a fixed origin crosses the loop oddly often.

Source: https://s2geometry.io/devguide/basic_types, S2's predicates ``Sign`` and ``VertexCrossing``
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

Point = tuple[float, float, float]

EARTH_RADIUS_M: Final = 6_378_100.0
_ORIGIN_X, _ORIGIN_Y, _ORIGIN_Z = 0.00457, 1.0, 0.0321
# Above this a determinant of unit vectors has the sign that its rounded value has.
_CERTAIN: Final = 1.6e-15
_SAME_POINT_RADIANS: Final = 1e-9  # less than a centimetre
_AXES: Final[tuple[Point, Point, Point]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def from_degrees(longitude: float, latitude: float) -> Point:
    """Return the unit vector of a place."""
    phi, theta = math.radians(latitude), math.radians(longitude)
    around = math.cos(phi)
    return (math.cos(theta) * around, math.sin(theta) * around, math.sin(phi))


def dot(a: Point, b: Point) -> float:
    """Return the scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Point, b: Point) -> Point:
    """Return the vector product."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def normalized(a: Point) -> Point:
    """Return the unit vector of the same direction."""
    length = math.sqrt(dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length)


def angle(a: Point, b: Point) -> float:
    """Return the angle between two unit vectors, in radians."""
    product = cross(a, b)
    return math.atan2(math.sqrt(dot(product, product)), dot(a, b))


ORIGIN: Final = normalized((_ORIGIN_X, _ORIGIN_Y, _ORIGIN_Z))


def orientation(a: Point, b: Point, c: Point) -> int:
    """Return 1 if the points turn counterclockwise, -1 clockwise, 0 if two are the same."""
    if a == b or b == c or c == a:
        return 0
    determinant = dot(cross(a, b), c)
    if determinant > _CERTAIN:
        return 1
    if determinant < -_CERTAIN:
        return -1
    return _careful_orientation(a, b, c)


def _careful_orientation(a: Point, b: Point, c: Point) -> int:
    """Decide for points that lie almost on a great circle: by the two shortest of their edges."""
    (ab, sign_ab), (bc, sign_bc), (ca, sign_ca) = _edge(a, b), _edge(b, c), _edge(c, a)
    length_ab, length_bc, length_ca = dot(ab, ab), dot(bc, bc), dot(ca, ca)
    bc_beats_ca = length_ca < length_bc or (length_ca == length_bc and a < b)
    if bc_beats_ca and (length_ab < length_bc or (length_ab == length_bc and a < c)):
        turn = dot(cross(ab, ca), a) * sign_ab
    elif not bc_beats_ca and (length_ab < length_ca or (length_ab == length_ca and b < c)):
        turn = dot(cross(bc, ab), b) * sign_bc
    else:
        turn = dot(cross(ca, bc), c) * sign_ca
    if turn:
        return 1 if turn > 0 else -1
    return _perturbed_orientation(a, b, c)


def _edge(a: Point, b: Point) -> tuple[Point, int]:
    """Return the shorter of a - b and a + b, and the sign in it."""
    sign = -1 if dot(a, b) > 0 else 1
    return (a[0] + sign * b[0], a[1] + sign * b[1], a[2] + sign * b[2]), sign


def _perturbed_orientation(a: Point, b: Point, c: Point) -> int:
    """Decide for points on one great circle, as if each were moved a little, the first the most."""
    for x, y in ((1, 2), (2, 0), (0, 1)):
        flat = [(p[x], p[y]) for p in (a, b, c)]
        turns = sum(_flat_turn(flat[i], flat[(i + 1) % 3]) for i in range(3))
        if turns:
            return 1 if turns > 0 else -1
    return 0


def _flat_turn(a: tuple[float, float], b: tuple[float, float]) -> int:
    sign = -1 if a[0] * b[0] + a[1] * b[1] > 0 else 1
    ab = (a[0] + sign * b[0], a[1] + sign * b[1])
    length_a, length_b = a[0] ** 2 + a[1] ** 2, b[0] ** 2 + b[1] ** 2
    if length_a < length_b or (length_a == length_b and a < b):
        turn = (a[0] * ab[1] - a[1] * ab[0]) * sign
    else:
        turn = ab[0] * b[1] - ab[1] * b[0]
    return (turn > 0) - (turn < 0)


def ordered_counterclockwise(a: Point, b: Point, c: Point, center: Point) -> bool:
    """Tell whether the edges to a, b and c leave the center in this order."""
    count = (
        (orientation(b, center, a) >= 0)
        + (orientation(c, center, b) >= 0)
        + (orientation(a, center, c) > 0)
    )
    return count >= 2


def perpendicular(a: Point) -> Point:
    """Return some unit vector at a right angle, the same for the same point."""
    largest = max(range(3), key=lambda axis: abs(a[axis]))
    k = (largest - 1) % 3
    helper = [0.012, 0.0053, 0.00457]
    helper[k] = 1.0
    return normalized(cross(a, (helper[0], helper[1], helper[2])))


def crossing(a: Point, b: Point, c: Point, d: Point) -> int:
    """Return 1 if the edges ab and cd cross inside, -1 if not, 0 if they share a vertex."""
    if a in (c, d) or b in (c, d):
        return 0
    if a == b or c == d:
        return -1
    first = orientation(a, b, c)
    if orientation(b, a, d) != first:
        return -1
    if orientation(c, d, b) != first or orientation(d, c, a) != first:
        return -1
    return 1


def _vertex_crossing(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Tell whether edges that share a vertex count as crossing there."""
    if a == b or c == d:
        return False
    if a == d:
        return ordered_counterclockwise(perpendicular(a), c, b, a)
    if b == c:
        return ordered_counterclockwise(perpendicular(b), d, a, b)
    if a == c:
        return ordered_counterclockwise(perpendicular(a), d, b, a)
    return ordered_counterclockwise(perpendicular(b), c, a, b)


def crosses_or_touches(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Tell whether the edges cross, by S2's rule where they share a vertex."""
    found = crossing(a, b, c, d)
    return found > 0 or (found == 0 and _vertex_crossing(a, b, c, d))


class Loop:
    """A closed line without its last point, and the smaller of the two areas it bounds.

    Args:
        vertices: at least three.
        as_wound: the area on the left, however large (MongoDB's strict winding order).
    """

    def __init__(self, vertices: Sequence[Point], *, as_wound: bool = False) -> None:
        self.vertices = tuple(vertices)
        self._origin_inside = False
        self._set_origin()
        if not as_wound and self._is_inverted():
            self.vertices = tuple(reversed(self.vertices))
            self._origin_inside = False
            self._set_origin()

    def _set_origin(self) -> None:
        before, vertex, after = self.vertices[:3]
        inside = ordered_counterclockwise(perpendicular(vertex), before, after, vertex)
        if inside != self.contains(vertex):
            self._origin_inside = True

    def _is_inverted(self) -> bool:
        """Tell whether the area on the left is more than a half of the sphere."""
        turned = 0.0
        count = len(self.vertices)
        for place in range(count):
            a, b, c = (self.vertices[(place + step) % count] for step in range(3))
            around = angle(cross(a, b), cross(b, c))
            turned += around if orientation(a, b, c) > 0 else -around
        return turned < 0

    def contains(self, point: Point) -> bool:
        """Tell whether the point is inside; of a border exactly one side has it."""
        inside = self._origin_inside
        previous = self.vertices[-1]
        for vertex in self.vertices:
            inside ^= crosses_or_touches(ORIGIN, point, previous, vertex)
            previous = vertex
        return inside

    def edges(self) -> list[tuple[Point, Point]]:
        """Return the edges."""
        return list(zip(self.vertices, (*self.vertices[1:], self.vertices[0]), strict=True))


def distance_to_edge(point: Point, a: Point, b: Point) -> float:
    """Return the angle from a point to the nearest point of an edge, in radians."""
    normal = cross(a, b)
    if a != b and dot(normal, normal) > 0:
        normal = normalized(normal)
        # Is the foot of the perpendicular between a and b?
        if dot(cross(normal, a), point) >= 0 and dot(cross(b, normal), point) >= 0:
            return abs(math.asin(max(-1.0, min(1.0, dot(normal, point)))))
    return min(angle(point, a), angle(point, b))


def touches(point: Point, a: Point, b: Point) -> bool:
    """Tell whether a point lies on an edge, as near as a leaf cell of S2 is large."""
    return distance_to_edge(point, a, b) <= _SAME_POINT_RADIANS
