"""What a command says, and where: results to stdout, everything else to stderr.

On a terminal it has colours and tables; in a pipe it is plain text. A table that a narrow terminal
cannot hold is told row by row. Nothing that comes from outside is ever read as markup. With
``--json`` stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich import box
from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 240
_PADDING = 3  # blanks between two columns of a terminal's table


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, whether it holds numbers, its style on a terminal."""

    title: str
    numeric: bool = False
    style: str | None = None


class Console:
    """A command's output.

    Args:
        json_output: stdout is for one JSON document: `line` and `table` are silent.
        quiet: `note` is silent.
    """

    document_written: ClassVar[bool] = False
    """Whether this process has written its JSON document: there is no second one."""

    def __init__(self, *, json_output: bool = False, quiet: bool = False) -> None:
        self.json_output = json_output
        self.quiet = quiet
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    @property
    def errors(self) -> RichConsole:
        """Rich's console on stderr, for live displays."""
        return self._err

    @property
    def is_live(self) -> bool:
        """Whether progress may be drawn: stderr is a terminal and nobody asked for silence."""
        return self._err.is_terminal and not self.quiet

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Write a line of the result to stdout."""
        if not self.json_output:
            self._out.print(Text(text, style or ""), soft_wrap=True)

    def note(self, text: str, *, style: str | None = None) -> None:
        """Write a line about the work to stderr."""
        if not self.quiet:
            self._err.print(Text(text, style or "dim"), soft_wrap=True)

    def log(self, text: str) -> None:
        """Write a line that was asked for by name (``--verbose``) to stderr."""
        self._err.print(Text(text), soft_wrap=True)

    def error(self, text: str) -> None:
        """Write what went wrong to stderr, ``--quiet`` or not."""
        self._err.print(Text.assemble(("odm: ", "bold red"), text), soft_wrap=True)

    def document(self, value: Mapping[str, Any]) -> None:
        """Write the command's JSON document to stdout, if it was asked for."""
        if self.json_output:
            ascii_only = self._out.encoding.lower().replace("-", "") != "utf8"
            text = json.dumps(value, indent=2, ensure_ascii=ascii_only, default=str)
            self._out.print(Text(text), soft_wrap=True)
            Console.document_written = True

    def event(self, value: Mapping[str, Any]) -> None:
        """Write one of several JSON documents to stdout, on a line of its own (JSON Lines)."""
        if self.json_output:
            text = json.dumps(value, default=str)
            self._out.print(Text(text), soft_wrap=True)

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write names and values, one pair a line."""
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0)
        if not self.json_output:
            for name, value in rows:
                text = Text.assemble((f"{name:<{width}}  ", "dim"), value)
                self._out.print(text, soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Write a table to stdout; row by row, where the terminal is too narrow for it."""
        if self.json_output:
            return
        rows = [list(row) for row in rows]
        terminal = self._out.is_terminal
        if terminal and _least_width(columns, rows) > self._out.width:
            self._records(columns, rows)
            return
        table = Table(
            box=box.SIMPLE_HEAD if terminal else None,
            pad_edge=terminal,
            padding=(0, 2, 0, 0) if not terminal else (0, 1),
        )
        for column in columns:
            table.add_column(
                # Two short words one above the other fit where their line would not.
                column.title.replace(" ", "\n") if terminal and column.numeric else column.title,
                justify="right" if column.numeric else "left",
                style=column.style,
                no_wrap=not terminal or column.numeric,
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._out.print(table)

    def _records(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        width = max((cell_len(column.title) for column in columns[1:]), default=0)
        for heading, *cells in rows:
            self._out.print(Text(heading, "bold"), soft_wrap=True)
            for column, cell in zip(columns[1:], cells, strict=False):
                if cell:
                    text = Text.assemble((f"  {column.title:<{width}}  ", "dim"), cell)
                    self._out.print(text, soft_wrap=True)


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a terminal's table is at least: words and numbers are not broken."""
    width = 1  # the right edge
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows if index < len(row)]
        pieces = [*column.title.split()]
        for cell in cells:
            pieces += [cell] if column.numeric else cell.split()
        width += max(map(cell_len, pieces), default=0) + _PADDING
    return width


def counted(number: int, noun: str) -> str:
    """Return ``"1 invoke"`` or ``"2,000 invokes"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class _RichConsole(RichConsole):
    def on_broken_pipe(self) -> None:
        """Let whoever runs the command know: Rich's own answer is exit code 1."""
        raise BrokenPipeError


def _console(*, stderr: bool) -> RichConsole:
    console = _RichConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH  # a pipe has no width to fit into
    return console
