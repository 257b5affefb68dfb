from __future__ import annotations

import threading
from typing import Any

import beanie
import pytest
from beanie.exceptions import Deprecation
from pydantic import Field

from odm import BackLink, Document, InvalidConfiguration, Link, UnionDoc, View
from odm.initialise import initialise, is_ours
from odm.metaclass import is_initialised


class Parent(Document):
    children: list[BackLink[Child]] = Field(
        default_factory=list, json_schema_extra={"original_field": "parent"}
    )
    favourite: Link[Child] | None = None


class Child(Document):
    parent: Link[Parent] | None = None
    friends: list[Link[Child]] = Field(default_factory=list)

    class Settings:
        max_nesting_depth = 1


def test_it_is_done_when_first_needed_and_once() -> None:
    class Fresh(Document):
        name: str

    assert not is_initialised(Fresh)
    assert Fresh.get_settings().name == "Fresh"
    assert is_initialised(Fresh)
    settings = Fresh.get_settings()
    initialise(Fresh)
    assert Fresh.get_settings() is settings


def test_links_are_found_behind_forward_references() -> None:
    parents: Any = Parent.get_link_fields() or (Parent(), Parent.get_link_fields())[1]
    assert {name: info.link_type.value for name, info in parents.items()} == {
        "children": "BACK_LIST",
        "favourite": "OPTIONAL_DIRECT",
    }
    assert parents["children"].document_class is Child
    Child.get_settings()
    children: Any = Child.get_link_fields()
    assert children["friends"].link_type.value == "LIST"
    assert children["friends"].nested_links is None


def test_back_links_get_their_values_without_a_connection() -> None:
    assert len(Parent().children) == 1
    assert isinstance(Parent().children[0], BackLink)


def test_a_link_to_nowhere_says_so() -> None:
    class Lost(Document):
        to: Link[Nowhere] | None = None  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidConfiguration, match="a field of Lost names a class"):
        Lost.get_settings()
    assert not is_initialised(Lost)


def test_the_old_inner_collection_class_is_refused() -> None:
    class Old(Document):
        class Collection:
            name = "old"

    with pytest.raises(Deprecation):
        Old.get_settings()


def test_a_tree_is_placed_from_its_root_down_whoever_asks_first() -> None:
    class Root(Document):
        class Settings:
            name = "roots"
            is_root = True

    class Branch(Root):
        pass

    class Leaf(Branch):
        class Settings:
            class_id_value = "leaf"

    assert Leaf.get_settings().name == "roots"
    assert (Root._class_id, Branch._class_id, Leaf._class_id) == ("Root", "Root.Branch", "leaf")
    assert set(Root._children) == {"Root.Branch", "leaf"}
    assert set(Branch._children) == {"leaf"}


def test_a_subclass_of_a_class_that_is_no_root_has_a_collection_of_its_own() -> None:
    class Plain(Document):
        pass

    class Other(Plain):
        pass

    assert (Plain.get_collection_name(), Other.get_collection_name()) == ("Plain", "Other")
    assert not Other._inheritance_inited


def test_threads_that_ask_at_once_see_it_whole() -> None:
    for _ in range(20):

        class Wanted(Document):
            a: int = 0
            b: int = 0
            c: int = 0

        barrier = threading.Barrier(4)
        seen: list[Any] = []

        def ask(model: Any = Wanted, barrier: Any = barrier, seen: Any = seen) -> None:
            barrier.wait(10)
            seen.append([str.__str__(field) for field in (model.c, model.b, model.a)])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [["c", "b", "a"]] * 4


def test_what_follows_its_connection() -> None:
    class Own(Document):
        pass

    class Seen(View):
        pass

    class Both(UnionDoc):
        pass

    class Plain(beanie.Document):
        pass

    assert [is_ours(model) for model in (Own, Seen, Both, Plain)] == [True, True, True, False]
