"""Categories: a tree of links, each category knowing its parent."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field
from pymongo import ASCENDING, IndexModel

from models.values import Slug
from odm import BackLink, Document, Indexed, Link, PydanticObjectId


class Category(Document):
    """One node of the tree. ``children`` is virtual: it is found through their ``parent``."""

    name: str
    slug: Annotated[Slug, Indexed(unique=True)]
    position: int = 0
    parent: Link[Category] | None = None
    children: list[BackLink[Category]] = Field(
        default_factory=list, json_schema_extra={"original_field": "parent"}
    )

    class Settings:
        """Collection ``categories``."""

        name = "categories"
        max_nesting_depth = 2
        indexes: ClassVar = [
            IndexModel([("parent.$id", ASCENDING), ("position", ASCENDING)], name="siblings"),
        ]


class Ancestor(BaseModel):
    """A category above another: 0 is the parent, 1 the parent's parent."""

    id: PydanticObjectId = Field(alias="_id")
    name: str
    distance: int
