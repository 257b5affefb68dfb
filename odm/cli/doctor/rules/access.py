"""Rules about who may do what: credentials, the function's policy, and who may invoke it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from odm.cli.doctor.changes import command, set_variables, with_iam
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
from odm.cli.doctor.rules.sources import (
    ATLAS,
    ATLAS_IAM,
    DOCS_POLICY,
    IAM_KEYS,
    LAMBDA_PERMISSIONS,
    LAMBDA_URLS,
    LAMBDA_VARIABLES,
    LEAST_PRIVILEGE,
)
from transports.lambda_invoke.function.policy import Policy, PolicyError

_IAM = "MONGODB-AWS"
_IAM_SINCE = (5, 0)
_SECRET_NAME = re.compile(r"(?i)passw|secret|token|credential|private_?key|api_?key|access_?key")
_REFERENCE_NAME = re.compile(r"(?i)(_arn|_name|_id|_path|_file|_ttl|_parameter|_url)$")
_CREDENTIALS_IN_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
_AWS_KEY = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")
_BROAD = re.compile(
    r"^(root|dbOwner|dbAdmin|userAdmin|clusterAdmin|clusterManager|hostManager|atlasAdmin|__system"
    r"|\w+AnyDatabase|backup|restore)@"
)


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
    fix = Fix(Change.URL, with_iam(uri))
    return problem(saw, fix) if reading.is_lambda_caller(facts) else warning(saw, fix)


def _without_credentials(facts: Facts, uri: UriFacts) -> tuple[Fix, ...]:
    fixes = []
    if _iam_possible(facts, uri):
        fixes = [Fix(Change.URI, f"{uri.where}: {with_iam(uri)}")]
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
)
def _credentials_in_environment(facts: Facts) -> Verdict | None:
    suspicious = sorted(
        name
        for name, value in reading.variables(facts).items()
        if name != "ODM_PROXY_MONGODB_URI" and _holds_credentials(name, value)
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
    where = Change.URI if facts.kind is Kind.LAMBDA else Change.URL
    return warning(f"{uri.where} uses {how} where AWS IAM is possible", Fix(where, with_iam(uri)))


def _iam_possible(facts: Facts, uri: UriFacts) -> bool | None:
    """Return whether the deployment takes AWS IAM: Atlas from 5.0; None if it is not known."""
    atlas = all(host.endswith(".mongodb.net") for host in uri.hosts)
    if isinstance(facts.server, Unseen) or isinstance(facts.server.build, Unseen):
        return True if atlas else None
    version = tuple(facts.server.build.get("versionArray", ()))[:2]
    if not version:
        return True if atlas else None
    return atlas and version >= _IAM_SINCE


@rule(
    "database-user",
    "The user of the database may do no more than it must",
    why="The function's policy is one lock, the user's roles are the other: whoever gets past the "
    "first, or connects directly, is held by the second.",
    source=LEAST_PRIVILEGE,
    kinds=EVERY_KIND,
)
def _database_user(facts: Facts) -> Verdict | None:
    roles = known(reading.server(facts).roles)
    if roles is None:
        if reading.is_local(facts):
            return ok("a server on the same machine, without users")
        return problem(
            "the server asks nobody who they are",
            Fix(Change.COMMAND, "mongod --auth …  # after creating a user with readWrite"),
        )
    broad = [role for role in roles if _BROAD.match(role)]
    if broad:
        database = facts.url.database
        return warning(
            f"the user has {', '.join(broad)}",
            Fix(
                Change.CODE,
                f'db.updateUser("<user>", {{roles: [{{role: "readWrite", db: "{database}"}}, '
                '{role: "readWrite", db: "odm_proxy"}]})  // in mongosh',
            ),
        )
    return ok(f"the user has {', '.join(roles) or 'no role'}")


@rule(
    "policy",
    "The function's policy says what callers may run",
    why="Whoever may invoke the function runs commands with its user: the policy holds them to "
    "databases, commands, stages and operators.",
    source=DOCS_POLICY,
)
def _policy(facts: Facts) -> Verdict | None:
    text = reading.variables(facts).get("ODM_PROXY_POLICY", "").strip()
    if text == "unrestricted":
        return problem(
            "ODM_PROXY_POLICY is unrestricted: every command passes, unlooked at",
            *set_variables(facts, {"ODM_PROXY_POLICY": "readWrite"}),
        )
    if text.endswith(".json") and not text.startswith("{"):
        raise Unseen(f"ODM_PROXY_POLICY is the file {text!r} of the bundle, which is not read")
    database = _database(facts, text)
    try:
        stated = Policy.from_text(text, mongodb_uri=f"mongodb://x/{database}")
    except PolicyError as error:
        return problem(
            f"ODM_PROXY_POLICY is no policy, and the function does not start: {error}",
            *set_variables(facts, {"ODM_PROXY_POLICY": "readWrite"}),
        )
    named = "ODM_PROXY_POLICY" if text else "ODM_PROXY_POLICY is not set: the default"
    if not database and "databases" not in text:
        return problem(
            f"{named} allows the URI's database, and the URI names none: everything is refused",
            Fix(Change.URI, f"name the database in the URI: mongodb+srv://…/{facts.url.database}"),
        )
    if "JavaScript" in stated.summary or "*" in _databases(stated.summary):
        return warning(f"ODM_PROXY_POLICY allows {stated.summary}")
    return ok(f"{named}, {stated.summary}")


def _database(facts: Facts, text: str) -> str:
    """Return the URI's database; a URI that is kept elsewhere is taken to name one."""
    if isinstance(facts.uri, Unseen):
        return "" if "databases" in text else "(the URI's)"
    return "" if facts.uri.database == "admin" else facts.uri.database or ""


def _databases(summary: str) -> list[str]:
    return re.split(r"[ ,]+", summary)


@rule(
    "resource-policy",
    "The function's resource policy lets nobody in by accident",
    why="Who may invoke the function may read and write the database. The principal * without a "
    "condition is everybody with an AWS account.",
    source=LAMBDA_PERMISSIONS,
)
def _resource_policy(facts: Facts) -> Verdict | None:
    statements = known(reading.function(facts).policy)
    for statement in statements:
        if statement.get("Effect") == "Allow" and _anybody(statement):
            sid = statement.get("Sid", "<statement>")
            return problem(
                f"statement {sid!r} lets everybody {statement.get('Action', 'invoke')}",
                command(facts, f"remove-permission --statement-id {sid}"),
            )
    if not statements:
        return ok("none: identities of this account, by their own policies")
    return ok(f"{len(statements)} statements, each with a principal or a condition")


def _anybody(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    named = principal.get("AWS") if isinstance(principal, Mapping) else principal
    return (named == "*" or (isinstance(named, list) and "*" in named)) and not statement.get(
        "Condition"
    )


@rule(
    "function-url",
    "The function has no URL that anybody may call",
    why="A function URL with AuthType NONE runs database commands for the whole internet; the "
    "transport needs no function URL.",
    source=LAMBDA_URLS,
)
def _function_url(facts: Facts) -> Verdict | None:
    auth = known(reading.function(facts).url_auth)
    if auth is None:
        return ok("the function has no URL of its own")
    if auth == "NONE":
        return problem(
            "the function has a URL with AuthType NONE",
            command(facts, "delete-function-url-config"),
        )
    return ok(f"the function's URL asks for {auth}")


RULES = (
    _credentials_in_uri,
    _credentials_in_environment,
    _long_term_keys,
    _iam_authentication,
    _database_user,
    _policy,
    _resource_policy,
    _function_url,
)
