from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from odm import InvalidConfiguration, Settings, connect


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODM_URL", "fake:///cms")
    monkeypatch.setenv("ODM_CREATE_INDEXES", "false")
    monkeypatch.setenv("ODM_UNKNOWN", "x")
    settings = Settings()
    assert settings.url is not None
    assert settings.url.get_secret_value() == "fake:///cms"
    assert settings.create_indexes is False
    assert (settings.allow_index_dropping, settings.recreate_views) == (False, False)


def test_they_are_frozen_and_keep_the_url_to_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODM_URL", "mongodb://u:p4ss@h/d")
    settings = Settings()
    assert "p4ss" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    with pytest.raises(ValidationError):
        settings.create_indexes = False


def test_what_is_no_truth_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODM_CREATE_INDEXES", "maybe")
    monkeypatch.setenv("ODM_RECREATE_VIEWS", "")
    with pytest.raises(InvalidConfiguration) as caught:
        connect("mongodb://localhost/cms")
    first, second = str(caught.value).split("; ")
    assert first == (
        "ODM_CREATE_INDEXES is 'maybe', which is neither true nor false:"
        " write ODM_CREATE_INDEXES=true or ODM_CREATE_INDEXES=false"
    )
    assert second.startswith("ODM_RECREATE_VIEWS is ''")


def test_an_argument_that_cannot_be_used_is_named() -> None:
    wrong: Any = "maybe"
    with pytest.raises(InvalidConfiguration, match=r"Settings\(create_indexes=…\) is 'maybe'"):
        Settings(create_indexes=wrong)
    secret: Any = ["mongodb://u:p4ss@h/d"]
    with pytest.raises(InvalidConfiguration, match="url") as caught:
        Settings(url=secret)
    assert "p4ss" not in f"{caught.value} {caught.value.__cause__}"
