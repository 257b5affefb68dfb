"""Typed MongoDB documents and repositories over a pluggable transport.

::

    from odm import Document, Repository, connect

    class Page(Document):
        title: str

    async with connect("mongodb://localhost:27017/cms", models=[Page]) as db:
        page = await db.repository(Page).add(Page(title="Hello"))

Everything is imported when it is first used; what Beanie offers is here under Beanie's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beanie import (
        ActionConflictResolution,
        After,
        BackLink,
        Before,
        BsonBinary,
        DecimalAnnotation,
        Delete,
        DeleteRules,
        Granularity,
        Indexed,
        Insert,
        MergeConflictError,
        MergeStrategy,
        PydanticObjectId,
        Replace,
        Save,
        SaveChanges,
        SortDirection,
        TimeSeriesConfig,
        Update,
        UpdateResponse,
        ValidateOnSave,
        WriteRules,
        after_event,
        before_event,
    )
    from beanie.exceptions import (
        DocumentWasNotSaved,
        ReplaceError,
        RevisionIdWasChanged,
        StateManagementIsTurnedOff,
        StateNotSaved,
    )

    from odm.bulk import Bulk
    from odm.bulk_writer import BulkWriter
    from odm.connection import Connection, connect
    from odm.document import Document, DocumentWithSoftDelete, UnionDoc, View
    from odm.errors import (
        AmbiguousConnection,
        DocumentNotFound,
        InvalidConfiguration,
        InvalidPageToken,
        NotConnected,
        OdmError,
    )
    from odm.fields import Link
    from odm.invocations import lambda_handler
    from odm.paging import KeysetPage, Page
    from odm.queries import FindMany, FindOne
    from odm.repository import Repository
    from odm.repository_base import Filter
    from odm.runner import Runner
    from odm.settings import Settings
    from odm.sorting import Sort
    from odm.watching import Change, Watch

_OWN = {
    "odm.bulk": ("Bulk",),
    "odm.bulk_writer": ("BulkWriter",),
    "odm.connection": ("Connection", "connect"),
    "odm.document": ("Document", "DocumentWithSoftDelete", "UnionDoc", "View"),
    "odm.errors": (
        "AmbiguousConnection",
        "DocumentNotFound",
        "InvalidConfiguration",
        "InvalidPageToken",
        "NotConnected",
        "OdmError",
    ),
    "odm.fields": ("Link",),
    "odm.invocations": ("lambda_handler",),
    "odm.paging": ("KeysetPage", "Page"),
    "odm.queries": ("FindMany", "FindOne"),
    "odm.repository": ("Repository",),
    "odm.repository_base": ("Filter",),
    "odm.runner": ("Runner",),
    "odm.settings": ("Settings",),
    "odm.sorting": ("Sort",),
    "odm.watching": ("Change", "Watch"),
    "beanie.exceptions": (
        "DocumentWasNotSaved",
        "ReplaceError",
        "RevisionIdWasChanged",
        "StateManagementIsTurnedOff",
        "StateNotSaved",
    ),
}
_MODULES = {name: module for module, names in _OWN.items() for name in names}

__all__ = [
    "ActionConflictResolution",
    "After",
    "AmbiguousConnection",
    "BackLink",
    "Before",
    "BsonBinary",
    "Bulk",
    "BulkWriter",
    "Change",
    "Connection",
    "DecimalAnnotation",
    "Delete",
    "DeleteRules",
    "Document",
    "DocumentNotFound",
    "DocumentWasNotSaved",
    "DocumentWithSoftDelete",
    "Filter",
    "FindMany",
    "FindOne",
    "Granularity",
    "Indexed",
    "Insert",
    "InvalidConfiguration",
    "InvalidPageToken",
    "KeysetPage",
    "Link",
    "MergeConflictError",
    "MergeStrategy",
    "NotConnected",
    "OdmError",
    "Page",
    "PydanticObjectId",
    "Replace",
    "ReplaceError",
    "Repository",
    "RevisionIdWasChanged",
    "Runner",
    "Save",
    "SaveChanges",
    "Settings",
    "Sort",
    "SortDirection",
    "StateManagementIsTurnedOff",
    "StateNotSaved",
    "TimeSeriesConfig",
    "UnionDoc",
    "Update",
    "UpdateResponse",
    "ValidateOnSave",
    "View",
    "Watch",
    "WriteRules",
    "after_event",
    "before_event",
    "connect",
    "lambda_handler",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES.get(name, "beanie")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
