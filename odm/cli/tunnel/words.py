"""A tunnel's numbers and events in words: lines for a terminal's scrollback, a pipe, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odm.cli.console import counted
from odm.cli.tunnel.meter import Meter, Tally
from odm.cli.tunnel.watch import Event
from transports import TransportStatistics
from transports.endpoint.replies import ReplyFailure

_MOST_COMMANDS = 12
_SHOWN = 60
# Failures of single statements come without their names.
_NAMES = {
    112: "WriteConflict",
    121: "DocumentValidationFailure",
    11000: "DuplicateKey",
}


def event_line(event: Event) -> str:
    """Return an event as a line; names that clients made up cannot break out of it."""
    when = event["time"][11:23]
    match event["event"]:
        case "connected" | "disconnected" as what:
            driver = f" ({shown(event['driver'])})" if event["driver"] != event["client"] else ""
            return f"{when} {what}: {shown(event['client'])}{driver} from {event['from']}"
        case "refused":
            client = shown(event["client"], 120)
            return f"{when} refused: {client}: {shown(event['reason'], 200)}"
        case "members":
            members = ", ".join(f"{m} at {a}" for m, a in event["members"].items())
            return f"{when} the deployment's members are now: {members}"
        case "command":
            return f"{when} {_command(event)}"
    raise AssertionError(event)


def _command(event: Event) -> str:
    line = (
        f"{shown(event['command'])} {shown(event['namespace'], 120)} "
        f"{event['duration_ms']:.1f} ms, {size(event['request_bytes'])} → "
        f"{size(event['reply_bytes'])}, {shown(event['client'])}"
    )
    if "code" in event:
        line += f": {failure_name(ReplyFailure(event['code'], event['code_name']))}"
    return line


def summary_line(meter: Meter, done: TransportStatistics) -> str:
    """Return how it stands, in a line."""
    total, clients = meter.total, len(meter.clients())
    parts = [
        f"{counted(clients, 'client')} ({counted(meter.connections, 'connection')})",
        f"{counted(total.count, 'command')} ({total.rate.per_second():.1f}/s)",
    ]
    if done.invokes:
        parts.append(counted(done.invokes, "invoke"))
    if total.latencies.count:
        parts.append(latency(total))
    if total.errors:
        parts.append(counted(total.errors, "error"))
    if throttles := int(done.details.get("throttles", 0)):
        parts.append(counted(throttles, "throttle"))
    return ", ".join(parts)


def farewell_lines(meter: Meter, done: TransportStatistics) -> Iterator[str]:
    """Return what went through the tunnel, from its beginning to its end."""
    total = meter.total
    text = f"closed after {duration(meter.duration_s)}: {counted(total.count, 'command')}"
    text += f" of {counted(len(meter.seen), 'client')}"
    if done.invokes:
        text += f" in {counted(done.invokes, 'invoke')}, {counted(done.cold_starts, 'cold start')}"
    if throttles := int(done.details.get("throttles", 0)):
        text += f", {counted(throttles, 'throttle')}"
    yield text
    if not total.count:
        return
    yield f"  {size(meter.request_bytes)} received, {size(meter.reply_bytes)} sent"
    ranked = meter.by_count()
    for name, tally in ranked[:_MOST_COMMANDS]:
        errors = f", {counted(tally.errors, 'error')}" if tally.errors else ""
        yield f"  {shown(name):<20} {tally.count:>9,}  {latency(tally)}{errors}"
    if more := ranked[_MOST_COMMANDS:]:
        rest = counted(sum(tally.count for _, tally in more), "command")
        yield f"  and {rest} of {len(more)} other names"
    if meter.failures:
        yield f"  errors: {failures(meter)}"
    for reason, number in meter.refused.most_common(3):
        yield f"  {counted(number, 'connection')} refused: {shown(reason, 200)}"


def statistics_document(meter: Meter, done: TransportStatistics) -> dict[str, Any]:
    """Return the numbers as they stand, for programs."""
    total = meter.total
    return {
        "duration_s": round(meter.duration_s, 3),
        "clients": len(meter.clients()),
        "clients_seen": len(meter.seen),
        "connections": meter.connections,
        "commands": total.count,
        "commands_per_second": round(total.rate.per_second(), 2),
        "errors": total.errors,
        "request_bytes": meter.request_bytes,
        "reply_bytes": meter.reply_bytes,
        "latency_ms": _latency_document(total),
        "by_command": {
            name: {"count": tally.count, "errors": tally.errors, **_latency_document(tally)}
            for name, tally in meter.by_count()
        },
        "by_error": {failure_name(f): number for f, number in meter.failures.most_common()},
        "refused": dict(meter.refused),
        "invokes": done.invokes,
        "cold_starts": done.cold_starts,
        "details": dict(done.details),
    }


def _latency_document(tally: Tally) -> dict[str, float]:
    latencies = tally.latencies
    return {
        "p50": round(latencies.quantile(0.5) * 1000, 3),
        "p95": round(latencies.quantile(0.95) * 1000, 3),
        "max": round(latencies.longest_s * 1000, 3),
    }


def latency(tally: Tally) -> str:
    """Return ``"p50 3.1 ms, p95 12 ms"``."""
    latencies = tally.latencies
    return (
        f"p50 {milliseconds(latencies.quantile(0.5))}, p95 {milliseconds(latencies.quantile(0.95))}"
    )


def milliseconds(seconds: float) -> str:
    """Return ``"0.84 ms"``, ``"12 ms"`` or ``"1.2 s"``."""
    number = seconds * 1000
    if number >= 1000:
        return f"{seconds:.1f} s"
    return f"{number:.2f} ms" if number < 1 else f"{number:.{1 if number < 10 else 0}f} ms"


def failures(meter: Meter) -> str:
    """Return the most frequent failures: ``"Unauthorized 3, 11000 1"``."""
    return ", ".join(f"{failure_name(f)} {n:,}" for f, n in meter.failures.most_common(5))


def failure_name(failure: ReplyFailure) -> str:
    """Return a failure's name, its code where it has none."""
    return shown(failure.code_name) or _NAMES.get(failure.code, str(failure.code))


def size(number: float) -> str:
    """Return a number of bytes: ``"512 B"``, ``"1.3 kB"``, ``"102 MB"``."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.{0 if unit == 'B' or number >= 100 else 1}f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float) -> str:
    """Return ``"4.2 s"``, ``"3 min 20 s"`` or ``"2 h 05 min"``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def shown(text: str, most: int = _SHOWN) -> str:
    """Return a client's own words so that they can stand in a line."""
    text = "".join(each if each.isprintable() else "�" for each in text[: most + 1])
    return text if len(text) <= most else text[:most] + "…"
