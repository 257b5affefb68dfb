"""An application's process, from its first line to its first document; tells when it got how far.

Run as ``python caller.py`` with the URL in ``ODM_URL``; writes one line, ``[[name, ns], …]``.
"""

# The first line of all that Python runs: what comes before it is the interpreter's.
from stamps import STAMPS, stamp  # type: ignore[import-not-found]  # beside this file

stamp("interpreter")

import asyncio  # noqa: E402  # what is measured, in this order
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import pymongo  # noqa: E402, F401

stamp("driver")

import odm  # noqa: E402

_ = odm.Document, odm.Repository, odm.connect
stamp("odm, Beanie")

from odm.cli.bench.documents import Article, Note, article_id, title  # noqa: E402

stamp("models")


def _watch(owner: Any, name: str, what: str) -> None:
    """Note the end of an asynchronous method's call."""
    original = getattr(owner, name)

    async def call(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        stamp(what)
        return result

    setattr(owner, name, call)


async def _main(url: str) -> None:
    db = odm.connect(url, models=[Article, Note])
    stamp("transport")
    if url.startswith("lambda://"):
        from transports.lambda_invoke.connections import Connections

        _watch(Connections, "__aenter__", "AWS client")
    _watch(type(db.transport), "open", "opening")
    async with db:
        stamp("models' binding")
        found = await db.repository(Article).get(article_id(1))
        stamp("command")
        if found.title != title(1):
            raise SystemExit(f"read {found.title!r}")
        sys.stdout.write(json.dumps(STAMPS) + "\n")
        sys.stdout.flush()


asyncio.run(_main(os.environ["ODM_URL"]))
