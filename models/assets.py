"""Assets: images, videos and files in one collection, each its own class."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, Field
from pymongo import ASCENDING, IndexModel

from models.users import User
from models.values import Instant, now
from odm import DecimalAnnotation, Document, Link


class Licence(BaseModel):
    """What an asset may be used for, and what it cost."""

    name: str = "CC0"
    price: DecimalAnnotation = Decimal(0)
    valid_until: Instant | None = None


class Asset(Document):
    """Anything that was uploaded. ``key`` is its name in the object store."""

    key: UUID
    name: str
    size_bytes: Annotated[int, Field(ge=0)]
    digest: bytes = b""
    licence: Licence = Field(default_factory=Licence)
    metadata: dict[str, Any] = Field(default_factory=dict)
    uploaded_by: Link[User] | None = None
    uploaded_at: Instant = Field(default_factory=now)

    class Settings:
        """Collection ``assets``, shared by the subclasses."""

        name = "assets"
        is_root = True
        indexes: ClassVar = [
            IndexModel([("key", ASCENDING)], name="key", unique=True),
            IndexModel([("name", ASCENDING)], name="name"),
        ]


class Image(Asset):
    """A picture; its size is in pixels."""

    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    alt: str = ""


class Photo(Image):
    """A picture that a camera took."""

    camera: str
    location: tuple[float, float] | None = None


class Video(Asset):
    """A film."""

    duration: timedelta
    poster: Link[Image] | None = None


class File(Asset):
    """Anything else, to download."""

    media_type: str = "application/octet-stream"


class AssetUsage(BaseModel):
    """How much of the store one class of assets takes: a row of an aggregation."""

    kind: str = Field(alias="_id")
    count: int
    size_bytes: int
