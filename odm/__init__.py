"""Typed MongoDB documents and repositories over a pluggable transport."""
