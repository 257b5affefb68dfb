"""A URL, taken apart: its kind, its options, and what a ``mongodb://`` URI says of a connection.

No name is looked up and no secret is kept: the values of secret options are dropped here.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from odm.cli.doctor.facts import Kind, Unseen, UriFacts
from transports.errors import InvalidURL
from transports.lambda_invoke.options import LambdaOptions
from transports.url import TransportURL, parse_url

_KINDS = {"lambda": Kind.LAMBDA, "fake": Kind.LOCAL, "embedded": Kind.LOCAL}
# https://www.mongodb.com/docs/manual/reference/connection-string-options/
_SECRET_OPTIONS = ("tlscertificatekeyfilepassword", "sslpempassphrase", "proxypassword")
_PROPERTIES = "authmechanismproperties"


def kind_of(url: TransportURL) -> Kind:
    """Return what *url* leads through."""
    return _KINDS.get(url.scheme, Kind.DIRECT)


def lambda_options(url: TransportURL) -> LambdaOptions | None:
    """Return the options of a ``lambda://`` URL, None for others.

    Raises:
        InvalidURL: an option is unknown or wrong.
    """
    return LambdaOptions.from_url(url) if url.scheme == "lambda" else None


def uri_facts(uri: str, where: str) -> UriFacts | Unseen:
    """Return what a driver's URI says; *where* names what holds it."""
    try:
        parsed = parse_url(uri)
    except InvalidURL as error:
        return Unseen(f"{where} is no MongoDB URI: {error}")
    if kind_of(parsed) is not Kind.DIRECT:
        return Unseen(f"{where} is no MongoDB URI, but {parsed.redacted!r}")
    body, _, query = parsed.driver_uri.partition("://")[2].partition("?")
    authority, _, database = body.partition("/")
    credentials = authority.rpartition("@")[0]
    options = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    secrets = ["password"] if ":" in credentials else []
    secrets += [name for name in _SECRET_OPTIONS if options.get(name)]
    if "aws_session_token" in options.get(_PROPERTIES, "").lower():
        secrets.append("AWS_SESSION_TOKEN in authMechanismProperties")
    hidden = {*_SECRET_OPTIONS, _PROPERTIES}
    return UriFacts(
        where=where,
        srv="+srv" in parsed.scheme,
        hosts=tuple(_host(text) for text in parsed.target.split(",")),
        user=bool(credentials),
        secrets=tuple(secrets),
        database=unquote(database) or None,
        options={name: "" if name in hidden else value for name, value in options.items()},
        redacted=parsed.redacted,
    )


def _host(text: str) -> str:
    text = unquote(text)
    if text.startswith("/"):
        return text
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].lower()
