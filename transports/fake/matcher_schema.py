"""``$jsonSchema``: a test of documents from a JSON Schema.

Spec: https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/
"""

from __future__ import annotations

from typing import Any

from transports.fake.paths import Test


def compile_schema(schema: Any) -> Test:
    """Compile a schema."""
    raise NotImplementedError
