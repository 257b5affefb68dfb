"""Geometry as the server computes it: GeoJSON on a sphere, legacy coordinate pairs on a plane.

`shapes` reads them, `sphere` and `plane` compute, `operators` is what queries see.
"""
