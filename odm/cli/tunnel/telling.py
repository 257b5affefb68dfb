"""What an open tunnel says, and when: events as they come, numbers now and then, a farewell.

On a terminal the numbers are a live view; elsewhere they are a line at intervals in which something
was done. With ``--json`` everything is a JSON document a line on stdout.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.live import Live

from odm.cli.console import Console
from odm.cli.tunnel import words
from odm.cli.tunnel.view import view
from odm.cli.tunnel.watch import Watch
from transports import Transport

DEFAULT_INTERVAL_S = 60.0
_REDRAWN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Says what happens in a tunnel.

    Attributes:
        console: to whom.
        watch: what it has to say.
        transport: whose invokes are counted.
        title: the tunnel in a line.
        interval_s: between the numbers; None for a live view where there is a terminal and
            `DEFAULT_INTERVAL_S` elsewhere, 0 for never.
    """

    console: Console
    watch: Watch
    transport: Transport
    title: str
    interval_s: float | None

    async def tell(self) -> None:
        """Tell until it is cancelled."""
        drawn = self.interval_s is None and self.console.is_live and not self.console.json_output
        interval_s = DEFAULT_INTERVAL_S if self.interval_s is None else self.interval_s
        if drawn:
            interval_s = _REDRAWN_S
        with self._live() if drawn else contextlib.nullcontext() as live:
            due, told = time.monotonic() + interval_s, 0
            while True:
                left_s = max(0.0, due - time.monotonic()) if interval_s else DEFAULT_INTERVAL_S
                await self.watch.wait(left_s)
                self.tell_events()
                if not interval_s or time.monotonic() < due:
                    continue
                due = time.monotonic() + interval_s
                if live is not None:
                    live.update(self._view(), refresh=True)
                elif self.watch.meter.total.count != told or self.console.json_output:
                    told = self.watch.meter.total.count
                    self._tell_numbers()

    def tell_events(self) -> None:
        """Write what has happened since it was last called."""
        for event in self.watch.take():
            self.console.event(event)
            if self.console.json_output:
                continue
            if event["event"] == "command":
                self.console.log(words.event_line(event))
            else:
                self.console.note(words.event_line(event))

    def farewell(self) -> None:
        """Write what went through."""
        self.tell_events()
        meter, done = self.watch.meter, self.transport.statistics()
        self.console.event(
            {"event": "closed", "time": _now(), **words.statistics_document(meter, done)}
        )
        for line in words.farewell_lines(meter, done):
            self.console.note(line)
        if self.watch.dropped:
            self.console.note(f"  {self.watch.dropped:,} events came too fast to be written")

    def _tell_numbers(self) -> None:
        meter, done = self.watch.meter, self.transport.statistics()
        if self.console.json_output:
            numbers = words.statistics_document(meter, done)
            self.console.event({"event": "statistics", "time": _now(), **numbers})
        else:
            self.console.note(words.summary_line(meter, done))

    @contextlib.contextmanager
    def _live(self) -> Iterator[Live]:
        with Live(
            self._view(),
            console=self.console.errors,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            yield live

    def _view(self) -> Any:
        return view(self.watch.meter, self.transport.statistics(), self.title)


def listening_event(
    transport: Transport, uri: str, *, read_only: bool, members: Mapping[str, str]
) -> dict[str, Any]:
    """Return the first event of a tunnel: where it is."""
    return {
        "event": "listening",
        "time": _now(),
        "uri": uri,
        "url": transport.url.redacted,
        "transport": transport.name,
        "read_only": read_only,
        "members": dict(members),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
