"""Users: who writes, publishes and submits. A login session ends by itself (a TTL index)."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.values import EmailAddress, Instant, Locale, now
from odm import Document, Indexed, Insert, Link, Replace, Save, SaveChanges, Update, before_event


class Role(StrEnum):
    """What a user may do."""

    ADMIN = "admin"
    EDITOR = "editor"
    AUTHOR = "author"
    READER = "reader"


class Address(BaseModel):
    """A postal address, embedded in a profile."""

    street: str
    city: str
    postal_code: str
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class Profile(BaseModel):
    """What a user tells about themselves, embedded in the user."""

    display_name: str
    bio: str = ""
    locale: Locale = "en"
    address: Address | None = None


class User(Document):
    """A person with an account. The e-mail address is unique and kept in lower case."""

    email: Annotated[EmailAddress, Indexed(unique=True)]
    profile: Profile
    roles: list[Role] = Field(default_factory=lambda: [Role.READER])
    active: bool = True
    logins: int = 0
    last_login_at: Instant | None = None
    created_at: Instant = Field(default_factory=now)
    updated_at: Instant = Field(default_factory=now)

    class Settings:
        """Collection ``users``."""

        name = "users"
        use_state_management = True
        indexes: ClassVar = [
            IndexModel([("roles", ASCENDING)], name="roles"),
            IndexModel(
                [("last_login_at", DESCENDING)],
                name="last_login_of_active",
                partialFilterExpression={"active": True},
            ),
        ]

    @before_event(Insert, Replace, Save, SaveChanges, Update)
    def touch(self) -> None:
        """Note the time of the change."""
        self.updated_at = now()

    def may_publish(self) -> bool:
        """Whether this user may publish pages."""
        return self.active and bool({Role.ADMIN, Role.EDITOR} & set(self.roles))


class LoginSession(Document):
    """One login. The server removes it once ``expires_at`` has passed."""

    token: Annotated[str, Indexed(unique=True)]
    user: Link[User]
    expires_at: Annotated[Instant, Indexed(expireAfterSeconds=0)] = Field(
        default_factory=lambda: now() + timedelta(hours=8)
    )

    class Settings:
        """Collection ``login_sessions``."""

        name = "login_sessions"
