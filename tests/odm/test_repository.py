from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field
from pymongo import IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError

from odm import (
    Document,
    DocumentNotFound,
    DocumentWithSoftDelete,
    Indexed,
    Insert,
    NotConnected,
    Page,
    PydanticObjectId,
    Replace,
    Repository,
    RevisionIdWasChanged,
    Save,
    Update,
    before_event,
)

Open = Callable[..., Any]


class Book(Document):
    title: str
    isbn: Annotated[str, Indexed(unique=True)]
    pages: int = 0
    tags: list[str] = Field(default_factory=list)
    stamp: str = ""

    class Settings:
        name = "books"

    @before_event(Insert, Replace, Save, Update)
    def mark(self) -> None:
        self.stamp = "marked"


class Other(Document):
    name: str = ""


class Contract(Document):
    text: str = ""

    class Settings:
        use_revision = True
        use_state_management = True


class Named(Document):
    slug: Annotated[str, Indexed(unique=True)]
    name: Annotated[str, Indexed(unique=True)]

    class Settings:
        use_revision = True


class Keyed(Document):
    id: UUID = Field(default_factory=uuid4)  # type: ignore[assignment]  # another type of id
    key: str
    at: datetime | None = None

    class Settings:
        name = "keyed"
        indexes = [IndexModel([("key", 1)], unique=True)]  # noqa: RUF012 - Beanie's form


class Hidden(DocumentWithSoftDelete):
    text: str = ""


class Animal(Document):
    name: str

    class Settings:
        is_root = True


class Cat(Animal):
    lives: int = 9


class Title(BaseModel):
    title: str


class BookRepository(Repository[Book]):
    async def thick(self) -> list[Book]:
        return await self.find(Book.pages > 500, sort="title").to_list()


def book(number: int, **values: Any) -> Book:
    return Book(**{"title": f"t{number}", "isbn": f"{number:04}", "pages": number, **values})


@pytest.fixture
async def books(opened: Open) -> BookRepository:
    db = await opened(Book, Other, Contract, Keyed, Hidden, Animal, Cat)
    return BookRepository(db)


async def test_get_returns_or_raises(books: BookRepository) -> None:
    added = await books.add(book(1))
    assert isinstance(added.id, PydanticObjectId)
    assert await books.get(added.id) == added
    assert await books.get(str(added.id)) == added
    missing = PydanticObjectId()
    with pytest.raises(DocumentNotFound, match=f"no Book with the id .*{missing}") as caught:
        await books.get(missing)
    assert (caught.value.model, caught.value.id) == ("Book", missing)
    with pytest.raises(ValueError, match="24 hexadecimal digits"):
        await books.get("no id at all")


async def test_finding(books: BookRepository) -> None:
    await books.add_many([book(n, tags=["odd" if n % 2 else "even"]) for n in range(6)])
    assert await books.find_one(Book.isbn == "0003") == await books.first({"isbn": "0003"})
    assert await books.find_one({"isbn": "none"}) is None
    last = await books.find_one(sort="-pages")
    assert last is not None
    assert last.pages == 5
    assert await books.first({"pages": 99}) is None
    found = await books.find(Book.pages >= 2, {"tags": "even"}, sort=["-pages"]).to_list()
    assert [b.pages for b in found] == [4, 2]
    assert [b.pages async for b in books.find(sort="pages", skip=1, limit=2)] == [1, 2]
    assert await books.find(sort=[("pages", -1)], limit=1).first_or_none() == last
    assert await books.find({"pages": 5}, into=Title).to_list() == [Title(title="t5")]
    assert await books.exists(Book.pages == 5)
    assert not await books.exists(Book.pages == 6)
    assert await books.count() == 6
    assert await books.count({"tags": "odd"}) == 3
    assert sorted(await books.distinct("tags")) == ["even", "odd"]
    assert await books.distinct("isbn", Book.pages < 1) == ["0000"]
    assert await books.find(sort="-id").count() == 6


