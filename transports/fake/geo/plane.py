"""Regions of a plane: ``$box``, ``$polygon``, ``$center``.

Source: https://www.mongodb.com/docs/manual/geospatial-queries/#geospatial-models
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with its border."""

    low: Pair
    high: Pair

    def contains(self, point: Pair) -> bool:
        """Tell whether the point is inside or on the border."""
        return self.low[0] <= point[0] <= self.high[0] and self.low[1] <= point[1] <= self.high[1]


@dataclass(frozen=True, slots=True)
class Circle:
    """A disc with its border."""

    center: Pair
    radius: float

    def contains(self, point: Pair) -> bool:
        """Tell whether the point is inside or on the border."""
        return distance(self.center, point) <= self.radius


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon with its border, crossing itself or not."""

    vertices: Sequence[Pair]

    def contains(self, point: Pair) -> bool:
        """Tell whether the point is inside or on the border."""
        x, y = point
        inside = False
        previous = self.vertices[-1]
        for vertex in self.vertices:
            (x1, y1), (x2, y2) = previous, vertex
            if _on_segment(point, previous, vertex):
                return True
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
            previous = vertex
        return inside


def distance(a: Pair, b: Pair) -> float:
    """Return the distance of two points."""
    x, y = a[0] - b[0], a[1] - b[1]
    return math.sqrt(x * x + y * y)


def _on_segment(point: Pair, a: Pair, b: Pair) -> bool:
    (x, y), (x1, y1), (x2, y2) = point, a, b
    if (x - x1) * (y2 - y1) != (y - y1) * (x2 - x1):
        return False
    return min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2)
