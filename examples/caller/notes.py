"""An application that is itself an AWS Lambda function, beside the DB proxy function.

Its handler is ``notes.handler``; ``ODM_URL`` says how it reaches MongoDB, for example
``lambda://db-proxy:live/cms?region=eu-central-1``. An event says what to do:
``{"add": "a note"}``, ``{"read": "all"}``; the answer is ``{"notes": […]}``.

The connection is made once for each execution environment and stays open from one invocation to the
next; see docs/callers.md.
"""

from __future__ import annotations

from typing import Any

from odm import Document, connect, lambda_handler


class Note(Document):
    text: str
    reads: int = 0

    class Settings:
        name = "notes"


db = connect(models=[Note])


@lambda_handler(db, stop_before_timeout_s=0.5)
async def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    notes = db.repository(Note)
    if text := event.get("add"):
        await notes.add(Note(text=text))
    # Not retryable: what the driver cannot repeat must not meet a dead connection.
    await notes.update_many({}, changes={"$inc": {"reads": 1}})
    found = await notes.find({}, sort="text").to_list()
    return {"notes": [note.model_dump(mode="json", exclude={"id"}) for note in found]}
