"""The live view: who is connected, what they run, and how long it takes; drawn anew as it changes.

It stands below what has been written so far and vanishes when the tunnel closes.
"""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from odm.cli.console import counted
from odm.cli.tunnel import words
from odm.cli.tunnel.meter import Meter
from transports import TransportStatistics

_MOST_ROWS = 8


def view(meter: Meter, done: TransportStatistics, title: str) -> RenderableType:
    """Return what the terminal shows now."""
    parts: list[RenderableType] = [
        Text.assemble((title, "bold"), ("  ", ""), (words.duration(meter.duration_s), "dim")),
        _numbers(meter, done),
    ]
    if clients := meter.clients():
        table = _table("client", "driver", "from", "connections", "commands", "per s", "errors")
        clients.sort(key=lambda row: -row[2].count)
        for who, connections, tally in clients[:_MOST_ROWS]:
            driver = words.shown(who.driver, 24) if who.driver != who.name else ""
            table.add_row(
                Text(words.shown(who.name, 32)),
                Text(driver),
                Text(who.origin),
                f"{connections:,}",
                f"{tally.count:,}",
                f"{tally.rate.per_second():.1f}",
                _errors(tally.errors),
            )
        parts += [table, _more(len(clients), "client")]
    if commands := meter.by_count():
        table = _table("command", "count", "per s", "p50", "p95", "longest", "errors")
        for name, tally in commands[:_MOST_ROWS]:
            table.add_row(
                Text(words.shown(name, 32)),
                f"{tally.count:,}",
                f"{tally.rate.per_second():.1f}",
                words.milliseconds(tally.latencies.quantile(0.5)),
                words.milliseconds(tally.latencies.quantile(0.95)),
                words.milliseconds(tally.latencies.longest_s),
                _errors(tally.errors),
            )
        parts += [table, _more(len(commands), "command")]
    if not clients:
        parts.append(Text("waiting for clients; Ctrl-C ends it", "dim"))
    return Group(*(part for part in parts if part))


def _numbers(meter: Meter, done: TransportStatistics) -> Text:
    text = Text(words.summary_line(meter, done))
    text.append(
        f", {words.size(meter.request_bytes)} in, {words.size(meter.reply_bytes)} out", "dim"
    )
    if meter.failures:
        text.append(f"\n{words.failures(meter)}", "red")
    return text


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for title in titles:
        words_of_clients = title in ("client", "command", "driver", "from")
        table.add_column(title, justify="left" if words_of_clients else "right", no_wrap=True)
    return table


def _more(number: int, noun: str) -> Text:
    more = number - _MOST_ROWS
    return Text(f"and {counted(more, f'other {noun}')}", "dim") if more > 0 else Text()


def _errors(number: int) -> Text:
    return Text(f"{number:,}", "red" if number else "dim")
