from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models import (
    Asset,
    AssetRepository,
    Category,
    CategoryRepository,
    File,
    Form,
    FormRepository,
    Image,
    InvalidAnswers,
    Page,
    PageRepository,
    PageStatus,
    PageTeaser,
    PageView,
    PageViewRepository,
    Photo,
    Profile,
    Refused,
    Role,
    Submission,
    TagCount,
    TextBlock,
    TextField,
    User,
    UserRepository,
    Viewed,
)
from odm import Connection, RevisionIdWasChanged


@pytest.fixture
async def editor(odm: Connection) -> User:
    user = User(
        email="ed@example.org", profile=Profile(display_name="Ed"), roles=[Role.EDITOR, Role.READER]
    )
    return await odm.repository(User).add(user)


# Users


async def test_users_are_found_by_address_and_role(odm: Connection, editor: User) -> None:
    users = UserRepository(odm)
    found = await users.by_email(" ED@example.org")
    assert found is not None
    assert found.id == editor.id
    assert await users.by_email("nobody@example.org") is None
    await users.add(
        User(email="ex@example.org", profile=Profile(display_name="Ex"), roles=[Role.EDITOR],
             active=False)
    )  # fmt: skip
    assert [user.email for user in await users.with_role(Role.EDITOR)] == ["ed@example.org"]


async def test_logins_are_counted(odm: Connection, editor: User) -> None:
    users = UserRepository(odm)
    stale = await users.get(editor.id)
    await users.record_login(editor)
    after = await users.record_login(stale)
    assert after.logins == 2
    assert after.last_login_at is not None
    assert (await users.get(editor.id)).logins == 2


# Categories


async def test_tree_of_categories(odm: Connection) -> None:
    categories = CategoryRepository(odm)
    top = await categories.add(Category(name="Top", slug="top", position=1))
    first = await categories.add(Category(name="First", slug="first"))
    middle = await categories.add(Category(name="Middle", slug="middle", parent=top))
    leaf = await categories.add(Category(name="Leaf", slug="leaf", parent=middle))
    assert [category.slug for category in await categories.roots()] == ["first", "top"]
    assert [category.slug for category in await categories.children(top)] == ["middle"]
    above = await categories.ancestors(leaf)
    assert [(ancestor.name, ancestor.distance) for ancestor in above] == [("Middle", 0), ("Top", 1)]
    assert await categories.ancestors(first) == []


async def test_category_cannot_be_moved_below_itself(odm: Connection) -> None:
    categories = CategoryRepository(odm)
    top = await categories.add(Category(name="Top", slug="top"))
    leaf = await categories.add(Category(name="Leaf", slug="leaf", parent=top))
    with pytest.raises(Refused, match="below itself"):
        await categories.move(top, leaf)
    with pytest.raises(Refused):
        await categories.move(top, top)
    await categories.move(leaf, None)
    assert [category.slug for category in await categories.roots()] == ["leaf", "top"]
    await categories.move(top, leaf)
    assert [category.slug for category in await categories.children(leaf)] == ["top"]


# Pages


async def a_page(odm: Connection, slug: str, **fields: object) -> Page:
    return await odm.repository(Page).add(
        Page.model_validate({"title": slug.title(), "slug": slug, **fields})
    )


async def test_publishing_keeps_a_revision(odm: Connection, editor: User) -> None:
    pages = PageRepository(odm)
    draft = await a_page(odm, "a", blocks=[TextBlock(text="one")])
    live = await pages.publish(draft, by=editor)
    assert draft.status is PageStatus.DRAFT
    assert (live.status, live.version) == (PageStatus.PUBLISHED, 1)
    assert live.published_at is not None
    live.title = "Changed"
    again = await pages.publish(await pages.save(live), by=editor)
    history = await pages.history(again)
    assert [(revision.number, revision.title) for revision in history] == [(2, "Changed"), (1, "A")]
    found = await pages.at("en", "a")
    assert found is not None
    assert found.title == "Changed"
    assert await pages.at("de", "a") is None


async def test_stale_page_is_not_published(odm: Connection, editor: User) -> None:
    pages = PageRepository(odm)
    stale = await a_page(odm, "a")
    fresh = await pages.get(stale.id)
    fresh.title = "Fresh"
    await pages.save(fresh)
    with pytest.raises(RevisionIdWasChanged):
        await pages.publish(stale, by=editor)
    assert await pages.history(stale) == []
    assert (await pages.get(stale.id)).status is PageStatus.DRAFT


async def test_publishing_is_all_or_nothing(odm: Connection, editor: User) -> None:
    pages = PageRepository(odm)
    page = await pages.publish(await a_page(odm, "a"), by=editor)
    page.version = 0  # the next revision would have the number of the first
    page = await pages.save(page)
    with pytest.raises(Exception, match="duplicate key"):
        await pages.publish(page, by=editor)
    assert (await pages.get(page.id)).version == 0
    assert len(await pages.history(page)) == 1


