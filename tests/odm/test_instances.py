from __future__ import annotations

from typing import Any

import pytest
from pydantic import PrivateAttr

import odm.instances
from odm import Document


class Plain(Document):
    name: str = ""
    _number: int = 1
    _list: list[int] = PrivateAttr(default=[1])
    _made: dict[str, int] = PrivateAttr(default_factory=dict)
    _unset: int = PrivateAttr()


class FromData(Document):
    name: str = ""
    _shout: str = PrivateAttr(default_factory=lambda data: data["name"].upper())


class Later(Plain):
    _more: str = "m"
    _seen: Any = None

    def model_post_init(self, context: Any, /) -> None:
        self._seen = (self._number, self._more)


def makers() -> list[Any]:
    return [
        lambda model: model(name="x"),
        lambda model: model.model_validate({"name": "x"}),
        lambda model: model.model_validate_json('{"name": "x"}'),
        lambda model: model.model_construct(name="x"),
        lambda model: model(name="x").model_copy(deep=True),
    ]


@pytest.mark.parametrize("make", makers())
def test_private_attributes_are_as_pydantic_has_them(make: Any) -> None:
    one, two = make(Plain), make(Plain)
    assert (one._number, one._list, one._made) == (1, [1], {})
    one._list.append(2)
    one._made["x"] = 1
    one._number = 5
    assert (two._number, two._list, two._made) == (1, [1], {})
    with pytest.raises(AttributeError):
        _ = one._unset


@pytest.mark.parametrize("make", makers())
def test_factories_that_look_at_the_data_are_left_to_pydantic(make: Any) -> None:
    assert make(FromData)._shout == "X"


@pytest.mark.parametrize("make", makers())
def test_private_attributes_are_there_when_a_model_s_own_hook_runs(make: Any) -> None:
    assert make(Later)._seen == (1, "m")


def test_loading_looks_at_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    Plain(name="planned")

    def fail(*_: Any) -> None:
        raise AssertionError("planned a second time")

    monkeypatch.setattr(odm.instances, "plan", fail)
    monkeypatch.setattr("pydantic._internal._fields.takes_validated_data_argument", fail)
    assert Plain.model_validate({"name": "y"})._made == {}
