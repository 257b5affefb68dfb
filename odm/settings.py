"""Settings from the environment: ``ODM_URL`` and its like. Read by `connect()`, nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from odm.errors import InvalidConfiguration

_PREFIX = "ODM_"


class Settings(BaseSettings):
    """What `connect()` does where its arguments do not say.

    Attributes:
        url: ``ODM_URL``: a transport URL, for example ``mongodb://localhost:27017/cms``.
        create_indexes: ``ODM_CREATE_INDEXES``: create the indexes that the models declare.
        allow_index_dropping: ``ODM_ALLOW_INDEX_DROPPING``: drop those that no model declares.
        recreate_views: ``ODM_RECREATE_VIEWS``: drop and create views that exist already.

    Raises:
        InvalidConfiguration: a value cannot be used; the message names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    url: SecretStr | None = None
    create_indexes: bool = True
    allow_index_dropping: bool = False
    recreate_views: bool = False

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise InvalidConfiguration(
                    "; ".join(_explained(found, values) for found in error.errors())
                ) from error


def _explained(error: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    given = name in arguments
    source = f"Settings({name}=…)" if given else f"{_PREFIX}{name.upper()}"
    if name == "url":  # its value may hold a password
        return f"{source} is no text: write for example 'mongodb://localhost:27017/cms'"
    choice = "True or False" if given else f"{source}=true or {source}=false"
    return f"{source} is {error['input']!r}, which is neither true nor false: write {choice}"