async def test_rules_of_publishing(odm: Connection, editor: User) -> None:
    pages = PageRepository(odm)
    reader = User(email="r@example.org", profile=Profile(display_name="R"))
    with pytest.raises(Refused, match="may not publish"):
        await pages.publish(await a_page(odm, "a"), by=reader)
    with pytest.raises(Refused, match="archived"):
        await pages.publish(await a_page(odm, "b", status="archived"), by=editor)


async def test_older_revision_becomes_the_draft(odm: Connection, editor: User) -> None:
    pages = PageRepository(odm)
    live = await pages.publish(await a_page(odm, "a", blocks=[TextBlock(text="one")]), by=editor)
    live.blocks = [TextBlock(text="two")]
    live = await pages.publish(await pages.save(live), by=editor)
    restored = await pages.restore(live, 1)
    assert (restored.status, restored.blocks) == (PageStatus.DRAFT, [TextBlock(text="one")])
    with pytest.raises(Refused, match="no revision 9"):
        await pages.restore(live, 9)


async def test_lists_of_published_pages(odm: Connection) -> None:
    pages = PageRepository(odm)
    news = await odm.repository(Category).add(Category(name="News", slug="news"))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number, slug in enumerate("abcd"):
        await a_page(
            odm,
            slug,
            status="draft" if slug == "d" else "published",
            published_at=start + timedelta(days=number),
            category=news if slug in "bd" else None,
            tags=["x", slug],
        )
    assert [page.slug for page in await pages.published()] == ["c", "b", "a"]
    assert [page.slug for page in await pages.published(news)] == ["b"]
    assert await pages.teasers("x", limit=1) == [PageTeaser(title="C", slug="c", tags=["x", "c"])]
    assert (await pages.tag_counts(limit=2)) == [
        TagCount(_id="x", count=3),
        TagCount(_id="a", count=1),
    ]


# Forms


@pytest.fixture
async def form(odm: Connection) -> Form:
    form = Form(slug="f", title="F", fields=[TextField(name="name", label="N", required=True)])
    return await odm.repository(Form).add(form)


async def test_submissions_are_checked_stored_and_counted(
    odm: Connection, form: Form, editor: User
) -> None:
    forms = FormRepository(odm)
    first = await forms.submit(form, {"name": "Ada"}, user=editor)
    second = await forms.submit(form, {"name": " Grace "})
    assert second.answers == {"name": "Grace"}
    assert (await forms.get(form.id)).submissions == 2
    await odm.repository(Submission).delete(first)
    assert [submission.id for submission in await forms.submissions(form)] == [second.id]


async def test_refused_answers_store_nothing(odm: Connection, form: Form) -> None:
    forms = FormRepository(odm)
    with pytest.raises(InvalidAnswers):
        await forms.submit(form, {"name": ""})
    assert (await forms.get(form.id)).submissions == 0
    assert await forms.submissions(form) == []


async def test_closed_form_takes_nothing(odm: Connection, form: Form) -> None:
    forms = FormRepository(odm)
    await forms.update(form.id, {"$set": {"is_open": False}})
    with pytest.raises(Refused, match="closed"):
        await forms.submit(form, {"name": "Ada"})
    assert await forms.submissions(form) == []


# Assets and page views


async def test_assets_of_every_class(odm: Connection) -> None:
    assets = AssetRepository(odm)
    size: dict[str, Any] = {"width": 800, "height": 600}
    await assets.add_many(
        [
            Image(key=UUID(int=1), name="bee.png", size_bytes=10, **size),
            Photo(key=UUID(int=2), name="bear.jpg", size_bytes=30, camera="x", **size),
            File(key=UUID(int=3), name="tea.pdf", size_bytes=5),
            Asset(key=UUID(int=4), name="be", size_bytes=1),
        ]
    )
    assert [(type(a), a.name) for a in await assets.named("be")] == [
        (Asset, "be"),
        (Photo, "bear.jpg"),
        (Image, "bee.png"),
    ]
    assert [image.name for image in await assets.images(wider_than=100)] == ["bear.jpg", "bee.png"]
    assert await assets.images(wider_than=800) == []
    assert [(u.kind, u.count, u.size_bytes) for u in await assets.usage()] == [
        ("Photo", 1, 30),
        ("Image", 1, 10),
        ("File", 1, 5),
        ("Asset", 1, 1),
    ]


async def test_page_views_per_day(odm: Connection) -> None:
    views = PageViewRepository(odm)
    page = await a_page(odm, "a")
    assert page.id is not None
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    await views.add_many(
        [
            PageView(viewed=Viewed(page=page.id), at=noon + timedelta(hours=8 * n), seconds=1.5)
            for n in range(3)
        ]
    )
    daily = await views.daily(page.id)
    assert [(row.day.day, row.views, row.seconds) for row in daily] == [(1, 2, 3.0), (2, 1, 1.5)]
    view = await views.record(page, seconds=2)
    assert view.viewed == Viewed(page=page.id, locale="en")
    with pytest.raises(Refused, match="never saved"):
        await views.record(Page(title="New"))
