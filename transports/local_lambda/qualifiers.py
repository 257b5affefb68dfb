"""Which function and version a request means.

Owns the forms ``name``, ``name:qualifier``, ``account:function:name`` and the full ARN.
Specification: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from transports.local_lambda.configuration import FunctionConfiguration
from transports.local_lambda.faults import ServiceError, invalid_parameter, not_found

_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_IDENTIFIER = re.compile(_PATTERN)
_QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9-_$]{1,128}")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose functions these are."""

    account_id: str
    region: str

    def arn(self, name: str, qualifier: str = "") -> str:
        """Return the function's ARN, qualified if a qualifier is given."""
        arn = f"arn:aws:lambda:{self.region}:{self.account_id}:function:{name}"
        return f"{arn}:{qualifier}" if qualifier else arn


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """The function and the qualifier that a request names; ``qualifier`` may be empty."""

    name: str
    qualifier: str


def parse_reference(identifier: str, qualifier: str, account: Account) -> FunctionReference:
    """Read the path's function identifier and the ``Qualifier`` parameter.

    Raises:
        ServiceError: malformed, contradictory, or of another account or region.
    """
    match = _IDENTIFIER.fullmatch(identifier) if len(identifier) <= 256 else None
    if match is None:
        raise _validation(identifier, "functionName", _PATTERN)
    if qualifier and not _QUALIFIER.fullmatch(qualifier):
        raise _validation(qualifier, "qualifier", r"(|[a-zA-Z0-9$_-]+)")
    region, account_id, name, embedded = match.group(3), match.group(5), match.group(7), match[9]
    if (region and region[:-1] != account.region) or (
        account_id and account_id[:-1] != account.account_id
    ):
        raise not_found(f"Function not found: {identifier}")
    if embedded and qualifier and embedded != qualifier:
        raise invalid_parameter(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return FunctionReference(name, embedded or qualifier)


def resolve_version(
    reference: FunctionReference, configuration: FunctionConfiguration, account: Account
) -> str:
    """Return the version that runs: ``$LATEST`` or a number.

    Raises:
        ServiceError: no such alias or version.
    """
    qualifier = reference.qualifier or "$LATEST"
    if qualifier in configuration.versions:
        return qualifier
    if qualifier in configuration.aliases:
        return configuration.aliases[qualifier]
    arn = account.arn(reference.name, qualifier)
    missing = "Function not found" if qualifier.isdecimal() else "Cannot find alias arn"
    raise not_found(f"{missing}: {arn}")


def _validation(value: str, member: str, pattern: str) -> ServiceError:
    return ServiceError(
        400,
        "ValidationException",
        f"1 validation error detected: Value '{value[:256]}' at '{member}' failed to satisfy "
        f"constraint: Member must satisfy regular expression pattern: {pattern}",
    )
