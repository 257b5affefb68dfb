"""A command line that the parser refuses is answered in a line that says what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

OdmHere = Callable[..., Any]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("png", "no such command: png: did you mean ping? odm --help says more"),
        ("xyzzy", "no such command: xyzzy; there are bench, cost, demo, doctor, local, package, "),
        ("bench --onli read", "--onli: did you mean --only? odm bench --help says more"),
        ("local --mem 3", "did you mean --memory-mb or --memory? odm local --help says more"),
        ("bench --no-tl", "no such option: --no-tl: did you mean --no-tls? odm bench --help"),
        ("bench -z", "no such option: -z; odm bench --help says more"),
        ("--json ping", "no such option: --json before the command; write odm ping --json;"),
        ("ping --log-level debug", "after the command; write odm --log-level … ping; odm ping"),
        ("tunnel", "'URL': write e.g. odm tunnel 'lambda://db-proxy:live/cms?region=eu-central-1'"),
        ("doctor", ", or set ODM_URL; odm doctor --help says more"),
        ("local --concurrency", "needs a value: write e.g. --concurrency 15; odm local --help"),
        ("demo --url", "--url needs a value: write --url URL; odm demo --help says more"),
        ("--log-level", "--log-level needs a value; odm --help says more"),
        ("ping --json=3", "option '--json' does not take a value; odm ping --help says more"),
        ("local extra", "'extra': odm local takes no argument, and options; odm local --help"),
        ("doctor fake:///x y", "unexpected 'y': odm doctor takes URL, and options; odm doctor"),
        ("package --architecture i386", "'i386' is not one of 'x86_64', 'arm64'; odm package"),
        ("cost --rate x", "invalid value for '--rate': "),
    ],
)
def test_it_is_told_what_to_write_instead(odm_here: OdmHere, line: str, told: str) -> None:
    ran = odm_here(*line.split())
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.startswith("odm: ")
    assert ran.err.count("\n") == 1


def test_the_parsers_own_words_of_a_value_are_put_into_ours(odm_here: OdmHere) -> None:
    for line in ("cost --rate x", "bench --rounds 0", "local --port abc"):
        told = odm_here(*line.split()).err
        assert "Input should" not in told
        assert "Value error" not in told


def test_no_password_is_repeated(odm_here: OdmHere) -> None:
    ran = odm_here("ping", "mongodb://h/x", "mongodb://ann:secret@h/x")
    assert ran.code == 2
    assert "secret" not in ran.err + ran.out