async def test_a_derived_repository_adds_the_domain_s_queries(books: BookRepository) -> None:
    await books.add_many([book(n) for n in (400, 700, 600)])
    assert [b.pages for b in await books.thick()] == [600, 700]
    again = books.connection.repository(BookRepository)
    assert [b.pages for b in await again.thick()] == [600, 700]
    plain = books.connection.repository(Book)
    assert type(plain) is Repository
    assert await plain.count() == 3
    assert "of Book" in repr(plain)


async def test_aggregation_into_mappings_and_models(books: BookRepository) -> None:
    await books.add_many([book(n) for n in range(4)])
    pipeline: list[dict[str, Any]] = [{"$match": {"pages": {"$gt": 1}}}, {"$sort": {"pages": 1}}]
    rows = await books.aggregate([*pipeline, {"$project": {"_id": 0, "pages": 1}}])
    assert rows == [{"pages": 2}, {"pages": 3}]
    assert await books.aggregate(pipeline, into=Title) == [Title(title="t2"), Title(title="t3")]


async def test_stream_yields_everything_in_batches(listening: Open) -> None:
    db, commands = await listening(Book)
    books = db.repository(Book)
    await books.add_many([book(n) for n in range(25)])
    commands.events.clear()
    seen = [b.pages async for b in books.stream(sort="pages", batch_size=10)]
    assert seen == list(range(25))
    assert commands.names == ["find", "getMore", "getMore"]
    commands.events.clear()
    stream = books.stream(Book.pages >= 0, batch_size=5)
    async for _ in stream:
        break
    await stream.aclose()
    assert commands.names == ["find", "killCursors"]


async def test_adding_runs_actions_and_tells_duplicates(books: BookRepository) -> None:
    added = await books.add(book(1))
    assert added.stamp == "marked"
    with pytest.raises(DuplicateKeyError):
        await books.add(book(1))


async def test_adding_many_sets_ids(books: BookRepository) -> None:
    given = [book(n) for n in range(3)]
    added = await books.add_many(given)
    assert all(one is other for one, other in zip(added, given, strict=True))
    assert await books.find(sort="pages").to_list() == added
    assert await books.add_many([]) == []
    await added[0].set({"title": "changed"})
    assert (await books.get(added[0].id)).title == "changed"


@pytest.mark.parametrize("ordered", [True, False])
async def test_of_many_only_those_that_were_inserted_get_ids(
    books: BookRepository, ordered: bool
) -> None:
    given = [book(1), book(2), book(1), book(3)]
    with pytest.raises(BulkWriteError):
        await books.add_many(given, ordered=ordered)
    inserted = [b.id is not None for b in given]
    assert inserted == [True, True, False, not ordered]
    assert await books.count() == sum(inserted)


async def test_ids_of_another_type(books: BookRepository) -> None:
    keyed = books.connection.repository(Keyed)
    one = await keyed.add(Keyed(key="a", at=datetime(2026, 1, 1, tzinfo=UTC)))
    many = await keyed.add_many([Keyed(key="b"), Keyed(key="c")])
    assert isinstance(many[0].id, UUID)
    assert (await keyed.get(one.id)).key == "a"
    assert (await keyed.get(str(one.id))).key == "a"
    assert (await keyed.update(one.id, {"$set": {"key": "d"}})).id == one.id
    await keyed.delete(many[0].id)
    assert await keyed.count() == 2


async def test_saving_inserts_or_overwrites(books: BookRepository) -> None:
    saved = await books.save(book(1))
    assert saved.id is not None
    saved.title = "again"
    assert await books.save(saved) is saved
    assert [b.title for b in await books.find().to_list()] == ["again"]


async def test_saving_a_stale_copy_is_refused(books: BookRepository) -> None:
    contracts = books.connection.repository(Contract)
    contract = await contracts.add(Contract(text="a"))
    stale = await contracts.get(contract.id)
    await contracts.update(contract, {"$set": {"text": "b"}})
    with pytest.raises(RevisionIdWasChanged):
        await contracts.save(stale)
    with pytest.raises(RevisionIdWasChanged):
        await contracts.update(stale, {"$set": {"text": "c"}})
    assert (await contracts.get(contract.id)).text == "b"


