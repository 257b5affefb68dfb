"""Rules about who may do what: the database's user, the function's policy, its callers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from odm.cli.doctor.changes import command, set_variables
from odm.cli.doctor.facts import Facts, Unseen, known
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
    DOCS_POLICY,
    LAMBDA_PERMISSIONS,
    LAMBDA_URLS,
    LEAST_PRIVILEGE,
)
from transports.lambda_invoke.function.policy import Policy, PolicyError

_BROAD = re.compile(
    r"^(root|dbOwner|dbAdmin|userAdmin|clusterAdmin|clusterManager|hostManager|atlasAdmin|__system"
    r"|\w+AnyDatabase|backup|restore)@"
)


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
        known(reading.server(facts).status)  # refused: the server does ask, and the URI has no user
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
        narrower = {"ODM_PROXY_POLICY": _narrower(text, facts.url.database)}
        return warning(f"ODM_PROXY_POLICY allows {stated.summary}", *set_variables(facts, narrower))
    return ok(f"{named}, {stated.summary}")


def _database(facts: Facts, text: str) -> str:
    """Return the URI's database; a URI that is kept elsewhere is taken to name one."""
    if isinstance(facts.uri, Unseen):
        return "" if "databases" in text else "(the URI's)"
    return "" if facts.uri.database == "admin" else facts.uri.database or ""


def _narrower(policy: str, database: str) -> str:
    """Return a JSON policy without JavaScript, and for one database where it is for all."""
    fields = json.loads(policy)
    fields.pop("javaScript", None)
    if "*" in fields.get("databases", ()):
        fields["databases"] = [database]
    return json.dumps(fields) if fields else "readWrite"


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
    _database_user,
    _policy,
    _resource_policy,
    _function_url,
)
