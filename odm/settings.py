"""Settings from the environment: ``ODM_URL`` and its like. Read by `connect()`, nowhere else."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What `connect()` does where its arguments do not say.

    Attributes:
        url: ``ODM_URL``: a transport URL, for example ``mongodb://localhost:27017/cms``.
        create_indexes: ``ODM_CREATE_INDEXES``: create the indexes that the models declare.
        allow_index_dropping: ``ODM_ALLOW_INDEX_DROPPING``: drop those that no model declares.
        recreate_views: ``ODM_RECREATE_VIEWS``: drop and create views that exist already.
    """

    model_config = SettingsConfigDict(env_prefix="ODM_", frozen=True, extra="ignore")

    url: SecretStr | None = None
    create_indexes: bool = True
    allow_index_dropping: bool = False
    recreate_views: bool = False
