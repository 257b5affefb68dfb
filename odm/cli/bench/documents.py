"""The documents that the benchmark reads and writes: small, typed, the same for every contender.

Three times each: as this project's documents, as Beanie's own, and as plain models. About 250 bytes
of BSON.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import beanie
from beanie import PydanticObjectId
from bson import ObjectId
from pydantic import BaseModel, Field

from odm import Document

ARTICLES = "odm_bench_articles"
NOTES = "odm_bench_notes"
SECTIONS = 100
LIST_LENGTH = 100
STATUSES = ("draft", "published", "archived")
PIPELINE: list[dict[str, Any]] = [
    {"$group": {"_id": "$status", "articles": {"$sum": 1}, "views": {"$avg": "$views"}}},
    {"$sort": {"_id": 1}},
]

_BEGIN = datetime(2020, 2, 17, tzinfo=UTC)


class Author(BaseModel):
    """Who wrote an article."""

    name: str
    email: str


class ArticleFields(BaseModel):
    """What is read."""

    title: str
    slug: str
    section: int
    status: str
    views: int
    rating: float
    featured: bool
    published_at: datetime
    tags: list[str]
    author: Author


class Article(ArticleFields, Document):
    """This project's document."""

    class Settings:
        """The collection."""

        name = ARTICLES


class BeanieArticle(ArticleFields, beanie.Document):
    """Beanie's own."""

    class Settings:
        """The collection."""

        name = ARTICLES


class PlainArticle(ArticleFields):
    """Without an ODM."""

    id: PydanticObjectId = Field(alias="_id")


class Note(Document):
    """What is written."""

    text: str
    number: int
    at: datetime

    class Settings:
        """The collection."""

        name = NOTES


class BeanieNote(beanie.Document):
    """The same, Beanie's own."""

    text: str
    number: int
    at: datetime

    class Settings:
        """The collection."""

        name = NOTES


class PlainNote(BaseModel):
    """The same without an ODM."""

    text: str
    number: int
    at: datetime


def article_id(number: int) -> PydanticObjectId:
    """Return the id of the *number*-th article."""
    return PydanticObjectId(ObjectId(f"{0xBE000000:08x}{number:016x}"))


def title(number: int) -> str:
    """Return the title of the *number*-th article."""
    return f"Article {number:06d}"


def article(number: int) -> dict[str, Any]:
    """Return the *number*-th article as it is stored."""
    return {
        "_id": ObjectId(article_id(number)),
        "title": title(number),
        "slug": f"article-{number:06d}",
        "section": number % SECTIONS,
        "status": STATUSES[number % len(STATUSES)],
        "views": number * 7 % 10_007,
        "rating": number % 50 / 10,
        "featured": number % 10 == 0,
        "published_at": _BEGIN + timedelta(minutes=number),
        "tags": ["city", "harbour", f"tag-{number % 17}"],
        "author": {"name": f"Author {number % 23}", "email": f"author{number % 23}@example.com"},
    }


def note(number: int) -> dict[str, Any]:
    """Return a note's fields, without an id."""
    return {"text": "a note of some forty characters, or so...", "number": number, "at": _BEGIN}
