"""The class of document and view classes: what Beanie keeps on a class, kept per connection.

Beanie stores three things on the class when it is initialised: the server's version, the cache,
and one `ExpressionField` per field (``Page.title``). The first two belong to a connection and are
looked up there. The third is made when it is first asked for, so that filters can be written
without a connection, and is kept out of the class's namespace: pydantic would take it for the
field's default in a subclass defined later.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from beanie.odm.fields import ExpressionField
from pydantic import BaseModel, Field, PrivateAttr

from odm.binding import binder_for
from odm.errors import NotConnected
from odm.instances import filling_private_attributes

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

_DEFAULT_MAJOR_VERSION = 5


class Epoch:
    """A time in which no attribute of any document class has been set.

    Attributes:
        current: the present one, another object than any before.
    """

    __slots__ = ()
    current: ClassVar[Epoch]


Epoch.current = Epoch()


@dataclass_transform(kw_only_default=True, field_specifiers=(Field, PrivateAttr))
class ModelMeta(ModelMetaclass):
    """Metaclass of `Document` and `View`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        post_init = self.__dict__.get("model_post_init")
        if post_init is not None:
            self.model_post_init = filling_private_attributes(post_init)

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is ExpressionField:
            if "__odm_expressions__" not in self.__dict__:
                super().__setattr__("__odm_expressions__", {})
            self.__dict__["__odm_expressions__"][name] = value
        else:
            super().__setattr__(name, value)
            Epoch.current = Epoch()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        Epoch.current = Epoch()

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("__pydantic_fields__", ())
        if name in fields and not is_base(self) and not _asked_by_pydantic():
            if not is_initialised(self):
                self.get_settings()  # it initialises the class
            return self.__dict__["__odm_expressions__"][name]
        return super().__getattr__(name)  # type: ignore[misc]  # hidden from type checkers

    @property
    def _cache(self) -> Any:
        try:
            return binder_for(self).cache(self)
        except NotConnected:
            return self.__dict__.get("__odm_global_cache__")

    @_cache.setter
    def _cache(self, value: Any) -> None:
        self.__odm_global_cache__ = value

    @property
    def _database_major_version(self) -> int:
        try:
            return binder_for(self).binding(self).server_major_version
        except NotConnected:
            version: int = self.__dict__.get("__odm_global_major_version__", _DEFAULT_MAJOR_VERSION)
            return version

    @_database_major_version.setter
    def _database_major_version(self, value: int) -> None:
        self.__odm_global_major_version__ = value


def _asked_by_pydantic() -> bool:
    # When it builds a class, pydantic looks for the defaults of fields, and for fields that shadow
    # something, among the attributes of the class and its bases.
    caller: str = sys._getframe(2).f_globals.get("__name__", "")
    return caller.startswith("pydantic.")


def is_base(cls: type) -> bool:
    """Whether *cls* is one of this package's own base classes, which have no collection."""
    return bool(cls.__dict__.get("__odm_base__", False))


def is_initialised(cls: type) -> bool:
    """Whether `odm.initialise.initialise` has been done for this very class."""
    return "__odm_initialised__" in cls.__dict__
