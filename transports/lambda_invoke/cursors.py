"""Batches of a size that fits into one invoke.

A server fills a ``getMore`` without ``batchSize`` up to 16 MB, more than an invoke carries.
From a cursor's first batch the average size of its documents is known, so the following ones can
ask for about as many as fit. It is an estimate: a batch that comes out too large all the same is
compressed or staged. A ``batchSize`` of the application's own is left alone.

Spec: find, getMore and killCursors commands
https://github.com/mongodb/specifications/blob/master/source/find_getmore_killcursors_commands/find_getmore_killcursors_commands.md
"""

from __future__ import annotations

from collections import OrderedDict

from transports.endpoint.backend import Request
from transports.endpoint.elements import DOCUMENT, INT64, MalformedDocument, elements, find
from transports.endpoint.replies import cursor_id
from transports.lambda_invoke.edits import SECTION, with_int32

BATCH_BYTES = 3_000_000
"""What a batch should come to: two thirds of what fits, for documents differ."""

MAX_CURSORS = 10_000
"""Cursors remembered; a forgotten one costs speed, not correctness."""

_ARRAY = 0x04


class BatchSizes:
    """Remembers, cursor by cursor, how many documents make a batch of `BATCH_BYTES`."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[tuple[str, int], int] = OrderedDict()

    def limit(self, request: Request) -> bytes:
        """Return the request's message, a ``getMore`` of a known cursor with a ``batchSize``."""
        if request.name != "getMore" or not self._sizes:
            return request.message
        message = request.message
        try:
            fields = {element.name: element for element in elements(message, SECTION)}
        except MalformedDocument:
            return message  # the server will say so
        cursor = fields.get(b"getMore")
        if cursor is None or cursor.type != INT64:  # section 0 is not the first; no cursor's id
            return message
        number = int.from_bytes(message[cursor.start : cursor.end], "little", signed=True)
        size = self._sizes.get((request.server, number))
        if size is None or b"batchSize" in fields:
            return message
        return with_int32(message, b"batchSize", size)

    def learn(self, request: Request, reply: bytes) -> None:
        """Take note of a cursor that *reply* opens."""
        if request.name == "getMore" or not (number := cursor_id(reply)):
            return
        average = _average_document(reply)
        if average:
            self._sizes[request.server, number] = max(1, int(BATCH_BYTES / average))
            if len(self._sizes) > MAX_CURSORS:
                self._sizes.popitem(last=False)


def _average_document(reply: bytes) -> float:
    """Return the mean size in bytes of the documents in *reply*'s batch, 0 for an empty one."""
    try:
        cursor = find(reply, b"cursor")
        if cursor is None or cursor.type != DOCUMENT:
            return 0.0
        batch = find(reply, b"firstBatch", cursor.start)
        if batch is None or batch.type != _ARRAY:
            return 0.0
        sizes = [document.end - document.start for document in elements(reply, batch.start)]
    except MalformedDocument:
        return 0.0
    return sum(sizes) / len(sizes) if sizes else 0.0
