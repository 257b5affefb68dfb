"""Pages with their blocks and revisions, tokens that show a draft, and the published summary.

A page is optimistically locked: whoever saves a stale copy gets `odm.RevisionIdWasChanged`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel

from models.categories import Category
from models.users import User
from models.values import Instant, Locale, Slug, now, slugify
from odm import (
    BackLink,
    Document,
    Indexed,
    Insert,
    Link,
    PydanticObjectId,
    Replace,
    Save,
    SaveChanges,
    Update,
    View,
    before_event,
)


class PageStatus(StrEnum):
    """Where a page stands."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class HeadingBlock(BaseModel):
    """A heading of level 1 to 6."""

    kind: Literal["heading"] = "heading"
    text: str
    level: Annotated[int, Field(ge=1, le=6)] = 2


class TextBlock(BaseModel):
    """A paragraph."""

    kind: Literal["text"] = "text"
    text: str


class ImageBlock(BaseModel):
    """A picture; ``asset`` is the id of an image in the assets."""

    kind: Literal["image"] = "image"
    asset: PydanticObjectId
    caption: str = ""


class FormBlock(BaseModel):
    """A form to fill in; ``form`` is its id."""

    kind: Literal["form"] = "form"
    form: PydanticObjectId


class ColumnsBlock(BaseModel):
    """Blocks side by side; columns may be nested."""

    kind: Literal["columns"] = "columns"
    columns: list[list[Block]]


Block = Annotated[
    HeadingBlock | TextBlock | ImageBlock | FormBlock | ColumnsBlock, Field(discriminator="kind")
]


class Seo(BaseModel):
    """What search engines are told."""

    title: str = ""
    description: str = ""
    index: bool = True


class Page(Document):
    """A page in one locale. ``(locale, slug)`` is unique; an empty slug comes from the title."""

    locale: Locale = "en"
    slug: Slug | Literal[""] = ""
    title: Annotated[str, Field(min_length=1, max_length=200)]
    summary: str = ""
    status: PageStatus = PageStatus.DRAFT
    blocks: list[Block] = Field(default_factory=list)
    seo: Seo = Field(default_factory=Seo)
    tags: list[str] = Field(default_factory=list)
    author: Link[User] | None = None
    category: Link[Category] | None = None
    version: int = 0
    published_at: Instant | None = None
    created_at: Instant = Field(default_factory=now)
    updated_at: Instant = Field(default_factory=now)
    revisions: list[BackLink[PageRevision]] = Field(
        default_factory=list, json_schema_extra={"original_field": "page"}
    )

    class Settings:
        """Collection ``pages``."""

        name = "pages"
        use_revision = True
        use_state_management = True
        max_nesting_depth = 2
        indexes: ClassVar = [
            IndexModel([("locale", ASCENDING), ("slug", ASCENDING)], name="address", unique=True),
            IndexModel([("title", TEXT), ("summary", TEXT)], name="search"),
            IndexModel([("tags", ASCENDING)], name="tags"),
            IndexModel(
                [("category.$id", ASCENDING), ("published_at", DESCENDING)],
                name="published",
                partialFilterExpression={"status": "published"},
            ),
        ]

    @before_event(Insert)
    def name_itself(self) -> None:
        """Derive the slug from the title where none was given."""
        if not self.slug:
            self.slug = slugify(self.title)

    @before_event(Insert, Replace, Save, SaveChanges, Update)
    def touch(self) -> None:
        """Note the time of the change."""
        self.updated_at = now()


class PageRevision(Document):
    """A page as it was when it was published for the ``number``-th time."""

    page: Link[Page]
    number: Annotated[int, Field(ge=1)]
    title: str
    blocks: list[Block] = Field(default_factory=list)
    author: Link[User] | None = None
    created_at: Instant = Field(default_factory=now)

    class Settings:
        """Collection ``page_revisions``."""

        name = "page_revisions"
        max_nesting_depth = 1
        indexes: ClassVar = [
            IndexModel([("page.$id", ASCENDING), ("number", DESCENDING)], unique=True),
        ]


class PreviewToken(Document):
    """Lets its bearer see one draft for a day; the server removes it afterwards."""

    token: Annotated[str, Indexed(unique=True)]
    page: Link[Page]
    expires_at: Annotated[Instant, Indexed(expireAfterSeconds=0)] = Field(
        default_factory=lambda: now() + timedelta(days=1)
    )

    class Settings:
        """Collection ``preview_tokens``."""

        name = "preview_tokens"


class PageSummary(View):
    """The published pages as a list shows them: a view, computed by the server."""

    id: PydanticObjectId = Field(alias="_id")
    locale: str
    slug: str
    title: str
    category: str | None = None
    blocks: int
    published_at: Instant

    class Settings:
        """View ``page_summaries`` on ``pages``."""

        name = "page_summaries"
        source = Page
        pipeline: ClassVar[list[dict[str, Any]]] = [
            {"$match": {"status": "published"}},
            {
                "$lookup": {
                    "from": "categories",
                    "localField": "category.$id",
                    "foreignField": "_id",
                    "as": "found",
                }
            },
            {
                "$project": {
                    "locale": 1,
                    "slug": 1,
                    "title": 1,
                    "published_at": 1,
                    "blocks": {"$size": "$blocks"},
                    "category": {"$ifNull": [{"$first": "$found.name"}, None]},
                }
            },
        ]


class PageTeaser(BaseModel):
    """The few fields of a page that a teaser needs: a projection."""

    title: str
    slug: str
    tags: list[str] = Field(default_factory=list)


class TagCount(BaseModel):
    """How many pages bear a tag: a row of an aggregation."""

    tag: str = Field(alias="_id")
    count: int
