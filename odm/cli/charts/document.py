"""An HTML document that needs nothing else: its style sheet, its tables. For reports with plots.

Knows nothing of what is reported; the colours are those that `odm.cli.charts.svg` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --pale: #5d6b7c; --rule: #d8dee6; --ground: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9f0; --pale: #97a5b6; --rule: #333f4d; --ground: #12171e } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 860px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.5rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
p.note, td.note { color: var(--pale) } .warn { color: #b4322a; font-weight: 600 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 13px }
.wide { overflow-x: auto } .n { white-space: nowrap }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--rule) }
th:first-child, td:first-child, th.l, td.l { text-align: left }
svg { width: 100%; min-width: 640px; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--ink) } svg text.tick { fill: var(--pale); font-size: 11px }
.grid { stroke: var(--rule) } .whisker { stroke: var(--pale) }
.median { stroke: var(--ink); stroke-width: 2 } .curve { fill: none !important; stroke-width: 2 }
.legend span { margin-right: 1rem; white-space: nowrap } .legend i { display: inline-block;
  width: .8em; height: .8em; margin-right: .35em; border-radius: 2px }
"""
_COLOURS = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66aacc"),
    *("#aa3377", "#ee7733", "#009988", "#8877cc", "#99775a", "#dd88bb", "#778899"),
)


def document(title: str, sections: Iterable[str]) -> str:
    """Return the HTML document of *sections*."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}{_colours()}</style></head>\n"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def _colours() -> str:
    return "".join(
        f".s{index} {{ fill: {colour}; stroke: {colour}; background: {colour} }}\n"
        for index, colour in enumerate(_COLOURS)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int) -> str:
    """Return a table; its first *words* columns hold words, the others numbers."""

    def cells(kind: str, row: Sequence[Any]) -> str:
        return "".join(
            f'<{kind} class="{"l" if index < words else "n"}">{escape(str(cell))}</{kind}>'
            for index, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
