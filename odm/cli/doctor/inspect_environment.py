"""The environment that the application runs in: this process's, or a Lambda function's.

With ``--caller`` the environment is what that function is configured with; without it, the
variables of this process, which on AWS Lambda name the function that runs in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from odm.cli.doctor.facts import EnvironmentFacts, Unseen

HERE = "the environment of this process"


def environment_facts(
    variables: Mapping[str, str] | Unseen,
    *,
    where: str = HERE,
    lambda_function: str | None = None,
    region: str | None = None,
) -> EnvironmentFacts:
    """Return what *variables* say.

    Args:
        variables: of the application.
        where: whose they are.
        lambda_function: the function's name, where they are not this process's own.
        region: the application's, where it is known otherwise; it wins.
    """
    given = {} if isinstance(variables, Unseen) else variables
    function = lambda_function or given.get("AWS_LAMBDA_FUNCTION_NAME") or None
    # The SDK for Python reads the second; AWS Lambda sets both.
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION") if function else ("AWS_DEFAULT_REGION",)
    return EnvironmentFacts(
        where=where,
        variables=variables,
        lambda_function=function,
        region=region or next((given[name] for name in regions if given.get(name)), None),
        release=_version("odm-transports"),
        pymongo=_version("pymongo"),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # a source tree that is not installed
        return ""
