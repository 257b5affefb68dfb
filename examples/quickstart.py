"""A document, a repository, and a URL that decides how MongoDB is reached.

python examples/quickstart.py                        # in memory
ODM_URL=embedded:///cms python examples/quickstart.py
ODM_URL=lambda://db-proxy/cms?region=eu-central-1 python examples/quickstart.py
"""

import asyncio
import os
from typing import Annotated

from odm import Document, Indexed, Repository, connect


class Page(Document):
    title: str
    slug: Annotated[str, Indexed(unique=True)]

    class Settings:
        name = "quickstart_pages"


class Pages(Repository[Page]):
    async def titled(self, word: str) -> list[Page]:
        return await self.find({"title": {"$regex": word}}, sort="title").to_list()


async def main() -> None:
    async with connect(os.environ.get("ODM_URL", "fake:///cms"), models=[Page]) as db:
        pages = Pages(db)
        await pages.add_many([Page(title=f"Hello {n}", slug=f"hello-{n}") for n in range(3)])
        async with db.transaction():
            await pages.update_many({"slug": "hello-1"}, changes={"$set": {"title": "Goodbye"}})
        print([page.title for page in await pages.titled("Hello")])
        await pages.delete_many({"slug": {"$in": ["hello-0", "hello-1", "hello-2"]}})


asyncio.run(main())
