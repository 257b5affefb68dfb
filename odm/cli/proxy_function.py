"""The DB proxy function, as this installation has it, on a local Lambda."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import transports

if TYPE_CHECKING:
    from transports.local_lambda import FunctionConfiguration

NAME = "db-proxy"
URI_VARIABLE = "ODM_PROXY_MONGODB_URI"
REGION = "us-east-1"
_HANDLER = "transports.lambda_invoke.function.app.handler"


def configuration(
    mongodb_uri: str,
    *,
    concurrency: int | None = None,
    timeout_s: float = 30.0,
    memory_mb: int = 256,
    environment: Mapping[str, str] | None = None,
) -> FunctionConfiguration:
    """Return the function's configuration in front of *mongodb_uri*.

    Raises:
        MissingExtra: the local Lambda's packages are not installed.
        ValueError: AWS Lambda would not accept one of the values.
    """
    from transports.local_lambda import FunctionConfiguration

    return FunctionConfiguration(
        name=NAME,
        handler=_HANDLER,
        code=(Path(transports.__file__).parent.parent,),
        environment={**(environment or {}), URI_VARIABLE: mongodb_uri},
        memory_size_mb=memory_mb,
        timeout_s=timeout_s,
        reserved_concurrency=concurrency,
    )


def url(endpoint_url: str, database: str) -> str:
    """Return the ``lambda://`` URL of the function behind a local Lambda's endpoint."""
    endpoint = quote(endpoint_url, safe="")
    return f"lambda://{NAME}/{database}?region={REGION}&endpoint={endpoint}"
