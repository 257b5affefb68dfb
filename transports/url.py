"""Transport URLs: which way commands travel, and to which database.

========================================================  =======================================
``mongodb://…``, ``mongodb+srv://…``                       direct, PyMongo Async
``motor+mongodb://…``, ``motor+mongodb+srv://…``           direct, over Motor
``lambda://<function>[:<qualifier>]/<database>?region=…``  AWS Lambda Invoke of the DB proxy
``fake://[<name>]/<database>``                             in memory, in this process
``embedded://[<name>]/<database>``                         a private ``mongod``
========================================================  =======================================

This module parses and redacts; it connects to nothing and imports no driver.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

from transports.errors import InvalidURL

DEFAULT_DATABASE = "test"
"""The database of a URL that names none; MongoDB's own default."""

_EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "mongodb": "mongodb://localhost:27017/cms",
        "mongodb+srv": "mongodb+srv://cluster0.example.mongodb.net/cms",
        "motor+mongodb": "motor+mongodb://localhost:27017/cms",
        "motor+mongodb+srv": "motor+mongodb+srv://cluster0.example.mongodb.net/cms",
        "lambda": "lambda://db-proxy:live/cms?region=eu-central-1",
        "fake": "fake:///cms",
        "embedded": "embedded:///cms",
    }
)
SCHEMES: tuple[str, ...] = tuple(_EXAMPLES)

