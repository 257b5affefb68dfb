"""The DB proxy function, as this installation has it, on a local Lambda."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import transports

if TYPE_CHECKING:
    from transports.local_lambda import FunctionConfiguration

NAME = "db-proxy"
URI_VARIABLE = "ODM_PROXY_MONGODB_URI"
POLICY_VARIABLE = "ODM_PROXY_POLICY"
REGION = "us-east-1"
EVERY_DATABASE = '{"databases": ["*"], "commands": {"allow": ["dropDatabase"]}}'
"""A policy for what makes databases of its own and drops them."""

HANDLER = "transports.lambda_invoke.function.app.handler"
POLICY_FILE = "policy.json"
"""Where a bundle has its policy, and what ``ODM_PROXY_POLICY`` is to say then."""


def configuration(
    mongodb_uri: str,
    *,
    concurrency: int | None = None,
    timeout_s: float = 30.0,
    memory_mb: int = 256,
    policy: str | None = None,
    environment: Mapping[str, str] | None = None,
    bundle: Path | None = None,
) -> FunctionConfiguration:
    """Return the function's configuration in front of *mongodb_uri*.

    Args:
        mongodb_uri: where MongoDB is.
        concurrency: reserved concurrency.
        timeout_s: seconds an invocation may take.
        memory_mb: the function's memory.
        policy: what callers may run; by default `default_policy`.
        environment: further variables; a policy among them counts, too.
        bundle: the zip that ``odm package`` wrote; None for the function as it is installed here.

    Raises:
        MissingExtra: the local Lambda's packages are not installed.
        ValueError: AWS Lambda would not accept one of the values.
    """
    from transports.local_lambda import FunctionConfiguration

    variables = {**(environment or {}), URI_VARIABLE: mongodb_uri}
    if policy is not None:
        variables[POLICY_VARIABLE] = str(Path(policy).resolve()) if _is_file(policy) else policy
    variables.setdefault(POLICY_VARIABLE, default_policy(mongodb_uri))
    return FunctionConfiguration(
        name=NAME,
        handler=HANDLER,
        code=(bundle or Path(transports.__file__).parent.parent,),
        environment=variables,
        memory_size_mb=memory_mb,
        timeout_s=timeout_s,
        reserved_concurrency=concurrency,
    )


def policy_of_bundle(bundle: Path) -> str | None:
    """Return the policy that ``odm package --policy`` put into *bundle*, None without one.

    Raises:
        ValueError: it is no zip of ``odm package``.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            names = archive.namelist()
            if HANDLER.rpartition(".")[0].replace(".", "/") + ".py" not in names:
                raise ValueError(f"{str(bundle)!r} holds no DB proxy function: run odm package")
            if POLICY_FILE not in names:
                return None
            return archive.read(POLICY_FILE).decode("utf-8")
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(bundle)!r} cannot be read as a zip: {error}") from error


def _is_file(policy: str) -> bool:
    return policy.endswith(".json") and not policy.lstrip().startswith("{")


def default_policy(mongodb_uri: str) -> str:
    """Return the policy for this machine: the URI's database, or every one where it names none.

    There, tests make databases of their own (`odm.pytest_plugin`) and drop them.
    """
    from transports.lambda_invoke.function.policy import database_of

    return "readWrite" if database_of(mongodb_uri) else EVERY_DATABASE


def policy_in_force(function: FunctionConfiguration) -> str:
    """Return in a line what callers of *function* may run.

    Raises:
        ValueError: its policy is none; with what to write.
    """
    from transports.lambda_invoke.function.policy import Policy
    from transports.lambda_invoke.function.settings import FunctionSettings

    settings = FunctionSettings.from_environment(function.environment)
    return Policy.from_settings(settings).summary


def url(endpoint_url: str, database: str) -> str:
    """Return the ``lambda://`` URL of the function behind a local Lambda's endpoint."""
    endpoint = quote(endpoint_url, safe="")
    return f"lambda://{NAME}/{database}?region={REGION}&endpoint={endpoint}"
