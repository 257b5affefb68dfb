"""What the function remembers of views, in bounded memory, and how long it asks for them."""

from __future__ import annotations

import time
from typing import Any, cast

import bson
import pytest

from transports.lambda_invoke.function import views
from transports.lambda_invoke.function.executor import Executor
from transports.lambda_invoke.function.views import ViewCatalog


class Server:
    """An executor whose server has views, the larger the longer their names."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.timeouts_s: list[float] = []

    def run(self, server: str, message: bytes, *, timeout_s: float) -> bytes:
        name = bson.decode(message[5:])["filter"]["name"]
        self.asked.append(name)
        self.timeouts_s.append(timeout_s)
        kilobytes = int(name.partition(".")[2] or 0)
        options = {"viewOn": "a", "pipeline": [{"$match": {"a": bytes(kilobytes * 1000)}}]}
        batch = [{"name": name, "type": "view", "options": options}] if kilobytes else []
        return bson.encode({"cursor": {"firstBatch": batch}, "ok": 1.0})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def catalog(server: Server) -> ViewCatalog:
    return ViewCatalog(cast(Executor, server))


def test_what_is_asked_twice_is_answered_once(server: Server, catalog: ViewCatalog) -> None:
    at = catalog.at("h:1", 5)
    first = at.definition("cms", "view.1")
    assert first is not None
    assert bson.decode(first)["viewOn"] == "a"
    assert at.definition("cms", "view.1") == first
    assert at.definition("cms", "none") is at.definition("cms", "none") is None
    assert server.asked == ["view.1", "none"]


def test_large_definitions_do_not_pile_up(server: Server, catalog: ViewCatalog) -> None:
    at = catalog.at("h:1", 5)
    for i in range(20):
        assert at.definition("cms", f"v{i}.300") is not None
        held = [len(found or b"") for _, found in catalog.remembered.values()]
        assert sum(held) == catalog.remembered_bytes <= views.MAX_REMEMBERED_BYTES
    assert at.definition("cms", "v.2000") is not None
    assert ("cms", "v.2000") not in catalog.remembered


def test_nor_do_many(server: Server, catalog: ViewCatalog) -> None:
    at = catalog.at("h:1", 5)
    for i in range(2 * views.MAX_REMEMBERED):
        at.definition("cms", f"c{i}")
        assert len(catalog.remembered) <= views.MAX_REMEMBERED


def test_all_questions_of_a_command_share_its_time(
    server: Server, catalog: ViewCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: list[Any] = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    at = catalog.at("h:1", 5)
    for seconds in (0.0, 3.0, 3.0):
        clock[0] += seconds
        at.definition("cms", f"c{clock[0]}")
    assert server.timeouts_s == [5.0, 2.0, 0.001]
