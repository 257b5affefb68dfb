"""The URI that the DB proxy function connects to: given to it, or kept in a secret or a parameter.

One that is kept elsewhere is read only where the user says so, and its credentials go no further
than `uri_facts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from odm.cli.doctor.aws import Aws
from odm.cli.doctor.facts import KeptElsewhere, Unseen, UriFacts, known
from odm.cli.doctor.inspect_url import uri_facts

URI = "ODM_PROXY_MONGODB_URI"
SECRET = "ODM_PROXY_MONGODB_URI_SECRET"  # noqa: S105 - the name of a variable
PARAMETER = "ODM_PROXY_MONGODB_URI_PARAMETER"


def given_uri(variables: Mapping[str, str] | Unseen) -> UriFacts | Unseen:
    """Return the URI that the function connects to; one kept elsewhere is not read."""
    if isinstance(variables, Unseen):
        return variables
    if uri := variables.get(URI, "").strip():
        return uri_facts(uri, f"the function's {URI}")
    for name, what in ((SECRET, "secret"), (PARAMETER, "parameter")):
        if reference := variables.get(name, "").strip():
            return KeptElsewhere(
                f"the URI is in the {what} {reference!r}, which is read only with --read-uri"
            )
    return Unseen(f"the function has none of {URI}, {SECRET} and {PARAMETER}")


def read_uri(aws: Aws, variables: Mapping[str, str] | Unseen) -> UriFacts | Unseen:
    """Return the URI that the function connects to, read from where it is kept."""
    given = given_uri(variables)
    if not isinstance(given, KeptElsewhere) or isinstance(variables, Unseen):
        return given
    secret = variables.get(SECRET, "").strip()
    parameter = variables.get(PARAMETER, "").strip()

    def from_secret() -> str:
        name, _, key = secret.partition("#")
        text: str = aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return str(json.loads(text)[key]) if key else text

    def from_parameter() -> str:
        client = aws.client("ssm")
        answer = client.get_parameter(Name=parameter, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    where = f"the secret {secret!r}" if secret else f"the parameter {parameter!r}"
    try:
        uri = known(
            aws.ask(from_secret, "secretsmanager:GetSecretValue", apart=True)
            if secret
            else aws.ask(from_parameter, "ssm:GetParameter", apart=True)
        )
    except Unseen as unseen:
        return unseen
    except (KeyError, ValueError, TypeError):
        return Unseen(f"{where} holds no MongoDB URI under that key")
    return uri_facts(uri.strip(), where)
