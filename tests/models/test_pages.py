from __future__ import annotations

import pytest
from pydantic import ValidationError

from models import (
    ColumnsBlock,
    HeadingBlock,
    Page,
    PageStatus,
    Profile,
    Role,
    TextBlock,
    User,
)
from odm import Connection


def test_blocks_are_told_apart_by_their_kind() -> None:
    page = Page.model_validate(
        {
            "title": "T",
            "blocks": [
                {"kind": "heading", "text": "H", "level": 3},
                {"kind": "columns", "columns": [[{"kind": "text", "text": "a"}], []]},
            ],
        }
    )
    assert page.blocks == [
        HeadingBlock(text="H", level=3),
        ColumnsBlock(columns=[[TextBlock(text="a")], []]),
    ]


@pytest.mark.parametrize(
    "block", [{"kind": "video"}, {"text": "no kind"}, {"kind": "heading", "text": "H", "level": 9}]
)
def test_other_blocks_are_refused(block: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Page.model_validate({"title": "T", "blocks": [block]})


def test_a_page_needs_a_title() -> None:
    with pytest.raises(ValidationError):
        Page(title="")


@pytest.mark.parametrize(
    ("roles", "active", "may"),
    [
        ([Role.ADMIN], True, True),
        ([Role.READER, Role.EDITOR], True, True),
        ([Role.AUTHOR], True, False),
        ([Role.ADMIN], False, False),
        ([], True, False),
    ],
)
def test_who_may_publish(roles: list[Role], active: bool, may: bool) -> None:
    user = User(email="a@b.c", profile=Profile(display_name="A"), roles=roles, active=active)
    assert user.may_publish() is may


async def test_a_page_names_itself_when_it_is_inserted(odm: Connection) -> None:
    pages = odm.repository(Page)
    assert (await pages.add(Page(title="Über uns!"))).slug == "uber-uns"
    assert (await pages.add(Page(title="Über uns!", slug="about"))).slug == "about"


async def test_every_write_notes_the_time(odm: Connection) -> None:
    pages = odm.repository(Page)
    page = await pages.add(Page(title="A"))
    page.updated_at = page.created_at.replace(year=2020)
    page.status = PageStatus.ARCHIVED
    await page.save_changes()
    assert (await pages.get(page.id)).updated_at >= page.created_at
