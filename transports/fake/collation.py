"""Collation: how strings compare when a command asks for the rules of a language.

Spec: https://www.mongodb.com/docs/manual/reference/collation/
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any


class Collation:
    """The rules of one collation document."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)

    def key(self, text: str) -> Hashable:
        """Return the key that orders the text; equal keys are equal strings."""
        raise NotImplementedError


def compile_collation(spec: Mapping[str, Any] | None) -> Collation | None:
    """Return the collation, or None for binary comparison (``locale: "simple"``, no document)."""
    if spec is None or spec.get("locale") == "simple":
        return None
    return Collation(spec)
