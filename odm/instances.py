"""How documents are made quickly: their private attributes, filled in without pydantic's help.

For every instance, pydantic 2.13 looks at the signature of each ``default_factory`` of a private
attribute, once per class above it. Beanie's documents have one (from `lazy_model`), ours two;
measured, that is two thirds of what loading a document costs. What has to be filled in is the same
for every instance of a class, so it is looked up once per class; pydantic then leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from pydantic import BaseModel
from pydantic.fields import ModelPrivateAttr
from pydantic_core import PydanticUndefined

_SHARED = {type(None), bool, int, float, complex, str, bytes}
"""Types of which all instances may hold the same value."""

Plan = tuple[dict[str, Any], tuple[tuple[str, Callable[[], Any]], ...]]
"""The values that instances share, and how to make the others."""

LEFT_TO_PYDANTIC: Plan = ({}, ())

PostInit = Callable[[Any, Any], None]


def filling_private_attributes(post_init: PostInit) -> PostInit:
    """Wrap a ``model_post_init`` so that private attributes are there when it begins."""

    @wraps(post_init)
    def model_post_init(self: Any, context: Any, /) -> None:
        if getattr(self, "__pydantic_private__", None) is None:
            _fill(self)
        post_init(self, context)

    model_post_init.__odm_original__ = post_init  # type: ignore[attr-defined]  # of a function
    return model_post_init


class _WithPrivateAttribute(BaseModel):
    _attribute: int = 0


_pydantics_own: Any = _WithPrivateAttribute.__dict__["model_post_init"]


def only_fills(post_init: Any) -> bool:
    """Whether a class's ``model_post_init`` fills in private attributes and does nothing else."""
    while post_init is not _pydantics_own:
        if hasattr(post_init, "__odm_original__"):
            post_init = post_init.__odm_original__
        elif post_init.__module__ == _pydantics_own.__module__ and post_init.__closure__:
            # Pydantic's, around that of a base class, or one that somebody has written.
            variables = dict(
                zip(post_init.__code__.co_freevars, post_init.__closure__, strict=True)
            )
            if "original_model_post_init" not in variables:
                return False
            post_init = variables["original_model_post_init"].cell_contents
        else:
            return False
    return True


def _fill(instance: Any) -> None:
    cls = type(instance)
    found: Plan | None = cls.__dict__.get("__odm_private__")
    if found is None:
        found = cls.__odm_private__ = plan(cls.__private_attributes__)
    if found is not LEFT_TO_PYDANTIC:
        shared, made = found
        private = shared.copy()
        for name, make in made:
            private[name] = make()
        object.__setattr__(instance, "__pydantic_private__", private)


def plan(attributes: Mapping[str, ModelPrivateAttr]) -> Plan:
    """Return how the private *attributes* of a class are filled in."""
    shared: dict[str, Any] = {}
    made: list[tuple[str, Any]] = []
    for name, attribute in attributes.items():
        if attribute.default_factory_takes_validated_data:
            return LEFT_TO_PYDANTIC
        if attribute.default_factory is not None:
            made.append((name, attribute.default_factory))
        elif type(attribute.default) in _SHARED:
            shared[name] = attribute.default
        elif attribute.default is not PydanticUndefined:
            made.append((name, attribute.get_default))  # a copy
    return shared, tuple(made)
