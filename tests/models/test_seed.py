from __future__ import annotations

from typing import Any

from models import ALL_MODELS, Page, PageStatus, PageSummary, Seeded, Submission, seed
from odm import Connection, connect


async def stored(db: Connection) -> dict[str, list[dict[str, Any]]]:
    content = {}
    for name in await db.database.list_collection_names(filter={"type": "collection"}):
        if not name.startswith("system."):
            content[name] = await db.database[name].find({}, {"revision_id": 0}).to_list()
    return content


async def test_seed_fills_every_collection(odm: Connection) -> None:
    seeded = await seed(odm, pages=20)
    assert seeded.pages == 20
    assert seeded.documents == sum(
        getattr(seeded, name) for name in Seeded.__slots__ if name != "documents"
    )
    pages = odm.repository(Page)
    assert await pages.count() == 20
    published = await pages.count({"status": PageStatus.PUBLISHED})
    assert 0 < published < 20
    with odm.bind():
        assert await PageSummary.find_all().count() == published
    assert await odm.repository(Submission).count() == seeded.submissions


async def test_seeded_documents_pass_their_own_validation(odm: Connection) -> None:
    await seed(odm, pages=8)
    with odm.bind():
        for model in ALL_MODELS:
            if hasattr(model, "inspect_collection") and not model.get_settings().is_root:
                assert (await model.inspect_collection()).errors == []


async def test_same_seed_gives_the_same_documents() -> None:
    content = []
    for number in (5, 5, 6):
        async with connect("fake:///seeded", models=ALL_MODELS) as db:
            await seed(db, pages=6, seed=number)
            content.append(await stored(db))
    assert content[0] == content[1]
    assert content[0] != content[2]
