"""Beanie's bulk writer, on one connection: that of its class, or of the first operation in it."""

from __future__ import annotations

from typing import Any

import beanie
from pymongo.results import BulkWriteResult

from odm.binding import Binder, captured, entered


class BulkWriter(beanie.BulkWriter):
    """Collects operations and sends them in one bulk write on leaving (`beanie.BulkWriter`).

    ``await page.replace(bulk_writer=writer)`` and its like put their operation in it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._binder: Binder | None = None
        if self.object_class is not None:
            self._binder = captured(self.object_class)

    def add_operation(self, object_class: Any, operation: Any) -> None:
        """Put an operation of a document class in the queue (Beanie's).

        Raises:
            ValueError: it is for another collection or another connection than those before it.
        """
        binder = captured(object_class)
        if self._binder is None:
            self._binder = binder
        elif binder is not None and binder is not self._binder:
            raise ValueError(
                f"a bulk write goes to one connection: this one goes to {self._binder.label},"
                f" the operation to {binder.label}"
            )
        super().add_operation(object_class, operation)

    async def commit(self) -> BulkWriteResult | None:
        """Send the operations; None if there are none."""
        with entered(None if self._binder is None else self._binder.scope):
            return await super().commit()