_DRIVER_SCHEMES = ("mongodb", "mongodb+srv", "motor+mongodb", "motor+mongodb+srv")
# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
_BAD_DATABASE = re.compile(r'[/\\. "$*<>:|?\x00]')
_WORD = re.compile(r"\S+")
# In prose, a bracket or a quotation mark may stand before it.
_SCHEME = re.compile(r"[(\[<'\"]*[A-Za-z][A-Za-z0-9+.-]*:/{1,2}")
# One host of a driver's URI; an unescaped password looks like no host.
_HOST = re.compile(r"[^:@\[\]]+(:\d{1,5})?|\[[^\[\]@]+\](:\d{1,5})?")
_SECRET_OPTION = re.compile(
    r"(?i)\b(authMechanismProperties|tlsCertificateKeyFilePassword|sslPEMPassphrase"
    r"|proxyPassword|password)=[^&]*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportURL:
    """A parsed transport URL.

    Attributes:
        scheme: one of `SCHEMES`.
        raw: the URL as given, credentials included: never log it, use `redacted`.
        target: what stands between ``://`` and the database: hosts for a driver URL, the function
            (name or ARN, with its qualifier) for ``lambda``, a name or ``""`` for the others.
        database: the database, `DEFAULT_DATABASE` where the URL names none.
        options: the query string, for the schemes of our own; a driver URL's stays in `raw`.
    """

    scheme: str
    raw: str = field(repr=False)
    target: str
    database: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def driver_uri(self) -> str:
        """The ``mongodb://`` or ``mongodb+srv://`` URI that the driver understands."""
        return self.raw.removeprefix("motor+")

    @property
    def redacted(self) -> str:
        """The URL without its credentials, for messages and logs."""
        return redact_url(self.raw)

    def __str__(self) -> str:
        return self.redacted


def redact(text: str) -> str:
    """Return *text* with the credentials of any URL in it replaced by ``***``."""
    without = _WORD.sub(_without_credentials, text) if "@" in text else text
    return _SECRET_OPTION.sub(lambda m: f"{m.group(1)}=***", without)


def _without_credentials(word: re.Match[str]) -> str:
    # To the last "@": a password whose "/", "?" or "@" was not escaped must not be shown either.
    before, at, after = word.group().rpartition("@")
    if not at or ":" not in before:
        return word.group()
    scheme = _SCHEME.match(before)
    return f"{scheme.group() if scheme else ''}***@{after}"


def redact_url(url: str) -> str:
    """Return *url* without its credentials, even where blanks in them were not escaped."""
    return redact("%20".join(url.split()))


def parse_url(url: str, *, options: Iterable[str] | None = None) -> TransportURL:
    """Parse a transport URL.

    Args:
        url: see the table at the top of this module.
        options: the names of the options that the transport understands; others are refused.
            None leaves them unchecked. Driver URLs are checked by the driver.

    Raises:
        InvalidURL: with the closest thing that would have been right.
    """
    if not url.strip():
        raise InvalidURL(f"expected a URL such as {_EXAMPLES['mongodb']!r}, got {url!r}")
    url = url.strip()
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise InvalidURL(
            f"{redact_url(url)!r} has no scheme: write {_EXAMPLES['mongodb']!r}, or one of "
            + ", ".join(f"{name}://" for name in SCHEMES)
        )
    if scheme not in _EXAMPLES:
        close = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"did you mean {_EXAMPLES[close[0]]!r}?" if close else ""
        raise InvalidURL(
            f"unknown scheme {scheme!r} in {redact_url(url)!r}; {hint}"
            f" known: {', '.join(f'{name}://' for name in SCHEMES)}".replace(";  ", "; ")
        )
    if scheme in _DRIVER_SCHEMES:
        return _parse_driver_url(scheme, scheme + separator + rest)
    return _parse_own_url(scheme, url, options)


def _parse_driver_url(scheme: str, url: str) -> TransportURL:
    body = url.split("://", 1)[1].partition("?")[0]
    hosts, _, database = body.partition("/")
    hosts = hosts.rpartition("@")[2]
    if not hosts:
        raise InvalidURL(f"{redact_url(url)!r} names no host: write {_EXAMPLES[scheme]!r}")
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise InvalidURL(
            f"{redact_url(url)!r} names a host that is none: write {_EXAMPLES[scheme]!r}, and "
            "escape a user name and password with urllib.parse.quote_plus()"
        )
    return TransportURL(
        scheme=scheme,
        raw=url,
        target=hosts,
        database=_checked_database(unquote(database) or DEFAULT_DATABASE, url, scheme),
    )


def _parse_own_url(scheme: str, url: str, known: Iterable[str] | None) -> TransportURL:
    try:
        parts = urlsplit(url)
    except ValueError as error:  # brackets that are not an IPv6 address
        raise InvalidURL(f"{redact_url(url)!r}: {error}; write {_EXAMPLES[scheme]!r}") from error
    # The name of a function may be an ARN, whose colons are not a port: netloc, never .hostname.
    target, path = unquote(parts.netloc), unquote(parts.path).strip("/")
    if scheme == "lambda" and not target:
        raise InvalidURL(f"{redact_url(url)!r} names no function: write {_EXAMPLES[scheme]!r}")
    if "@" in target:
        raise InvalidURL(
            f"{redact_url(url)!r} carries credentials, which {scheme}:// has no use for: "
            f"write {_EXAMPLES[scheme]!r}"
        )
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        raise InvalidURL(f"{redact_url(url)!r} gives an option twice")
    if known is not None:
        check_options(options, known, url)
    return TransportURL(
        scheme=scheme,
        raw=url,
        target=target,
        database=_checked_database(path or DEFAULT_DATABASE, url, scheme),
        options=MappingProxyType(options),
    )


def check_options(options: Iterable[str], known: Iterable[str], url: str) -> None:
    """Refuse options that are not in *known*, naming the closest that is.

    Raises:
        InvalidURL: an option is unknown.
    """
    names = list(known)
    for option in options:
        if option in names:
            continue
        close = difflib.get_close_matches(option, names, n=1)
        raise InvalidURL(
            f"unknown option {option!r} in {redact_url(url)!r}"
            + (f"; did you mean {close[0]!r}?" if close else ".")
            + (f" Known: {', '.join(sorted(names))}." if names else " It takes no options.")
        )


def _checked_database(name: str, url: str, scheme: str) -> str:
    bad = _BAD_DATABASE.search(name)
    if bad or len(name.encode()) > 63:
        reason = f"{bad.group()!r} is not allowed in it" if bad else "it is longer than 63 bytes"
        raise InvalidURL(
            f"{name!r} in {redact_url(url)!r} cannot be a database's name: {reason}; "
            f"write for example {_EXAMPLES[scheme]!r}"
        )
    return name
