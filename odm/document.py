"""Documents, views and unions that follow their connection, with all that Beanie's can do."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

import beanie
from beanie import MergeStrategy, WriteRules
from beanie.exceptions import DocumentWasNotSaved
from beanie.odm.actions import EventTypes, wrap_with_actions
from beanie.odm.utils.self_validation import validate_self_before
from beanie.odm.utils.state import save_state_after
from bson import DBRef
from pydantic import BaseModel, PrivateAttr

from odm import updating
from odm.arguments import checked_id
from odm.binding import Home, current_home
from odm.bulk_writer import BulkWriter
from odm.dumping import content
from odm.fields import Link
from odm.initialise import initialise
from odm.metaclass import Epoch, ModelMeta, is_initialised
from odm.operations import ConnectionModel, of_class_and_document, of_document, operations
from odm.reading import Fill, filler
from odm.writing import new_content

_pydantics_init = BaseModel.__init__
_AGGREGATES = ("count", "sum", "avg", "max", "min")


@validate_self_before
@wrap_with_actions(EventTypes.INSERT)
@save_state_after
async def _insert(document: Any, *, session: Any, skip_actions: Any) -> Any:
    # Beanie's, which builds an adapter of pydantic's for every id that the driver has chosen: as
    # much again as the insertion costs.
    new = new_content(document)
    result = await document.get_pymongo_collection().insert_one(new, session=session)
    document.id = checked_id(type(document), result.inserted_id)
    return document


@validate_self_before
@wrap_with_actions(EventTypes.SAVE)
@save_state_after
async def _save(document: Any, *, session: Any, skip_actions: Any = None) -> Any:
    changes = {"$set": content(document, keep_nulls=True)}
    await updating.update(document, changes, {"session": session, "upsert": True})
    document._save_state()  # update() does, and save() once more: so the previous state is
    return document


def _fill_of(cls: Any) -> Fill | None:
    above: Any = super(beanie.Document, cls).__init__
    fill = filler(cls) if above is _pydantics_init and is_initialised(cls) else None
    # Past the metaclass: it is no change of the class.
    type.__setattr__(cls, "__odm_fill__", (cls, Epoch.current, fill))
    return fill


@operations(
    beanie.Document,
    of_documents=(
        "replace",
        "save_changes",
        "delete",
        "sync",
        "fetch_link",
        "fetch_all_links",
    ),
    of_classes=(
        "get",
        "insert_many",
        "replace_many",
        "delete_all",
        "distinct",
        "inspect_collection",
        *_AGGREGATES,
    ),
)
class Document(ConnectionModel, beanie.Document, metaclass=ModelMeta):
    """A typed document of a collection.

    The class is bound on as many connections as name it in ``connect(models=[…])``; a document
    remembers the one it was loaded from or saved to. Models are made, compared and validated
    without any connection. Everything else is as in `beanie.Document`.
    """

    __odm_base__: ClassVar[bool] = True
    __odm_plain__: ClassVar[Any] = None
    """What `odm.plain` knows of the class."""
    __odm_fill__: ClassVar[tuple[Any, Any, Fill | None]] = (None, None, None)
    """A class, an epoch, and what `odm.reading` makes its new documents with in it, if anything."""

    _odm_home: Home = PrivateAttr(default_factory=current_home)

    if not TYPE_CHECKING:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            cls = type(self)
            model, epoch, fill = cls.__odm_fill__
            if model is not cls or epoch is not Epoch.current:
                fill = _fill_of(cls)
            if fill is not None and not args:
                fill(self, kwargs)
            else:
                # Past beanie.Document.__init__, which asks for the collection.
                super(beanie.Document, self).__init__(*args, **kwargs)

        # So marked, pydantic-core builds a loaded document without calling it.
        __init__.__pydantic_base_init__ = True

    if TYPE_CHECKING:  # what Beanie has left without types

        async def fetch_link(self, field: str | Any) -> None:
            """Replace the link in a field by its document, a list of links by theirs."""

        async def fetch_all_links(self) -> None:
            """Replace every link by its document."""

        async def sync(self, merge_strategy: MergeStrategy = MergeStrategy.remote) -> None:
            """Bring the document up to date with the database."""

    @classmethod
    def _fill_back_refs(cls, values: Any) -> Any:
        if not is_initialised(cls):
            # Back links get their values from what the initialisation finds out.
            initialise(cls)
        return super()._fill_back_refs(values)  # type: ignore[no-untyped-call]  # of Beanie

    async def validate_self(self, *args: Any, **kwargs: Any) -> None:
        """Validate the document once more (``validate_on_save``, Beanie)."""
        revision_id = self.revision_id
        await super().validate_self(*args, **kwargs)
        # Beanie 2.2 validates a dump, which has no revision, and takes over what is missing.
        self.revision_id = revision_id

    def to_ref(self) -> DBRef:
        """Return the reference under which other documents store this one."""
        if self.id is None:
            raise DocumentWasNotSaved("cannot refer to a document without an id: insert it first")
        return DBRef(self.get_collection_name(), self.id)

    @classmethod
    def link_from_id(cls, id: Any) -> Link[Self]:
        """Return a link to the document with this id."""
        return Link(DBRef(id=id, collection=cls.get_collection_name()), document_class=cls)

    if not TYPE_CHECKING:

        @of_document
        async def insert(
            self,
            *,
            link_rule: WriteRules = WriteRules.DO_NOTHING,
            session: Any = None,
            skip_actions: Any = None,
        ) -> Self:
            """Insert the document and return it, with its id (`beanie.Document.insert`)."""
            if link_rule is WriteRules.WRITE:
                options = {"session": session, "skip_actions": skip_actions}
                return await super().insert(link_rule=link_rule, **options)
            return await _insert(self, session=session, skip_actions=skip_actions)

        @of_document
        async def save(
            self,
            session: Any = None,
            link_rule: WriteRules = WriteRules.DO_NOTHING,
            ignore_revision: bool = False,
            **kwargs: Any,
        ) -> Self:
            """Write all of the document, new or not (`beanie.Document.save`)."""
            model = type(self)
            if (
                link_rule is WriteRules.WRITE
                or kwargs.keys() - {"skip_actions"}
                or model.update is not Document.update
                or not model.get_settings().keep_nulls
                or not updating.updates_plainly(model)
            ):
                return await super().save(
                    session=session, link_rule=link_rule, ignore_revision=ignore_revision, **kwargs
                )
            return await _save(self, session=session, **kwargs)

        @of_document
        async def update(
            self,
            *args: Any,
            ignore_revision: bool = False,
            session: Any = None,
            bulk_writer: Any = None,
            skip_actions: Any = None,
            skip_sync: Any = None,
            **pymongo_kwargs: Any,
        ) -> Self:
            """Change the document and bring it up to date (`beanie.Document.update`)."""
            changes = None
            if bulk_writer is None and skip_sync is None:
                changes = updating.plain_update(self, args)
            if changes is None:
                return await super().update(
                    *args,
                    ignore_revision=ignore_revision,
                    session=session,
                    bulk_writer=bulk_writer,
                    skip_actions=skip_actions,
                    skip_sync=skip_sync,
                    **pymongo_kwargs,
                )
            await updating.update(self, changes, {**pymongo_kwargs, "session": session})
            self._save_state()
            return self

        insert_one = of_class_and_document(beanie.Document.insert_one.__func__)

        @classmethod
        def bulk_writer(
            cls,
            session: Any = None,
            ordered: bool = True,
            bypass_document_validation: bool = False,
            comment: Any = None,
        ) -> BulkWriter:
            """Return a bulk writer for this class on the connection meant (Beanie's)."""
            return BulkWriter(session, ordered, cls, bypass_document_validation, comment)


_erased: ContextVar[Any] = ContextVar("odm_erased", default=None)


@operations(beanie.DocumentWithSoftDelete, of_documents=("delete",))
class DocumentWithSoftDelete(Document, beanie.DocumentWithSoftDelete):
    """A document that ``delete()`` only marks as deleted (`beanie.DocumentWithSoftDelete`).

    Queries pass over it; ``find_many_in_all`` finds it, ``hard_delete`` removes it.
    """

    __odm_base__: ClassVar[bool] = True

    if not TYPE_CHECKING:

        @classmethod
        def find_one(cls, *args: Any, **kwargs: Any) -> Any:
            """Find one document that is not marked as deleted."""
            erased = _erased.get()
            if erased is not None and args == ({"_id": erased},):
                # For hard_delete(), which in Beanie 2.2 passes over what is marked too.
                return super(beanie.DocumentWithSoftDelete, cls).find_one(*args, **kwargs)
            return super().find_one(*args, **kwargs)

        @of_document
        async def hard_delete(self, *args: Any, **kwargs: Any) -> Any:
            """Remove the document from the database, marked as deleted or not."""
            token = _erased.set(self.id)
            try:
                return await super().hard_delete(*args, **kwargs)
            finally:
                _erased.reset(token)


@operations(beanie.View, of_documents=("fetch_link", "fetch_all_links"), of_classes=_AGGREGATES)
class View(ConnectionModel, beanie.View, metaclass=ModelMeta):
    """A typed view: a pipeline that the server runs over a collection (`beanie.View`)."""

    __odm_base__: ClassVar[bool] = True

    _odm_home: Home = PrivateAttr(default_factory=current_home)


@operations(beanie.UnionDoc, of_classes=_AGGREGATES)
class UnionDoc(ConnectionModel, beanie.UnionDoc):
    """Several document classes in one collection, found together (`beanie.UnionDoc`)."""

    __odm_union__: ClassVar[bool] = True
