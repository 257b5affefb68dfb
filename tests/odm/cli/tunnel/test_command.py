from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from transports.url import parse_url

OdmHere = Callable[..., Any]


@pytest.mark.parametrize(
    "listen", ["27018", "0.0.0.0:27018", "/tmp/UPPER.sock", "relative.sock", "127.0.0.1:x"]
)
def test_an_address_that_cannot_be_is_wrong_usage(odm_here: OdmHere, listen: str) -> None:
    ran = odm_here("tunnel", "fake:///cms", "--listen", listen)
    assert ran.code == 2
    assert listen in ran.err
    assert ran.out == ""


def test_what_drivers_reach_directly_needs_no_tunnel(odm_here: OdmHere, mongod_uri: str) -> None:
    ran = odm_here("tunnel", mongod_uri)
    assert ran.code == 0
    assert ran.out == mongod_uri.replace("/?", "/test?") + "\n"
    assert "directly" in ran.err


def test_a_port_that_is_taken_is_told(odm_here: OdmHere, mongod_uri: str) -> None:
    taken = parse_url(mongod_uri).target
    ran = odm_here("tunnel", "fake:///cms", "--listen", taken)
    assert ran.code == 3
    assert f"cannot listen on {taken}" in ran.err


@pytest.mark.parametrize("where", ["127.0.0.1:0", "{directory}/cms.sock"])
def test_any_driver_reaches_the_url_through_the_tunnel(watched: Any, where: str) -> None:
    watched.start(
        "tunnel", "fake:///cms", "--listen", where.format(directory=watched.directory), "--json"
    )
    opening = [watched.wait_for("{", on="stdout")]
    while opening[-1] != "}\n":
        opening.append(watched.wait_for("", on="stdout"))
    uri = json.loads("".join(opening))["uri"]
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(uri) as client:
        database: Database[dict[str, Any]] = client.get_default_database()
        assert database.name == "cms"
        database.pages.insert_many([{"n": number} for number in range(300)])
        assert [page["n"] for page in database.pages.find().batch_size(50)] == list(range(300))
    watched.signal(signal.SIGINT)
    ran = watched.finish()
    assert ran.code == 130
    assert "closed after" in ran.err
    assert watched.left_behind() == []
