from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from odm.cli.console import Console
from odm.cli.demo import places as module
from odm.cli.demo.places import Place, Places, Skipped, TransportName
from odm.cli.demo.progress import Reporter
from transports.errors import InvalidURL

ALL = list(TransportName)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def _places(stack: AsyncExitStack, *urls: str) -> Places:
    return Places(stack, urls, concurrency=1, reporter=Reporter(Console(quiet=True)))


async def test_without_a_mongod_only_the_fake_is_left(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOD", "/nowhere/mongod")
    direct, motor, function, fake = await _places(stack).find(ALL)
    for skipped in (direct, motor, function):
        assert isinstance(skipped, Skipped)
        assert "/nowhere/mongod" in skipped.reason
        assert "\n" not in skipped.reason
    assert isinstance(fake, Place)


async def test_a_missing_package_skips_its_transport_only(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "motor" else object())
    direct, motor = await _places(stack, "mongodb://host/x").find(
        [TransportName.DIRECT, TransportName.MOTOR]
    )
    assert isinstance(direct, Place)
    assert isinstance(motor, Skipped)
    assert "pip install 'odm-transports[motor]'" in motor.reason


async def test_a_given_deployment_serves_every_transport_and_no_mongod_starts(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOD", "/nowhere/mongod")
    uri = "mongodb://user:secret@host:1/cms?w=1"
    found = await _places(stack, uri).find(ALL)
    assert [place.label for place in found] == ["direct", "motor", "lambda", "fake"]
    places = [place for place in found if isinstance(place, Place)]
    assert [place.url.scheme for place in places] == ["mongodb", "motor+mongodb", "lambda", "fake"]
    assert [place.server_uri for place in places] == [uri, uri, uri, None]
    assert [place.given for place in places] == [True, False, False, False]
    assert "secret" not in repr(places)


async def test_given_urls_of_one_transport_are_told_apart(stack: AsyncExitStack) -> None:
    urls = ["lambda://one/x", "embedded:///x", "lambda://two:live/x"]
    found = await _places(stack, *urls).find([TransportName.LAMBDA, TransportName.EMBEDDED])
    assert [place.label for place in found] == ["lambda", "lambda 2", "embedded"]


async def test_a_bad_url_is_refused_at_once(stack: AsyncExitStack) -> None:
    with pytest.raises(InvalidURL, match="did you mean"):
        _places(stack, "lamda://x/y")
