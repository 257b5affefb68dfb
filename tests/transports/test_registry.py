from __future__ import annotations

import sys

import pytest

from transports import open_transport
from transports.base import Transport
from transports.errors import InvalidURL, MissingExtra, TransportClosed
from transports.registry import _TRANSPORTS
from transports.url import SCHEMES, parse_url


def test_every_scheme_has_a_transport() -> None:
    assert set(_TRANSPORTS) == set(SCHEMES)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mongodb://localhost/cms", "direct"),
        ("mongodb+srv://cluster.example.net/cms", "direct"),
        ("motor+mongodb://localhost/cms", "motor"),
        ("motor+mongodb+srv://cluster.example.net/cms", "motor"),
        ("lambda://proxy/cms?region=eu-west-1", "lambda"),
        ("fake:///cms", "fake"),
        ("embedded:///cms", "embedded"),
    ],
)
def test_url_gives_its_transport_not_yet_open(url: str, name: str) -> None:
    transport = open_transport(url)

    assert isinstance(transport, Transport)
    assert transport.name == transport.statistics().transport == name
    assert not transport.is_open
    with pytest.raises(TransportClosed):
        _ = transport.client


def test_parsed_url_is_taken_as_it_is() -> None:
    url = parse_url("mongodb://localhost/cms")
    assert open_transport(url).url is url


@pytest.mark.parametrize("scheme", ["lambda://proxy", "fake://", "embedded://"])
def test_unknown_option_is_refused_before_anything_opens(scheme: str) -> None:
    with pytest.raises(InvalidURL, match="unknown option 'nonsense'"):
        open_transport(f"{scheme}/cms?nonsense=1")


def test_missing_motor_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "motor", None)
    monkeypatch.delitem(sys.modules, "transports.motor", raising=False)

    with pytest.raises(MissingExtra) as caught:
        open_transport("motor+mongodb://localhost/cms")

    assert "pip install 'odm-transports[motor]'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
