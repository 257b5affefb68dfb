from __future__ import annotations

import pytest

from odm.cli.package.imports import Source, closure, imports

FOUND = {
    "app": (b"import pkg.part\n", False),
    "pkg": (b"from .first import thing\n", True),
    "pkg.first": (b"def later():\n    import pkg.lazy\n", False),
    "pkg.lazy": (b"import json\n", False),
    "pkg.part": (
        b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.typed\n",
        False,
    ),
    "pkg.typed": (b"", False),
}


def find(name: str) -> Source | None:
    return FOUND.get(name)


def test_what_a_module_needs_is_found_through_packages_and_functions() -> None:
    assert set(closure("app", find)) == {"app", "pkg", "pkg.first", "pkg.lazy", "pkg.part"}


def test_what_is_always_imported_is_told_from_what_may_be() -> None:
    assert set(closure("app", find, required=True)) == {"app", "pkg", "pkg.first", "pkg.part"}


def test_a_root_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LookupError):
        closure("pkg.none", find)


@pytest.mark.parametrize(
    ("source", "name", "required"),
    [
        ("import a.b", "a.b", True),
        ("from a import b", "a.b", True),
        ("from . import b", "pkg.b", True),
        ("from ..other import b", "other", True),
        ("class C:\n    import a", "a", True),
        ("with x:\n    import a", "a", True),
        ("try:\n    import a\nexcept ImportError:\n    a = None", "a", False),
        ("if sys.version_info > (3, 12):\n    import a", "a", False),
        ("async def f():\n    import a", "a", False),
        ("if typing.TYPE_CHECKING:\n    pass\nelse:\n    import a", "a", True),
    ],
)
def test_an_import_statement(source: str, name: str, required: bool) -> None:
    found = {each.name: each.required for each in imports("pkg.module", source.encode(), False)}
    assert found[name] is required


def test_what_type_checkers_read_is_no_import() -> None:
    source = b"import typing as t\nif t.TYPE_CHECKING:\n    import heavy\n"
    assert {each.name for each in imports("m", source, False)} == {"typing"}
