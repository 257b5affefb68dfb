"""Rules about credentials: where they stand, and that there need be none."""

from __future__ import annotations

import re

from odm.cli.doctor.changes import set_variables, uri_edit, with_iam
from odm.cli.doctor.facts import Facts, KeptElsewhere, Kind, Unseen, UriFacts, known
from odm.cli.doctor.rule import (
    EVERY_KIND,
    Change,
    Fix,
    Verdict,
    ok,
    problem,
    rule,
    warning,
)
from odm.cli.doctor.rules import reading
from odm.cli.doctor.rules.sources import ATLAS, ATLAS_IAM, IAM_KEYS, LAMBDA_VARIABLES

_IAM = "MONGODB-AWS"
# The URIs have a rule of their own; the rest is the role's, which AWS Lambda sets.
_JUDGED = (
    "ODM_PROXY_MONGODB_URI",
    "ODM_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_IAM_SINCE = (5, 0)
_SECRET_NAME = re.compile(r"(?i)passw|secret|token|credential|private_?key|api_?key|access_?key")
_REFERENCE_NAME = re.compile(r"(?i)(_arn|_name|_id|_path|_file|_ttl|_parameter|_url)$")
_CREDENTIALS_IN_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
_AWS_KEY = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")


@rule(
    "credentials-in-uri",
    "No credentials stand in the MongoDB URI",
    why="What stands in an environment variable is seen by everybody who may look at the "
    "function's configuration, and by whatever prints the environment.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _credentials_in_uri(facts: Facts) -> Verdict | None:
    if isinstance(facts.uri, KeptElsewhere):
        return ok(facts.uri.reason)
    uri = known(facts.uri)
    if not uri.secrets:
        return ok(f"{uri.where} holds no credentials")
    if facts.kind is Kind.LAMBDA and not reading.variables(facts).get("ODM_PROXY_MONGODB_URI"):
        return ok(f"{uri.where} holds {', '.join(uri.secrets)}, and no variable does")
    saw = f"{uri.where} holds {', '.join(uri.secrets)}"
    if facts.kind is Kind.DIRECT and reading.is_local(facts):
        return ok(saw + ", for a server on this machine")
    if facts.kind is Kind.LAMBDA:
        return problem(saw, *_without_credentials(facts, uri))
    fix = Fix(
        Change.CODE,
        "read the URL from AWS Secrets Manager when the process starts, not from its environment",
    )
    if _iam_possible(facts, uri):
        fix = uri_edit(facts, uri, with_iam)
    return problem(saw, fix) if reading.is_lambda_caller(facts) else warning(saw, fix)


def _without_credentials(facts: Facts, uri: UriFacts) -> tuple[Fix, ...]:
    fixes = []
    if _iam_possible(facts, uri):
        fixes = [uri_edit(facts, uri, with_iam)]
    name = "db-proxy/mongodb-uri"
    return (
        *fixes,
        Fix(
            Change.COMMAND,
            f"aws secretsmanager create-secret --name {name} --secret-string file://uri.txt",
        ),
        *set_variables(
            facts,
            {"ODM_PROXY_MONGODB_URI_SECRET": name},
            remove=("ODM_PROXY_MONGODB_URI",),
        ),
    )


@rule(
    "credentials-in-environment",
    "No other variable of the function holds credentials",
    why="Credentials in a function's configuration are viewable by anyone who can access the "
    "AWS Lambda environment.",
    source=LAMBDA_VARIABLES,
    kinds=EVERY_KIND,
)
def _credentials_in_environment(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    suspicious = sorted(
        name
        for name, value in reading.variables(facts).items()
        if name not in _JUDGED and _holds_credentials(name, value)
    )
    if not suspicious:
        return ok("none, as far as names and values tell")
    return warning(
        f"these look like credentials: {', '.join(suspicious)}",
        *set_variables(facts, {}, remove=tuple(suspicious)),
    )


def _holds_credentials(name: str, value: str) -> bool:
    if _CREDENTIALS_IN_URL.search(value) or _AWS_KEY.search(value):
        return True
    if name.startswith("ODM_PROXY_") or _REFERENCE_NAME.search(name):
        return False
    if not value or value.startswith("arn:") or value.lower() in ("true", "false"):
        return False
    return bool(_SECRET_NAME.search(name))


@rule(
    "long-term-keys",
    "The application signs with temporary credentials",
    why="A long-term access key in an environment is valid until somebody revokes it; a role's "
    "credentials end by themselves.",
    source=IAM_KEYS,
)
def _long_term_keys(facts: Facts) -> Verdict | None:
    given = known(facts.environment.variables).get("AWS_ACCESS_KEY_ID", "")
    if given.startswith("AKIA"):
        return warning(
            f"AWS_ACCESS_KEY_ID in {facts.environment.where} is a long-term key",
            Fix(
                Change.VARIABLE,
                "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY  # and use a role: a function's, "
                "a machine's, or a profile of IAM Identity Center",
            ),
        )
    return ok(f"no long-term key in {facts.environment.where}")


@rule(
    "iam-authentication",
    "AWS IAM authenticates the function (MONGODB-AWS)",
    why="The role's own temporary credentials need no password to be kept, shared or rotated. "
    "Atlas offers it from MongoDB 5.0.",
    source=ATLAS_IAM,
    kinds=EVERY_KIND,
)
def _iam_authentication(facts: Facts) -> Verdict | None:
    uri = known(facts.uri)
    if uri.mechanism == _IAM:
        return ok(f"{uri.where} says authMechanism={_IAM}")
    if facts.kind is Kind.DIRECT and reading.is_local(facts):
        return None
    how = uri.mechanism or "no authentication"
    possible = _iam_possible(facts, uri)
    if possible is None:
        raise Unseen(
            f"{uri.where} uses {how}; whether its deployment takes AWS IAM is not known: "
            "Atlas does from MongoDB 5.0"
        )
    if not possible:
        return ok(f"{how}: this deployment offers no AWS IAM authentication")
    fix = uri_edit(facts, uri, with_iam)
    return warning(f"{uri.where} uses {how} where AWS IAM is possible", fix)


def _iam_possible(facts: Facts, uri: UriFacts) -> bool | None:
    """Return whether the deployment takes AWS IAM: Atlas from 5.0; None if it is not known."""
    atlas = all(host.endswith(".mongodb.net") for host in uri.hosts)
    if isinstance(facts.server, Unseen) or isinstance(facts.server.build, Unseen):
        return True if atlas else None
    version = tuple(facts.server.build.get("versionArray", ()))[:2]
    if not version:
        return True if atlas else None
    return atlas and version >= _IAM_SINCE


RULES = (
    _credentials_in_uri,
    _credentials_in_environment,
    _long_term_keys,
    _iam_authentication,
)