async def test_every_write_makes_a_new_revision(books: BookRepository) -> None:
    contracts = books.connection.repository(Contract)
    contract = await contracts.add(Contract(text="a"))
    seen = {contract.revision_id}
    seen.add((await contracts.update(contract.id, {"$set": {"text": "b"}})).revision_id)
    await contracts.update_many({}, changes={"$set": {"text": "c"}})
    seen.add((await contracts.get(contract.id)).revision_id)
    async with contracts.bulk() as batch:
        batch.update(contract.id, {"$set": {"text": "d"}})
    seen.add((await contracts.get(contract.id)).revision_id)
    await contracts.upsert(Contract(text="e"), {"_id": contract.id})
    seen.add((await contracts.get(contract.id)).revision_id)
    (many,) = await contracts.add_many([Contract()])
    seen.add(many.revision_id)
    assert len(seen) == 6
    assert None not in seen
    with pytest.raises(RevisionIdWasChanged):
        await contracts.save(contract)


async def test_upsert_replaces_the_match(books: BookRepository) -> None:
    first = await books.add(book(1))
    replaced = await books.upsert(book(1, title="new"), Book.isbn == "0001")
    assert replaced.id == first.id
    assert await books.find().to_list() == [replaced]
    assert replaced.stamp == "marked"


async def test_upsert_inserts_where_nothing_matches(books: BookRepository) -> None:
    added = await books.upsert(book(1), Book.isbn == "0001")
    assert added.id is not None
    assert await books.upsert(book(2)) == await books.first(Book.isbn == "0002")
    added.title = "by id"
    await books.upsert(added)
    assert (await books.get(added.id)).title == "by id"
    assert await books.count() == 2
    with pytest.raises(DuplicateKeyError):
        await books.upsert(book(1), {"isbn": "something else"})
    gone = book(3, id=PydanticObjectId())
    assert (await books.upsert(gone)).id == gone.id


async def test_an_upsert_that_fails_leaves_the_document_as_it_was(opened: Open) -> None:
    db = await opened(Named)
    named = db.repository(Named)
    first = await named.add(Named(slug="a", name="1"))
    await named.add(Named(slug="b", name="2"))
    new = Named(slug="a", name="2")
    with pytest.raises(DuplicateKeyError):
        await named.upsert(new, Named.slug == "a")
    assert (new.id, new.revision_id) == (None, None)
    assert not new._odm_home.is_set
    with pytest.raises(ValueError, match="has no id"):
        await named.delete(new)
    assert await named.get(first.id) == first
    with pytest.raises(DuplicateKeyError):  # where nothing matches and the insert fails
        await named.upsert(new, Named.slug == "c")
    assert (new.id, new.revision_id) == (None, None)


async def test_upsert_keeps_an_id_that_was_given(books: BookRepository) -> None:
    keyed = books.connection.repository(Keyed)
    new = Keyed(key="k")
    given = new.id
    assert (await keyed.upsert(new, {"key": "k"})).id == given
    assert (await keyed.upsert(Keyed(key="k"), {"key": "k"})).id == given
    assert await keyed.count() == 1


async def test_update_returns_the_document_as_it_is_after(books: BookRepository) -> None:
    added = await books.add(book(1))
    twin = await books.get(added.id)
    assert await books.update(added, {"$inc": {"pages": 4}}) is added
    assert added.pages == 5
    other = await books.update(twin.id, {"$set": {"title": "x"}, "$push": {"tags": "y"}})
    assert (other.title, other.tags, other.pages) == ("x", ["y"], 5)
    by_text = await books.update(str(twin.id), {"$set": {Book.title: "z"}})
    assert by_text.title == "z"
    missing = PydanticObjectId()
    with pytest.raises(DocumentNotFound):
        await books.update(missing, {"$set": {"title": "x"}})
    await books.delete(added.id)
    with pytest.raises(DocumentNotFound):
        await books.update(added, {"$set": {"title": "x"}})


async def test_changes_without_operators_are_refused(books: BookRepository) -> None:
    added = await books.add(book(1))
    with pytest.raises(ValueError, match=r"write \{'\$set'"):
        await books.update(added, {"title": "x"})
    with pytest.raises(ValueError, match=r"write \{'\$set'"):
        await books.update_many({}, changes={})
    with pytest.raises(TypeError, match="mapping"):
        await books.update(added, "title")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no id"):
        await books.update(book(2), {"$set": {"title": "x"}})


