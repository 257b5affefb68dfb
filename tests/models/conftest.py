"""The reference models on the plugin's connection: the fake, or what ``--odm-url`` says."""

from __future__ import annotations

from typing import Any

import pytest

from models import ALL_MODELS


@pytest.fixture
def odm_models() -> list[Any]:
    return list(ALL_MODELS)
