"""What the CMS asks of its collections: a repository per aggregate, in the domain's words.

Everything here runs on any transport; nothing here knows which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.analytics import DailyViews, PageView, Viewed
from models.assets import Asset, AssetUsage, Image
from models.categories import Ancestor, Category
from models.forms import Form, Submission
from models.pages import Page, PageRevision, PageStatus, PageTeaser, TagCount
from models.users import Role, User
from models.values import now
from odm import PydanticObjectId, Repository


class Refused(Exception):
    """The domain's rules forbid it; the message says which."""


class UserRepository(Repository[User]):
    """Users by what they may do."""

    async def by_email(self, email: str) -> User | None:
        """Return the user with this address, in whatever case it is written."""
        return await self.find_one({"email": email.strip().lower()})

    async def with_role(self, role: Role) -> list[User]:
        """Return the active users who have this role, by e-mail address."""
        return await self.find({"roles": role, "active": True}, sort="email").to_list()

    async def record_login(self, user: User) -> User:
        """Count one login, atomically, and return the user as they are then."""
        return await self.update(user, {"$inc": {"logins": 1}, "$set": {"last_login_at": now()}})


class CategoryRepository(Repository[Category]):
    """The tree of categories."""

    async def roots(self) -> list[Category]:
        """Return the categories without a parent, in order."""
        return await self.find({"parent": None}, sort=["position", "slug"]).to_list()

    async def children(self, category: Category) -> list[Category]:
        """Return the categories right below this one, in order."""
        return await self.find({"parent.$id": category.id}, sort=["position", "slug"]).to_list()

    async def ancestors(self, category: Category) -> list[Ancestor]:
        """Return the categories above this one, nearest first."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": category.id}},
            {
                "$graphLookup": {
                    "from": "categories",
                    "startWith": "$parent.$id",
                    "connectFromField": "parent.$id",
                    "connectToField": "_id",
                    "as": "above",
                    "depthField": "distance",
                }
            },
            {"$unwind": "$above"},
            {"$replaceRoot": {"newRoot": "$above"}},
            {"$sort": {"distance": 1}},
        ]
        return await self.aggregate(pipeline, into=Ancestor)

    async def move(self, category: Category, parent: Category | None) -> Category:
        """Hang a category below another, or make it a root.

        Raises:
            Refused: *parent* is the category itself or lies below it.
        """
        async with self.transaction():
            if parent is not None:
                above = [parent.id, *(ancestor.id for ancestor in await self.ancestors(parent))]
                if category.id in above:
                    raise Refused(f"{category.name!r} cannot be moved below itself")
            link = None if parent is None else parent.to_ref()
            return await self.update(category, {"$set": {"parent": link}})


class PageRepository(Repository[Page]):
    """Pages: drafts, what is published, and how one becomes the other."""

    async def at(self, locale: str, slug: str) -> Page | None:
        """Return the published page at this address."""
        return await self.find_one({"locale": locale, "slug": slug, "status": PageStatus.PUBLISHED})

    async def published(self, category: Category | None = None) -> list[Page]:
        """Return the published pages, newest first, of one category or of all."""
        filters: dict[str, Any] = {"status": PageStatus.PUBLISHED}
        if category is not None:
            filters["category.$id"] = category.id
        return await self.find(filters, sort=["-published_at", "_id"]).to_list()

    async def teasers(self, tag: str, *, limit: int = 10) -> list[PageTeaser]:
        """Return the newest published pages that bear *tag*, as teasers."""
        found = self.find(
            {"status": PageStatus.PUBLISHED, "tags": tag},
            sort=["-published_at", "_id"],
            limit=limit,
            into=PageTeaser,
        )
        return await found.to_list()

    async def search(self, words: str) -> list[Page]:
        """Return the pages whose title or summary contains one of *words*, by slug."""
        return await self.find({"$text": {"$search": words}}, sort="slug").to_list()

    async def tag_counts(self, *, limit: int = 10) -> list[TagCount]:
        """Return the tags of published pages, most frequent first."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"status": PageStatus.PUBLISHED}},
            {"$unwind": "$tags"},
            {"$group": {"_id": "$tags", "count": {"$sum": 1}}},
            {"$sort": {"count": -1, "_id": 1}},
            {"$limit": limit},
        ]
        return await self.aggregate(pipeline, into=TagCount)

    async def publish(self, page: Page, *, by: User) -> Page:
        """Publish a page and keep what is published as a revision: both, or neither.

        Returns the page as it is then; *page* itself is left as it was.

        Raises:
            Refused: *by* may not publish, or the page is archived.
            RevisionIdWasChanged: somebody saved the page since it was read.
        """
        if not by.may_publish():
            raise Refused(f"{by.email} may not publish")
        if page.status is PageStatus.ARCHIVED:
            raise Refused(f"{page.slug!r} is archived")
        published = page.model_copy(
            update={
                "status": PageStatus.PUBLISHED,
                "version": page.version + 1,
                "published_at": now(),
            }
        )
        async with self.transaction():
            published = await self.save(published)
            await self.connection.repository(PageRevision).add(
                PageRevision(
                    page=published,
                    number=published.version,
                    title=published.title,
                    blocks=published.blocks,
                    author=by,
                )
            )
        return published

    async def history(self, page: Page) -> list[PageRevision]:
        """Return the revisions of a page, newest first."""
        revisions = self.connection.repository(PageRevision)
        return await revisions.find({"page.$id": page.id}, sort="-number").to_list()

    async def restore(self, page: Page, number: int) -> Page:
        """Make a draft of an older revision and return it.

        Raises:
            Refused: there is no such revision.
        """
        revisions = self.connection.repository(PageRevision)
        revision = await revisions.find_one({"page.$id": page.id, "number": number})
        if revision is None:
            raise Refused(f"{page.slug!r} has no revision {number}")
        draft = page.model_copy(
            update={
                "status": PageStatus.DRAFT,
                "title": revision.title,
                "blocks": revision.blocks,
            }
        )
        return await self.save(draft)


