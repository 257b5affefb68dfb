from __future__ import annotations

from pathlib import Path

import pytest

from odm.cli.doctor.facts import Unseen
from odm.cli.doctor.inspect_code import clients_made_again

MADE_AGAIN = {
    "in the handler": "def handler(event, context):\n    client = MongoClient(URI)\n",
    "in a coroutine": (
        "async def main(event, _context):\n    async with AsyncMongoClient(URI): ...\n"
    ),
    "by a module's name": "def h(event, context):\n    return pymongo.MongoClient(URI).db\n",
    "over odm": (
        "from odm import connect\nasync def h(event, context):\n    async with connect(): ...\n"
    ),
    "in a function it calls": (
        "def db():\n    return MongoClient(URI)\ndef handler(event, context):\n    db().x.find()\n"
    ),
    "two calls away": (
        "def a():\n    return MongoClient(URI)\ndef b():\n    return a()\n"
        "def handler(event, context):\n    b()\n"
    ),
}
MADE_ONCE = {
    "at the module's level": (
        "client = MongoClient(URI)\ndef handler(event, context):\n    client.x\n"
    ),
    "kept in a global": (
        "client = None\ndef db():\n    global client\n    if client is None:\n"
        "        client = MongoClient(URI)\n    return client\n"
        "def handler(event, context):\n    db()\n"
    ),
    "by a cached function": (
        "@functools.lru_cache(maxsize=None)\ndef db():\n    return MongoClient(URI)\n"
        "def handler(event, context):\n    db()\n"
    ),
    "as odm says": (
        "from odm import connect, lambda_handler\ndb = connect()\n"
        "@lambda_handler(db)\nasync def handler(event, context):\n    ...\n"
    ),
    "in no handler": "def migrate():\n    MongoClient(URI)\n",
    "another's connect": "def handler(event, context):\n    sqlite3.connect('x')\n",
}


@pytest.mark.parametrize("source", MADE_AGAIN.values(), ids=MADE_AGAIN.keys())
def test_a_client_made_in_each_invocation_is_found(tmp_path: Path, source: str) -> None:
    (tmp_path / "app.py").write_text(source)
    found = clients_made_again(tmp_path)
    assert isinstance(found, tuple)
    assert len(found) == 1
    assert found[0].startswith("app.py:")


@pytest.mark.parametrize("source", MADE_ONCE.values(), ids=MADE_ONCE.keys())
def test_a_client_made_once_is_no_alarm(tmp_path: Path, source: str) -> None:
    (tmp_path / "app.py").write_text(source)
    assert clients_made_again(tmp_path / "app.py") == ()


def test_what_is_not_the_applications_is_not_looked_at(tmp_path: Path) -> None:
    for name in ("site-packages", "tests", ".venv", "src"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(MADE_AGAIN["in the handler"])
    assert clients_made_again(tmp_path) == ("src/app.py:2: MongoClient",)


def test_source_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("print 'python 2'")
    (tmp_path / "app.py").write_text(MADE_AGAIN["in the handler"])
    assert clients_made_again(tmp_path) == ("app.py:2: MongoClient",)


def test_a_path_that_is_not_there_is_unseen(tmp_path: Path) -> None:
    assert isinstance(clients_made_again(tmp_path / "nowhere"), Unseen)
    assert isinstance(clients_made_again(tmp_path), Unseen)  # nothing in it


def test_the_repositorys_own_caller_makes_its_client_once() -> None:
    examples = Path(__file__).parents[4] / "examples"
    assert clients_made_again(examples) == ()
