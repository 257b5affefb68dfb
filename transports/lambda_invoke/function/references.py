"""The MongoDB URI by reference: read from AWS Secrets Manager or the SSM Parameter Store.

The function reads it itself, with its role, when it initialises. (A dynamic reference of
CloudFormation's would put the secret into the function's configuration, where everybody who may
look at functions reads it.) Owns the two requests and what their failures mean in words; knows
nothing of the other settings. Imported only where a reference is used, and with it botocore, which
is part of AWS's runtimes: the bundle does not bring it.

Spec: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html,
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transports.lambda_invoke.function.settings import PREFIX, ConfigurationError

SECRET = PREFIX + "MONGODB_URI_SECRET"
PARAMETER = PREFIX + "MONGODB_URI_PARAMETER"

_METHODS = {"GetSecretValue": "get_secret_value", "GetParameter": "get_parameter"}
_SCHEMES = ("mongodb://", "mongodb+srv://")
# Lambda ends an initialisation after 10 s: say before that what is wrong.
_CONNECT_S = 2.0
_READ_S = 2.0
_ATTEMPTS = 2
_ADVICE = {
    "ResourceNotFoundException": "there is none of that name in this account and region",
    "ParameterNotFound": "there is none of that name in this account and region",
    "AccessDeniedException": "the function's role may not: it needs {action} on it, and kms:Decrypt"
    " on its key where that is your own",
    "DecryptionFailure": "its key did not decrypt it: the function's role needs kms:Decrypt on it",
    "InvalidRequestException": "it is scheduled for deletion, or has no value yet",
    "InvalidKeyId": "its key cannot be used: it is disabled, or the role needs kms:Decrypt on it",
}


def read_secret(reference: str) -> str:
    """Return the URI that a secret of AWS Secrets Manager holds.

    Args:
        reference: name or ARN of the secret; with ``#key``, the URI is the text under that key of
            the JSON object that the secret holds.

    Raises:
        ConfigurationError: it cannot be read, or holds no URI. Never quotes what it holds.
    """
    name, _, key = reference.partition("#")
    what = f"the secret {name!r} ({SECRET})"
    reply = _ask("secretsmanager", "GetSecretValue", {"SecretId": name}, what)
    text = reply.get("SecretString")
    if not isinstance(text, str):
        raise ConfigurationError(f"{what} holds bytes: store the URI as text")
    if key:
        return _uri(_member(text, key, what), f"{key!r} of {what}")
    if text.lstrip().startswith("{"):
        raise ConfigurationError(
            f"{what} holds a JSON object: name the key that holds the URI, as in {name}#uri"
        )
    return _uri(text, what)


def read_parameter(reference: str) -> str:
    """Return the URI that a parameter of the SSM Parameter Store holds.

    Args:
        reference: name or ARN of the parameter, a ``SecureString`` or a ``String``.

    Raises:
        ConfigurationError: it cannot be read, or holds no URI. Never quotes what it holds.
    """
    what = f"the parameter {reference!r} ({PARAMETER})"
    reply = _ask("ssm", "GetParameter", {"Name": reference, "WithDecryption": True}, what)
    return _uri(reply["Parameter"]["Value"], what)


def _ask(service: str, operation: str, parameters: Mapping[str, Any], what: str) -> dict[str, Any]:
    try:
        from botocore.config import Config
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
        )
        from botocore.session import Session
    except ImportError as error:
        raise ConfigurationError(
            f"{what} is read with botocore, which is part of AWS's Python runtimes and is missing "
            "here: pip install botocore"
        ) from error

    try:
        client = Session().create_client(
            service,
            config=Config(
                connect_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            ),
        )
        try:
            reply: dict[str, Any] = getattr(client, _METHODS[operation])(**parameters)
            return reply
        finally:
            client.close()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "Unknown")
        advice = _ADVICE.get(code, "")
        why = advice.format(action=f"{service}:{operation}") if advice else "AWS refused"
        raise ConfigurationError(f"{what} could not be read: {why} ({code})") from error
    except (ConnectionError, HTTPClientError) as error:
        raise ConfigurationError(
            f"{what} could not be read: {service} was not reached ({type(error).__name__}); a "
            f"function in a VPC needs an interface endpoint for {service} or a NAT gateway, and a "
            "security group that lets it out to port 443"
        ) from error
    except BotoCoreError as error:  # no region, no credentials, a name that none can be
        raise ConfigurationError(f"{what} could not be read: {error}") from error


def _member(text: str, key: str, what: str) -> str:
    try:
        held = json.loads(text)
    except ValueError:
        # Not `from error`: it carries the document.
        raise ConfigurationError(f"{what} holds no JSON, so nothing under {key!r}") from None
    value = held.get(key) if isinstance(held, dict) else None
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} holds no text under {key!r}")
    return value


def _uri(text: str, what: str) -> str:
    uri = text.strip()
    if not uri.startswith(_SCHEMES):
        raise ConfigurationError(f"{what} does not hold a MongoDB URI: mongodb+srv://…")
    return uri
