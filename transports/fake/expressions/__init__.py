"""Aggregation expressions."""

from transports.fake.expressions.compiler import compile_expression
from transports.fake.expressions.scope import Expression, Variables

__all__ = ["Expression", "Variables", "compile_expression"]
