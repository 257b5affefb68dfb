from __future__ import annotations

import pytest
from pydantic import ValidationError

from odm import Settings


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
    monkeypatch.setenv("ODM_CREATE_INDEXES", "perhaps")
    with pytest.raises(ValidationError, match="create_indexes"):
        Settings()
