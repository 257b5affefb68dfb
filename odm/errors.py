"""Errors of the ODM.

What Beanie and PyMongo raise stays theirs (`RevisionIdWasChanged`, `DuplicateKeyError`, …). These
are the failures that only connections and repositories can have.

::

    OdmError
    ├── NotConnected          (also a RuntimeError)   no open connection has bound the model
    ├── AmbiguousConnection   (also a RuntimeError)   several have, and nothing says which is meant
    ├── DocumentNotFound      (also a LookupError)    no document has this id
    ├── InvalidConfiguration  (also a ValueError)     connect() was given what it cannot use
    └── InvalidPageToken      (also a ValueError)     a token that `page_after` did not make
"""

from __future__ import annotations

from typing import Any


class OdmError(Exception):
    """The root of everything that `odm` raises itself."""


class NotConnected(OdmError, RuntimeError):
    """No open connection has bound the model, or the one that is meant has been closed."""


class AmbiguousConnection(OdmError, RuntimeError):
    """Several open connections have bound the model; the message says how to name one."""


class DocumentNotFound(OdmError, LookupError):
    """A repository was asked for a document that is not there.

    Args:
        model: the name of the document class.
        id: the ``_id`` that was looked for.
    """

    def __init__(self, model: str, id: Any) -> None:
        super().__init__(f"there is no {model} with the id {id!r}")
        self.model = model
        self.id = id


class InvalidConfiguration(OdmError, ValueError):
    """An argument of `connect()` or a variable of the environment cannot be used."""


class InvalidPageToken(OdmError, ValueError):
    """A page token is damaged, or was made for another collection or another sort order."""