async def test_update_many_counts_what_it_modified(books: BookRepository) -> None:
    await books.add_many([book(n) for n in range(4)])
    assert await books.update_many(Book.pages > 1, changes={"$set": {"title": "x"}}) == 2
    assert await books.update_many(Book.pages > 0, changes={"$set": {"title": "x"}}) == 1
    assert await books.update_many({}, changes={"$inc": {"pages": 1}}) == 4


async def test_everything_is_changed_or_deleted_only_when_asked_for(books: BookRepository) -> None:
    await books.add_many([book(n) for n in range(2)])
    with pytest.raises(TypeError, match=r"every Book.*write update_many\(\{\}, changes=…\)"):
        await books.update_many(changes={"$set": {"title": "x"}})
    with pytest.raises(TypeError, match=r"every Book.*write delete_many\(\{\}\)"):
        await books.delete_many()
    assert await books.count({"title": "x"}) == 0
    assert await books.update_many({}, changes={"$set": {"title": "x"}}) == 2
    assert await books.delete_many({}) == 2


async def test_deleting(books: BookRepository) -> None:
    one, two, *_ = await books.add_many([book(n) for n in range(5)])
    await books.delete(one)
    await books.delete(two.id)
    with pytest.raises(DocumentNotFound):
        await books.delete(one)
    with pytest.raises(DocumentNotFound):
        await books.delete(two.id)
    assert await books.delete_many(Book.pages == 4) == 1
    assert await books.delete_many({}) == 2


async def test_deleting_softly_marks(books: BookRepository) -> None:
    hidden = books.connection.repository(Hidden)
    one, two = await hidden.add_many([Hidden(text="1"), Hidden(text="2")])
    await hidden.delete(one)
    await hidden.delete(two.id)
    assert await hidden.count() == 0
    assert await hidden.collection.count_documents({}) == 2
    with pytest.raises(DocumentNotFound):
        await hidden.delete(two.id)
    with pytest.raises(DocumentNotFound):
        await hidden.get(one.id)


async def test_a_repository_of_a_tree_addresses_its_branches(books: BookRepository) -> None:
    animals = books.connection.repository(Animal)
    cat = await animals.add(Cat(name="c"))
    await animals.add(Animal(name="a"))
    assert type(await animals.get(cat.id)) is Cat
    assert type(await animals.update(cat.id, {"$set": {"lives": 7}})) is Cat
    assert len(await animals.find(with_children=True).to_list()) == 2
    assert await animals.count() == 1
    assert len(await animals.aggregate([])) == 2
    cats = books.connection.repository(Cat)
    assert [c.lives for c in await cats.find().to_list()] == [7]
    await animals.delete(cat.id)
    assert await cats.count() == 0


