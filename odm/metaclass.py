"""The class of document and view classes: what Beanie keeps on a class, kept per connection.

Beanie stores three things on the class when it is initialised: the server's version, the cache,
and one `ExpressionField` per field (``Page.title``). The first two belong to a connection and are
looked up there. The third is made when it is first asked for, so that filters can be written
without a connection, and is kept out of the class's namespace: pydantic would take it for the
field's default in a subclass defined later.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, dataclass_transform

from beanie.odm.fields import ExpressionField
from pydantic import BaseModel, Field, PrivateAttr

from odm.binding import binder_for
from odm.errors import NotConnected

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

_DEFAULT_MAJOR_VERSION = 5


class _Building(threading.local):
    """Counts the classes that pydantic is building in this thread."""

    depth = 0


_building = _Building()


class building:  # noqa: N801 - reads as what goes on: with building()
    """While pydantic builds a class, its fields are not attributes of it."""

    def __enter__(self) -> None:
        _building.depth += 1

    def __exit__(self, *_: object) -> None:
        _building.depth -= 1


@dataclass_transform(kw_only_default=True, field_specifiers=(Field, PrivateAttr))
class ModelMeta(ModelMetaclass):
    """Metaclass of `Document` and `View`."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> type:
        """Build a class."""
        with building():
            return super().__new__(mcs, name, bases, namespace, **kwargs)

    def __setattr__(cls, name: str, value: Any) -> None:
        if type(value) is ExpressionField:
            if "__odm_expressions__" not in cls.__dict__:
                super().__setattr__("__odm_expressions__", {})
            cls.__dict__["__odm_expressions__"][name] = value
        else:
            super().__setattr__(name, value)

    def __getattr__(cls, name: str) -> Any:
        fields = cls.__dict__.get("__pydantic_fields__", ())
        if name in fields and not _building.depth and not is_base(cls):
            if not is_initialised(cls):
                cls.get_settings()  # it initialises the class
            return cls.__dict__["__odm_expressions__"][name]
        return super().__getattr__(name)  # type: ignore[misc]  # hidden from type checkers

    @property
    def _cache(cls) -> Any:
        try:
            return binder_for(cls).cache(cls)
        except NotConnected:
            return cls.__dict__.get("__odm_global_cache__")

    @_cache.setter
    def _cache(cls, value: Any) -> None:
        cls.__odm_global_cache__ = value

    @property
    def _database_major_version(cls) -> int:
        try:
            return binder_for(cls).binding(cls).server_major_version
        except NotConnected:
            version: int = cls.__dict__.get("__odm_global_major_version__", _DEFAULT_MAJOR_VERSION)
            return version

    @_database_major_version.setter
    def _database_major_version(cls, value: int) -> None:
        cls.__odm_global_major_version__ = value


def is_base(cls: type) -> bool:
    """Whether *cls* is one of this package's own base classes, which have no collection."""
    return bool(cls.__dict__.get("__odm_base__", False))


def is_initialised(cls: type) -> bool:
    """Whether `odm.initialise.initialise` has been done for this very class."""
    return "__odm_initialised__" in cls.__dict__
