"""Progress of the demo: a bar on a terminal, plain lines in a pipe, nothing if silence is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from odm.cli.console import Console


class Phase(Protocol):
    """One stretch of work under way."""

    def step(self, text: str) -> None:
        """One more of its steps begins."""
        ...


class Reporter:
    """Tells how the work goes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def phase(self, title: str, steps: int = 0) -> Iterator[Phase]:
        """Tell of one stretch of work; its duration is told when it is done."""
        started = time.perf_counter()
        if self._console.is_live:
            with _Bar(self._console, title, steps) as bar:
                yield bar
        else:
            self._console.note(f"{title} …")
            yield _Silent()
        self._console.note(f"{title}: {time.perf_counter() - started:.1f} s")


class _Silent:
    def step(self, text: str) -> None:
        pass


class _Bar:
    """A spinner with a bar where the number of steps is known. It vanishes when it is done."""

    def __init__(self, console: Console, title: str, steps: int) -> None:
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        counted = [BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn()]
        self._progress = Progress(
            *columns,
            *(counted if steps else [TimeElapsedColumn()]),
            TextColumn("{task.fields[step]}", style="dim", markup=False),
            console=console.errors,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=steps or None, step="")
        self._begun = 0

    def step(self, text: str) -> None:
        self._progress.update(self._task, completed=self._begun, step=text)
        self._begun += 1

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()
