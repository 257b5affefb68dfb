"""Operations of classes and documents, each on the connection that it means when it is called.

Beanie's methods are coroutines, and what they mean is decided while they run. Here the connection
is found at the call, in the caller's scope, and an error about it is raised there and then.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, ClassVar, TypeVar

from beanie.exceptions import DocumentNotFound

from odm.binding import Binder, Home, Scope, binder_for, current_scope, entered
from odm.errors import NotConnected
from odm.initialise import initialise
from odm.queries import FindMany, FindOne

_C = TypeVar("_C", bound=type)


class ConnectionModel:
    """What documents, views and unions share: they reach the collection of the connection meant."""

    _find_one_query_class: ClassVar[type] = FindOne
    _find_many_query_class: ClassVar[type] = FindMany

    @classmethod
    def get_settings(cls) -> Any:
        """Return the settings of the class, initialising it on first use; needs no connection."""
        if "__odm_initialised__" not in cls.__dict__:
            initialise(cls)
        return cls.__dict__.get("_document_settings") or cls.__dict__["_settings"]

    @classmethod
    def get_pymongo_collection(cls) -> Any:
        """Return the driver's collection on the connection meant, its transaction included.

        Raises:
            NotConnected: no open connection has bound the class.
            AmbiguousConnection: several have.
        """
        try:
            binder = binder_for(cls)
        except NotConnected:
            # A class that Beanie itself has bound, with init_beanie(): migrations do.
            collection = cls.get_settings().pymongo_collection
            if collection is None:
                raise
            return collection
        return binder.collection(cls)


def binder_of(document: Any) -> Binder | None:
    """Return the connection that an operation of a document means; None if Beanie binds the class.

    Raises:
        NotConnected: none is open, or the document's own has been closed.
        AmbiguousConnection: several are, and the document has come from none of them.
    """
    scope = current_scope()
    if scope is not None and (scope.forced or scope.subject is document):
        return scope.binder
    home: Home = document._odm_home
    return home.binder(type(document)) or _class_binder(type(document))


def _class_binder(model: Any) -> Binder | None:
    try:
        return binder_for(model)
    except NotConnected:
        if model.get_settings().pymongo_collection is None:
            raise
        return None


def document_scope(binder: Binder, document: Any) -> Scope:
    """Return the scope of one operation of *document*: it stays there whatever its home says."""
    scope = current_scope()
    forced = scope is not None and scope.forced and scope.binder is binder
    return Scope(binder, forced=forced, subject=document)


def of_document(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Wrap a coroutine method of documents; on success its connection is the document's home."""

    @wraps(method)
    def operation(self: Any, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        binder = binder_of(self)
        if binder is None:
            return method(self, *args, **kwargs)  # type: ignore[no-any-return]  # a coroutine
        return _run(self, binder, method, args, kwargs)

    return operation


async def _run(document: Any, binder: Binder, method: Any, args: Any, kwargs: Any) -> Any:
    scope = document_scope(binder, document)
    with entered(scope):
        try:
            result = await method(document, *args, **kwargs)
        except AttributeError:
            if scope.missed:  # Beanie 2.2 merges the None that an update of nothing returns
                raise DocumentNotFound from None
            raise
    if document._odm_home is not binder.home:
        document._odm_home = binder.home
    return result


def of_class(method: Callable[..., Any]) -> Any:
    """Wrap a coroutine class method."""

    @wraps(method)
    def operation(cls: Any, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        binder = _class_binder(cls)
        scope = current_scope()
        if binder is not None and (scope is None or scope.binder is not binder):
            scope = binder.scope
        return _in_scope(scope, method, cls, args, kwargs)

    return classmethod(operation)


def of_class_and_document(method: Callable[..., Any]) -> Any:
    """Wrap a coroutine class method that takes a document: the class says where it goes."""

    @wraps(method)
    def operation(cls: Any, document: Any, *args: Any, **kwargs: Any) -> Any:
        binder = _class_binder(cls)
        scope = None if binder is None else document_scope(binder, document)
        return _in_scope(scope, method, cls, (document, *args), kwargs)

    return classmethod(operation)


async def _in_scope(scope: Scope | None, method: Any, cls: Any, args: Any, kwargs: Any) -> Any:
    with entered(scope):
        return await method(cls, *args, **kwargs)


def operations(
    source: Any, *, of_documents: Iterable[str] = (), of_classes: Iterable[str] = ()
) -> Callable[[_C], _C]:
    """Class decorator: wrap the named methods of *source* in the class.

    It is done by name so that the type checker goes on seeing Beanie's own signatures.
    """

    def decorate(model: _C) -> _C:
        for name in of_documents:
            setattr(model, name, of_document(getattr(source, name)))
        for name in of_classes:
            setattr(model, name, of_class(getattr(source, name).__func__))
        return model

    return decorate