async def test_documents_of_another_class_are_refused(books: BookRepository) -> None:
    other: Any = Other()
    with pytest.raises(TypeError, match=r"write db\.repository\(Other\)"):
        await books.add(other)
    with pytest.raises(TypeError, match="expected a Book"):
        await books.save({"title": "x"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Other"):
        await books.add_many([book(1), other])
    with pytest.raises(TypeError, match="Other"):
        await books.delete(other)
    with pytest.raises(TypeError, match="Other"):
        await books.update(other, {"$set": {"title": "x"}})
    assert await books.count() == 0


async def test_filters_that_are_none_are_refused(books: BookRepository) -> None:
    with pytest.raises(TypeError, match="is no filter"):
        books.find("title")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="True is no filter"):
        await books.delete_many(True)


async def test_bad_sorts_skips_and_limits_are_refused_at_once(books: BookRepository) -> None:
    with pytest.raises(ValueError, match="is no sort order"):
        books.find(sort="- title")
    with pytest.raises(ValueError, match="is no sort order"):
        books.find().sort(("title", 2))
    with pytest.raises(ValueError, match="limit has to count from 0"):
        books.find(limit=-1)
    with pytest.raises(ValueError, match="skip has to count from 0"):
        books.find().skip(-1)


Call = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda books: books.get(None), "None is no id of a Book: write an ObjectId"),
        (lambda books: books.get(5), "5 is no id of a Book: write an ObjectId"),
        (lambda books: books.delete({"title": "x"}), r"a filter is for find\(\).*delete_many"),
        (lambda books: books.delete(None), "None is no id of a Book"),
        (lambda books: books.update("x", {"$set": {"title": "y"}}), "'x' is no id of a Book"),
        (lambda books: books.find(limit="3"), "limit is a whole number.*not '3'"),
        (lambda books: books.find(skip=True), "skip is a whole number"),
        (lambda books: books.find(into=int), r"into=Title"),
        (lambda books: books.find().project(dict), r"into=Title"),
        (lambda books: books.aggregate([], into=int), r"into=Title"),
        (lambda books: books.aggregate(None), r"list of stages: write aggregate\(\[.*not None"),
        (lambda books: books.aggregate({"$match": {}}), "list of stages"),
        (lambda books: books.watch(["$match"]), r"list of stages: write watch\("),
        (lambda books: books.page(size="5"), "size is a whole number.*not '5'"),
        (lambda books: books.page(size=0), "size has to count from 1"),
        (lambda books: books.page(number=0), "number has to count from 1"),
        (lambda books: books.page_after(size=0), "size has to count from 1"),
        (lambda books: books.page_after({"n": 1}), r"token.*write page_after\(None, \{"),
        (lambda books: books.stream(batch_size="5").__anext__(), "batch_size is a whole number"),
        (lambda books: books.add_many(None), r"write add_many\(\[…\]\), not None"),
        (lambda books: books.add_many(book(1)), r"write add_many\(\[…\]\), not one Book"),
        (lambda books: books.distinct(None), r"write distinct\('title'\)"),
        (lambda _: Repository("fake:///x", Book), r"not a str: write 'async with connect\("),  # type: ignore[arg-type]  # on purpose
        (lambda books: Repository[Book](books.connection), r"write Repository\(db, Page\)"),
    ],
)
async def test_wrong_arguments_are_refused_with_what_to_write(
    listening: Open, call: Call, message: str
) -> None:
    db, commands = await listening(Book)
    commands.events.clear()

    async def attempt() -> None:
        outcome = call(BookRepository(db))
        if inspect.isawaitable(outcome):
            await outcome

    with pytest.raises((TypeError, ValueError), match=message):
        await attempt()
    assert commands.names == []


async def test_ids_of_another_type_are_named(books: BookRepository) -> None:
    with pytest.raises(ValueError, match="'x' is no id of a Keyed: write a UUID"):
        await books.connection.repository(Keyed).get("x")


async def test_a_repository_says_what_it_needs(books: BookRepository) -> None:
    db = books.connection

    class Unbound(Document):
        name: str

    with pytest.raises(NotConnected, match=r"models=\[…, Unbound\]"):
        db.repository(Unbound)
    with pytest.raises(TypeError, match="does not say whose"):
        Repository(db)
    with pytest.raises(TypeError, match="no document class"):
        db.repository(Title)  # type: ignore[type-var]
    other: Any = Other
    with pytest.raises(TypeError, match="repository of Book"):
        BookRepository(db, other)


async def test_a_generic_base_repository_can_be_given_its_class_later(opened: Open) -> None:
    db = await opened(Book)
    books: Repository[Book] = Repository(db, Book)
    await books.add(book(1))

    class Audited(BookRepository):
        pass

    assert await Audited(db).count() == 1


async def test_reading_sends_one_command(listening: Open) -> None:
    db, commands = await listening(Book)
    books = db.repository(Book)
    added = await books.add(book(1))
    commands.events.clear()
    await books.get(added.id)
    await books.find_one(Book.isbn == "0001")
    await books.find().to_list()
    await books.update(added.id, {"$inc": {"pages": 1}})
    page: Page[Book] = await books.page()
    assert page.total == 1
    await books.page_after()
    assert commands.names == ["find", "find", "find", "findAndModify", "find", "find"]