class FormRepository(Repository[Form]):
    """Forms and their submissions."""

    async def submit(
        self, form: Form, answers: Mapping[str, Any], *, user: User | None = None
    ) -> Submission:
        """Check the answers, store them, and count the submission: all or nothing.

        Raises:
            Refused: the form is closed by now.
            InvalidAnswers: the answers do not fit the form.
        """
        submission = Submission(form=form, answers=form.checked(answers), user=user)
        async with self.transaction():
            counted = await self.update_many(
                {"_id": form.id, "is_open": True}, changes={"$inc": {"submissions": 1}}
            )
            if not counted:
                raise Refused(f"{form.slug!r} is closed")
            return await self.connection.repository(Submission).add(submission)

    async def submissions(self, form: Form) -> list[Submission]:
        """Return what was submitted and not deleted, newest first."""
        repository = self.connection.repository(Submission)
        return await repository.find({"form.$id": form.id}, sort=["-submitted_at", "_id"]).to_list()


class AssetRepository(Repository[Asset]):
    """Assets of every class."""

    async def named(self, prefix: str) -> list[Asset]:
        """Return the assets whose name starts with *prefix*, each as what it is, by name."""
        return await self.find(
            {"name": {"$gte": prefix, "$lt": prefix + "\uffff"}}, sort="name", with_children=True
        ).to_list()

    async def images(self, *, wider_than: int = 0) -> list[Image]:
        """Return the images, photos among them, that are wider than so many pixels, by name."""
        images = self.connection.repository(Image)
        return await images.find(
            {"width": {"$gt": wider_than}}, sort="name", with_children=True
        ).to_list()

    async def usage(self) -> list[AssetUsage]:
        """Return how much each class of assets takes, largest first."""
        pipeline: list[dict[str, Any]] = [
            {
                "$group": {
                    "_id": {"$arrayElemAt": [{"$split": ["$_class_id", "."]}, -1]},
                    "count": {"$sum": 1},
                    "size_bytes": {"$sum": "$size_bytes"},
                }
            },
            {"$sort": {"size_bytes": -1, "_id": 1}},
        ]
        return await self.aggregate(pipeline, into=AssetUsage)


class PageViewRepository(Repository[PageView]):
    """Page views, and their sums."""

    async def record(self, page: Page, *, seconds: float = 0.0) -> PageView:
        """Note one look at a page."""
        if page.id is None:
            raise Refused(f"{page.title!r} was never saved")
        viewed = Viewed(page=page.id, locale=page.locale)
        return await self.add(PageView(viewed=viewed, seconds=seconds))

    async def daily(self, page: PydanticObjectId) -> list[DailyViews]:
        """Return the views of a page per day (UTC), oldest first."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"viewed.page": page}},
            {
                "$group": {
                    "_id": {"$dateTrunc": {"date": "$at", "unit": "day"}},
                    "views": {"$sum": 1},
                    "seconds": {"$sum": "$seconds"},
                }
            },
            {"$sort": {"_id": 1}},
        ]
        return await self.aggregate(pipeline, into=DailyViews)
