from __future__ import annotations

import pytest

from odm.cli.demo.databases import new_name, with_database
from transports.url import parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://a:1,b:2", "mongodb://a:1,b:2/d"),
        ("mongodb://a/cms?w=1", "mongodb://a/d?w=1"),
        ("motor+mongodb://a/cms", "motor+mongodb://a/d"),
        ("mongodb://u:p@a/cms", "mongodb://u:p@a/d?authSource=cms"),
        ("mongodb://u:p@a/cms?w=1", "mongodb://u:p@a/d?w=1&authSource=cms"),
        ("mongodb://u:p@a/cms?authSource=admin", "mongodb://u:p@a/d?authSource=admin"),
        ("mongodb://u:p@a/?w=1", "mongodb://u:p@a/d?w=1"),
        ("mongodb+srv://u:p@a.b.c/cms", "mongodb+srv://u:p@a.b.c/d"),
        ("lambda://f:live/cms?region=x", "lambda://f:live/d?region=x"),
        ("lambda://arn:aws:lambda:x:1:function:f/", "lambda://arn:aws:lambda:x:1:function:f/d"),
        ("fake:///cms", "fake:///d"),
        ("fake://", "fake:///d"),
        ("embedded://name/cms?members=3", "embedded://name/d?members=3"),
    ],
)
def test_another_database_and_nothing_else(url: str, expected: str) -> None:
    changed = with_database(parse_url(url), "d")
    assert changed == expected
    assert parse_url(changed).database == "d"
    assert parse_url(changed).target == parse_url(url).target


def test_names_are_recognisable_and_not_used_twice() -> None:
    names = {new_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("odm_demo_") for name in names)
