"""Configuration of the DB proxy function, from its environment variables.

=============================  =========  ========================================================
``ODM_PROXY_MONGODB_URI``      one of     where MongoDB is; no credentials needed with MONGODB-AWS
``ODM_PROXY_MONGODB_URI_SECRET``  these   secret of AWS Secrets Manager that holds the URI, a name
                                          or ARN, ``#key`` after it where it holds a JSON object
``ODM_PROXY_MONGODB_URI_PARAMETER`` three parameter of the SSM Parameter Store that holds it
``ODM_PROXY_MAX_POOL_SIZE``    4          connections per server and process, of which environments
                                          have one, on Managed Instances several
``ODM_PROXY_MAX_IDLE_TIME_MS`` 60000      idle connections are closed after this (Atlas's advice)
``ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS``  5000  how long to look for a server before saying so
``ODM_PROXY_CONNECT_AT_INIT``  true       connect to MongoDB before the first invocation
``ODM_PROXY_STAGING``          odm_proxy.staging  collection for bodies too large for one invoke
``ODM_PROXY_POLICY``           readWrite  what callers may run: a preset, JSON, or a .json file of
                                          the bundle (`function.policy`, docs/policy.md)
``ODM_PROXY_LOG_INVOCATIONS``  true       one line of JSON per invocation (docs/observability.md)
``ODM_PROXY_METRICS_NAMESPACE``  none     its numbers become metrics in this CloudWatch namespace
``ODM_PROXY_COMMENT``          true       commands name invoke, caller and trace in a ``comment``
=============================  =========  ========================================================

An option in the URI itself wins over its variable.

Source: "Manage Connections with AWS Lambda", MongoDB Atlas documentation
https://www.mongodb.com/docs/atlas/manage-connections-aws-lambda/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "ODM_PROXY_"
_MAX_MEMORY_MB = 10_240  # the most there is

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
_METRICS_NAMESPACE = re.compile(r"(?!AWS/)[0-9A-Za-z._/#:-]{1,255}")


class ConfigurationError(ValueError):
    """A variable is missing or wrong; the message says what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """The function's configuration.

    Attributes:
        mongodb_uri: where MongoDB is. Never printed.
        max_pool_size: connections per server and process; the connections a server sees are at
            most reserved concurrency x (max_pool_size + 1 for monitoring), on Managed Instances
            environments x processes x (max_pool_size + 1).
        max_idle_time_ms: idle connections are closed after this many milliseconds.
        server_selection_timeout_ms: how long a command waits for its server.
        connect_at_init: whether the first connection is made before the first invocation.
        staging: ``"database.collection"`` for bodies that are too large for one invoke.
        policy: a preset's name or a JSON object; ``""`` is the safe default.
        log_invocations: whether each invocation writes a line about its commands.
        metrics_namespace: where in CloudWatch metrics of it go; ``""`` for none.
        comment: whether commands without a ``comment`` get one.
        function_name: as AWS Lambda tells it; ``""`` elsewhere.
        memory_mb: what AWS Lambda gives the function; plenty elsewhere.
    """

    mongodb_uri: str = field(repr=False)
    max_pool_size: int = 4
    max_idle_time_ms: int = 60_000
    server_selection_timeout_ms: int = 5_000
    connect_at_init: bool = True
    staging: str = "odm_proxy.staging"
    policy: str = ""
    log_invocations: bool = True
    metrics_namespace: str = ""
    comment: bool = True
    function_name: str = ""
    memory_mb: int = _MAX_MEMORY_MB

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> FunctionSettings:
        """Read the settings from *environment*.

        Raises:
            ConfigurationError: a variable is missing or wrong, or the URI could not be read from
                where it is kept. What the policy says is read by `Policy.from_text`.
        """
        staging = environment.get(PREFIX + "STAGING", "").strip() or "odm_proxy.staging"
        if not all(staging.partition(".")):
            raise ConfigurationError(
                f"{PREFIX}STAGING must be database.collection, not {staging!r}"
            )
        return cls(
            mongodb_uri=_mongodb_uri(environment),
            staging=staging,
            policy=_policy(environment),
            connect_at_init=_flag(environment, "CONNECT_AT_INIT", default=True),
            max_pool_size=_positive(environment, "MAX_POOL_SIZE", 4),
            max_idle_time_ms=_positive(environment, "MAX_IDLE_TIME_MS", 60_000),
            server_selection_timeout_ms=_positive(
                environment, "SERVER_SELECTION_TIMEOUT_MS", 5_000
            ),
            log_invocations=_flag(environment, "LOG_INVOCATIONS", default=True),
            metrics_namespace=_metrics_namespace(environment),
            comment=_flag(environment, "COMMENT", default=True),
            function_name=environment.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            memory_mb=int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _MAX_MEMORY_MB)),
        )


def _mongodb_uri(environment: Mapping[str, str]) -> str:
    """Return the URI, read from where it is kept if it is given by reference."""
    sources = ("MONGODB_URI", "MONGODB_URI_SECRET", "MONGODB_URI_PARAMETER")
    given = {name: text for name in sources if (text := environment.get(PREFIX + name, "").strip())}
    if not given:
        raise ConfigurationError(
            f"set the environment variable {PREFIX}MONGODB_URI of the DB proxy function, "
            "e.g. to mongodb+srv://cluster0.example.mongodb.net/?authMechanism=MONGODB-AWS, or "
            f"{PREFIX}MONGODB_URI_SECRET or {PREFIX}MONGODB_URI_PARAMETER to the name of the "
            "secret or parameter that holds it"
        )
    if len(given) > 1:
        raise ConfigurationError(
            f"set one of {' and '.join(PREFIX + name for name in given)}, not both: the DB proxy "
            "function has one MongoDB URI"
        )
    [(name, text)] = given.items()
    if name == "MONGODB_URI":
        return text
    # With botocore, which a function that is given its URI does not load.
    from transports.lambda_invoke.function.references import read_parameter, read_secret

    return read_secret(text) if name == "MONGODB_URI_SECRET" else read_parameter(text)


def _policy(environment: Mapping[str, str]) -> str:
    """Return the policy's text, read from a file of the bundle where the variable names one."""
    text = environment.get(PREFIX + "POLICY", "").strip()
    if not text.endswith(".json"):
        return text
    path = Path(environment.get("LAMBDA_TASK_ROOT", ""), text)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{PREFIX}POLICY names the file {text!r}, which cannot be read: put it into the bundle"
        ) from error


def _metrics_namespace(environment: Mapping[str, str]) -> str:
    text = environment.get(PREFIX + "METRICS_NAMESPACE", "").strip()
    if text and not _METRICS_NAMESPACE.fullmatch(text):
        raise ConfigurationError(
            f"{PREFIX}METRICS_NAMESPACE must be 1 to 255 letters, digits and . - _ / # : and not "
            f"begin with AWS/, not {text[:80]!r}"
        )
    return text


def _flag(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(PREFIX + name, "").strip().lower()
    if text and text not in ("true", "false"):
        raise ConfigurationError(f"{PREFIX}{name} must be true or false, not {text!r}")
    return text == "true" if text else default


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(PREFIX + name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise ConfigurationError(f"{PREFIX}{name} must be a whole number above 0, not {text!r}")
    return int(text)
