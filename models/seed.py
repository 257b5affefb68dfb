"""Deterministic content for demos, tests and benchmarks: the same seed, the same documents.

Ids, keys and instants come from the seed too, so two deployments seeded alike answer alike. (A
page's ``revision_id`` is the exception: Beanie draws it when a page is saved, not when many are
added.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from models.analytics import PageView, Viewed
from models.assets import Asset, File, Image, Licence, Photo, Video
from models.categories import Category
from models.forms import ChoiceField, DateField, Form, NumberField, Submission, TextField
from models.pages import (
    ColumnsBlock,
    FormBlock,
    HeadingBlock,
    ImageBlock,
    Page,
    PageRevision,
    PageStatus,
    Seo,
    TextBlock,
)
from models.users import Address, Profile, Role, User
from models.values import slugify
from odm import Connection, PydanticObjectId

EPOCH = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
"""The first instant of the seeded world."""

_FIRST_NAMES = ("Ada", "Grace", "Linus", "Zoë", "Nur", "Jürgen", "Mei", "Olu", "Inés", "Søren")
_LAST_NAMES = ("Adeyemi", "Byrne", "Castillo", "Dvořák", "Ekström", "Fujita", "Gruber", "Haddad")
_TOPICS = ("Bread", "Bicycles", "Bees", "Bridges", "Clocks", "Gardens", "Lanterns", "Maps", "Tea")
_ANGLES = (
    "A short history of {}",
    "{} for beginners",
    "Why we still need {}",
    "The quiet art of {}",
    "Ten questions about {}",
    "Repairing {}",
)
# fmt: off
_WORDS = (
    "the", "morning", "light", "falls", "on", "old", "stone", "and", "new", "timber", "while",
    "somebody", "counts", "every", "careful", "step", "of", "a", "long", "river", "path",
    "between", "two", "towns", "that", "nobody", "has", "ever", "measured", "twice",
)
# fmt: on
_TAGS = ("craft", "city", "food", "history", "howto", "nature", "news", "travel")
_TREE = {"Stories": ("People", "Places"), "Guides": ("Workshop", "Kitchen"), "News": ()}
_LOCALES = ("en", "en", "en", "de", "fr")
_CITIES = (("Bergen", "NO"), ("Brno", "CZ"), ("Cork", "IE"), ("Graz", "AT"), ("Lagos", "NG"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """How many documents of each kind were added."""

    users: int
    categories: int
    pages: int
    revisions: int
    forms: int
    submissions: int
    assets: int
    page_views: int

    @property
    def documents(self) -> int:
        """All of them."""
        return (
            self.users
            + self.categories
            + self.pages
            + self.revisions
            + self.forms
            + self.submissions
            + self.assets
            + self.page_views
        )


async def seed(db: Connection, *, pages: int = 50, seed: int = 1) -> Seeded:
    """Fill an empty database with about ``6 * pages`` documents.

    Args:
        db: a connection that has bound `models.ALL_MODELS`.
        pages: how many pages; everything else is in proportion.
        seed: the same number gives the same documents, ids included.
    """
    with db.bind():
        world = _World(Random(seed), pages)  # noqa: S311 - sample data, not secrets
    await db.repository(User).add_many(world.users)
    await db.repository(Category).add_many(world.categories)
    await db.repository(Asset).add_many(world.assets)
    await db.repository(Form).add_many(world.forms)
    await db.repository(Submission).add_many(world.submissions)
    await db.repository(Page).add_many(world.pages)
    await db.repository(PageRevision).add_many(world.revisions)
    await db.repository(PageView).add_many(world.page_views)
    return Seeded(
        users=len(world.users),
        categories=len(world.categories),
        pages=len(world.pages),
        revisions=len(world.revisions),
        forms=len(world.forms),
        submissions=len(world.submissions),
        assets=len(world.assets),
        page_views=len(world.page_views),
    )


class _World:
    """All documents, made in an order in which each knows what it links to."""

    def __init__(self, random: Random, pages: int) -> None:
        self._random = random
        self.users = [self._user(number) for number in range(max(4, pages // 5))]
        self.categories = self._category_tree()
        self.assets = [self._asset(number) for number in range(max(4, pages // 2))]
        self.forms = [self._contact_form(), self._survey()]
        self.submissions = [self._submission(number) for number in range(max(4, pages // 2))]
        self.pages = [self._page(number) for number in range(pages)]
        self.revisions = [
            self._revision(page, number)
            for page in self.pages
            for number in range(1, page.version + 1)
        ]
        self.page_views = [
            self._page_view(page)
            for page in self.pages
            if page.status is PageStatus.PUBLISHED
            for _ in range(self._random.randint(1, 5))
        ]

    def _id(self) -> PydanticObjectId:
        return PydanticObjectId(self._random.randbytes(12))

    def _instant(self, days: float = 300) -> datetime:
        return EPOCH + timedelta(milliseconds=self._random.randrange(int(days * 86_400_000)))

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=words)).capitalize() + "."

    def _user(self, number: int) -> User:
        first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
        last = self._random.choice(_LAST_NAMES)
        city, country = self._random.choice(_CITIES)
        created = self._instant(30)
        roles = [Role.ADMIN] if number == 0 else [Role.EDITOR] if number % 3 == 1 else [Role.AUTHOR]
        return User(
            id=self._id(),
            email=f"{slugify(first)}.{slugify(last)}.{number}@example.org",
            profile=Profile(
                display_name=f"{first} {last}",
                bio=self._text(8),
                address=Address(
                    street=f"{self._random.randint(1, 99)} {last} Street",
                    city=city,
                    postal_code=f"{self._random.randint(1000, 99999)}",
                    country=country,
                ),
            ),
            roles=[*roles, Role.READER],
            active=number % 7 != 6,
            logins=self._random.randrange(50),
            last_login_at=None if number % 4 == 3 else self._instant(),
            created_at=created,
            updated_at=created,
        )

    def _category_tree(self) -> list[Category]:
        categories: list[Category] = []
        for position, (name, children) in enumerate(_TREE.items()):
            parent = Category(id=self._id(), name=name, slug=slugify(name), position=position)
            categories.append(parent)
            categories += [
                Category(
                    id=self._id(), name=child, slug=slugify(child), position=place, parent=parent
                )
                for place, child in enumerate(children)
            ]
        return categories

    def _asset(self, number: int) -> Asset:
        content = self._random.randbytes(16)
        name = f"{self._random.choice(_TOPICS).lower()}-{number:03}"
        common: dict[str, Any] = {
            "id": self._id(),
            "key": UUID(bytes=self._random.randbytes(16), version=4),
            "size_bytes": self._random.randint(1_000, 5_000_000),
            "digest": hashlib.sha256(content).digest(),
            "licence": Licence(
                name=self._random.choice(("CC0", "CC BY 4.0", "editorial")),
                price=Decimal(self._random.randrange(10_000)) / 100,
            ),
            "metadata": {"source": self._random.choice(("upload", "import")), "number": number},
            "uploaded_by": self._random.choice(self.users),
            "uploaded_at": self._instant(),
        }
        size: dict[str, Any] = {
            "width": self._random.randint(320, 4000),
            "height": self._random.randint(240, 3000),
        }
        if number % 4 == 0:
            return Image(name=f"{name}.png", alt=self._text(4), **size, **common)
        if number % 4 == 1:
            return Photo(
                name=f"{name}.jpg",
                camera=self._random.choice(("Leica M6", "Nikon FM2")),
                location=(round(self._random.uniform(-20, 40), 4), 50.5),
                **size,
                **common,
            )
        if number % 4 == 2:
            duration = timedelta(seconds=self._random.randint(5, 600))
            return Video(name=f"{name}.mp4", duration=duration, **common)
        return File(name=f"{name}.pdf", media_type="application/pdf", **common)

    def _contact_form(self) -> Form:
        return Form(
            id=self._id(),
            slug="contact",
            title="Write to us",
            fields=[
                TextField(name="name", label="Your name", required=True, max_length=80),
                TextField(name="email", label="E-mail", required=True, pattern=r"[^@]+@[^@]+"),
                TextField(name="message", label="Message", required=True),
            ],
        )

    def _survey(self) -> Form:
        return Form(
            id=self._id(),
            slug="survey",
            title="How do you like it here?",
            fields=[
                NumberField(name="age", label="Your age", minimum=0, maximum=130),
                ChoiceField(name="interests", label="Interests", options=list(_TAGS), several=True),
                DateField(name="since", label="Reader since"),
            ],
        )

    def _submission(self, number: int) -> Submission:
        form = self.forms[number % len(self.forms)]
        answers: dict[str, Any]
        if form.slug == "contact":
            name = self._random.choice(_FIRST_NAMES)
            email = f"{slugify(name)}@example.com"
            answers = {"name": name, "email": email, "message": self._text(12)}
        else:
            answers = {
                "age": self._random.randint(12, 90),
                "interests": self._random.sample(_TAGS, 2),
                "since": self._instant(),
            }
        form.submissions += 1
        return Submission(
            id=self._id(),
            form=form,
            answers=form.checked(answers),
            user=self._random.choice([None, *self.users]),
            submitted_at=self._instant(),
        )

    def _page(self, number: int) -> Page:
        title = _ANGLES[number % len(_ANGLES)].format(self._random.choice(_TOPICS))
        status = self._random.choice((PageStatus.PUBLISHED, PageStatus.PUBLISHED, *PageStatus))
        created = self._instant(200)
        published = status is not PageStatus.DRAFT
        return Page(
            id=self._id(),
            locale=self._random.choice(_LOCALES),
            slug=f"{slugify(title)}-{number}",
            title=title,
            summary=self._text(10),
            status=status,
            blocks=self._blocks(),
            seo=Seo(title=title, description=self._text(6)),
            tags=sorted(self._random.sample(_TAGS, self._random.randint(1, 3))),
            author=self._random.choice(self.users),
            category=self._random.choice(self.categories),
            version=self._random.randint(1, 3) if published else 0,
            published_at=created + timedelta(days=2) if published else None,
            created_at=created,
            updated_at=created + timedelta(days=self._random.randint(0, 30)),
        )

    def _blocks(self) -> list[Any]:
        images = [asset.id for asset in self.assets if isinstance(asset, Image) and asset.id]
        form = self._random.choice(self.forms).id
        assert form is not None
        extras = [
            ImageBlock(asset=self._random.choice(images), caption=self._text(5)),
            FormBlock(form=form),
            ColumnsBlock(
                columns=[[TextBlock(text=self._text(9))], [TextBlock(text=self._text(9))]]
            ),
        ]
        return [
            HeadingBlock(text=self._text(3)),
            TextBlock(text=self._text(25)),
            *self._random.sample(extras, self._random.randint(0, 3)),
        ]

    def _revision(self, page: Page, number: int) -> PageRevision:
        return PageRevision(
            id=self._id(),
            page=page,
            number=number,
            title=page.title if number == page.version else f"{page.title} ({number})",
            blocks=page.blocks[:number] if number < page.version else page.blocks,
            author=page.author,
            created_at=page.created_at + timedelta(days=number - page.version + 2),
        )

    def _page_view(self, page: Page) -> PageView:
        assert page.id is not None
        return PageView(
            id=self._id(),
            viewed=Viewed(page=page.id, locale=page.locale),
            at=page.created_at + timedelta(days=2, seconds=self._random.randrange(600_000)),
            seconds=round(self._random.expovariate(1 / 40), 1),
            country=self._random.choice(_CITIES)[1],
        )
