"""The local Lambda: AWS Lambda's Invoke on loopback, with real processes behind it.

For development and tests: ``async with LocalLambda([FunctionConfiguration(...)]) as service`` gives
an ``endpoint_url`` for any AWS SDK. It owns HTTP, execution environments and their processes; it
knows nothing of MongoDB, of transports, or of what the functions do.
Needs the extra ``local`` (aiohttp, awslambdaric).
"""

from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.environment import EnvironmentDescription
from transports.local_lambda.function import FunctionStatistics
from transports.local_lambda.serve import serve
from transports.local_lambda.service import LocalLambda

__all__ = [
    "EnvironmentDescription",
    "FunctionConfiguration",
    "FunctionStatistics",
    "LocalLambda",
    "serve",
]
