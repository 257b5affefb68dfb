"""What the type checker makes of ordinary use. Never run: ``mypy`` is the test.

Answers Beanie #205, #672 and #1108: documents, queries and projections keep their types.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, assert_type

from pydantic import BaseModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from odm import (
    Bulk,
    Change,
    Connection,
    Document,
    FindMany,
    KeysetPage,
    Link,
    Page,
    PydanticObjectId,
    Repository,
    connect,
)


class Author(Document):
    name: str


class Article(Document):
    title: str
    views: int = 0
    author: Link[Author] | None = None


class Title(BaseModel):
    title: str


class ArticleRepository(Repository[Article]):
    async def popular(self) -> list[Article]:
        return await self.find(Article.views > 100, sort="-views").to_list()

    async def titles(self) -> list[Title]:
        return await self.find(into=Title).to_list()


async def connections() -> None:
    async with connect("fake:///x", models=[Article, Author]) as db:
        assert_type(db, Connection)
    db = await connect("fake:///x")
    assert_type(db, Connection)
    assert_type(db.repository(Article), Repository[Article])
    assert_type(db.repository(ArticleRepository), ArticleRepository)
    assert_type(ArticleRepository(db), ArticleRepository)
    assert_type(Repository(db, Article), Repository[Article])
    assert_type(db.database, AsyncDatabase[dict[str, Any]])
    async with db.transaction() as session:
        assert_type(session, AsyncClientSession)

    async def work() -> int:
        return 1

    assert_type(await db.run_transaction(work), int)
    with db.bind():
        assert_type(await Article.count(), int)


async def reading(articles: ArticleRepository) -> None:
    assert_type(await articles.get("id"), Article)
    assert_type(await articles.find_one(Article.title == "x"), Article | None)
    assert_type(await articles.first({"views": 1}, sort=["-views", ("title", 1)]), Article | None)
    assert_type(articles.find(), FindMany[Article])
    assert_type(await articles.find(Article.views >= 1).to_list(), list[Article])
    assert_type(await articles.find().first_or_none(), Article | None)
    assert_type(articles.find().sort("-views").limit(1).skip(1), FindMany[Article])
    assert_type(articles.find(into=Title), FindMany[Title])
    assert_type(await articles.find().project(Title).to_list(), list[Title])
    async for article in articles.find():
        assert_type(article, Article)
    async for row in articles.find(into=Title):
        assert_type(row, Title)
    assert_type(articles.stream(), AsyncGenerator[Article, None])
    async for article in articles.stream(batch_size=10):
        assert_type(article, Article)
    assert_type(await articles.exists(), bool)
    assert_type(await articles.count(), int)
    assert_type(await articles.distinct("title"), list[Any])
    assert_type(await articles.aggregate([{"$limit": 1}]), list[dict[str, Any]])
    assert_type(await articles.aggregate([{"$limit": 1}], into=Title), list[Title])
    assert_type(await articles.page(number=2), Page[Article])
    assert_type((await articles.page()).items, list[Article])
    assert_type(await articles.page_after(None), KeysetPage[Article])
    assert_type((await articles.page_after(None)).next, str | None)
    assert_type(await articles.popular(), list[Article])
    assert_type(articles.model, type[Article])


async def writing(articles: ArticleRepository) -> None:
    article = Article(title="x")
    assert_type(article.id, PydanticObjectId | None)
    assert_type(await articles.add(article), Article)
    assert_type(await articles.add_many([article]), list[Article])
    assert_type(await articles.save(article), Article)
    assert_type(await articles.upsert(article, Article.title == "x"), Article)
    assert_type(await articles.update(article, {"$set": {Article.title: "y"}}), Article)
    assert_type(await articles.update_many(Article.views < 1, changes={"$inc": {"views": 1}}), int)
    assert_type(await articles.delete_many({}), int)
    async with articles.bulk() as batch:
        assert_type(batch, Bulk[Article])
        batch.add(article)
    async with articles.watch() as changes:
        async for change in changes:
            assert_type(change, Change[Article])
            assert_type(change.document, Article | None)


async def documents() -> None:
    article = await Article(title="x").insert()
    assert_type(article, Article)
    assert_type(await article.save(), Article)
    assert_type(await article.set({Article.title: "y"}), Article)
    assert_type(await Article.get("id"), Article | None)
    assert_type(await Article.find_one(Article.title == "x"), Article | None)
    assert_type(await Article.find(Article.views > 1).to_list(), list[Article])
    assert_type(await Article.find(projection_model=Title).to_list(), list[Title])
    if article.author is not None:
        assert_type(await article.author.fetch(), Author | Link[Author])
    assert_type(Author.link_from_id("id"), Link[Author])


def mistakes(articles: ArticleRepository, db: Connection) -> None:
    Article(title=1)  # type: ignore[arg-type]
    articles.find(sort=5)  # type: ignore[call-overload]
    articles.find(into=int)  # type: ignore[type-var]
    articles.find(limit="x")  # type: ignore[call-overload]
    articles.add("x")  # type: ignore[arg-type, unused-coroutine]
    db.repository(int)  # type: ignore[type-var]
    connect(models=[Article], create_index=True)  # type: ignore[call-arg]
