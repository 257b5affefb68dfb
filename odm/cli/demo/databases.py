"""The demo's own databases: their names, and URLs that point at them instead."""

from __future__ import annotations

import secrets

from transports.url import TransportURL

PREFIX = "odm_demo_"


def new_name() -> str:
    """Return a database's name that nobody else uses."""
    return PREFIX + secrets.token_hex(6)


def with_database(url: TransportURL, database: str) -> str:
    """Return *url* with another database in it, credentials and options kept.

    A driver URL's database is also where its user is looked up: that stays what it was.
    """
    body, _, query = url.raw.partition("?")
    scheme, _, rest = body.partition("://")
    authority, _, former = rest.partition("/")
    # An SRV record may say where users are; it must not be overruled.
    keeps_users = "@" in authority and former and not url.scheme.endswith("+srv")
    if keeps_users and "authsource=" not in query.lower():
        query = f"{query}&authSource={former}".lstrip("&")
    return f"{scheme}://{authority}/{database}" + (f"?{query}" if query else "")
