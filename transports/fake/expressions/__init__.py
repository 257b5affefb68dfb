"""Aggregation expressions."""

from transports.fake.expressions.compiler import Expression, Variables, compile_expression

__all__ = ["Expression", "Variables", "compile_expression"]
