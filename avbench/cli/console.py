"""What a person sees: progress bars, summaries, tables. Only this package prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from avbench.progress import Bar, Reporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from avbench.parallel import StageSummary


def console(*, stderr: bool = False) -> Console:
    """A rich console that never wraps a sentence when the output is a file or a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


def end_incomplete(failed: int) -> None:
    """End with exit code 2 where some of a command's items failed: all else is done, and nobody should find out from a
    count that a third of them is missing.

    Args:
        failed: How many; each was shown with its reason.
    """
    if failed:
        raise typer.Exit(2)


class _RichBar(Bar):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        self.progress.advance(self.task, amount)
        if note:
            self.progress.update(self.task, note=note)

    def total(self, total: float) -> None:
        self.progress.update(self.task, total=total)


class ConsoleReporter(Reporter):
    """Draws progress on a terminal; into a file or pipe it writes one line when a bar ends."""

    def __init__(self) -> None:
        self.out = console()
        self.err = console(stderr=True)

    @contextmanager
    def bar(self, description: str, total: float | None, unit: str = "") -> Iterator[Bar]:
        """See `Reporter.bar`. The remaining time is that of rich: the mean speed of the last 30 seconds."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn as Eta,
        )

        columns = [
            TextColumn("{task.description:<18}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            Eta(),
            TextColumn("{task.fields[note]}", style="dim"),
        ]
        with Progress(*columns, console=self.err, disable=not self.err.is_terminal) as progress:
            task = progress.add_task(description, total=total, note="")
            yield _RichBar(progress, task)

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self.out.print(message, markup=False)

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        self.err.print(f"warning: {message}", style="yellow", markup=False)


def show_summary(summary: StageSummary, out: Console) -> None:
    """One line of counts, then every drop and failure reason with its count and the items it holds for."""
    already = f", {summary.already} already" if summary.already else ""
    out.print(
        f"{summary.stage:<10} {summary.done} done{already}, {len(summary.dropped)} dropped, "
        f"{len(summary.failed)} failed  ({summary.seconds:.1f} s)",
        markup=False,
    )
    for note in summary.notes:
        out.print(f"  {note}", markup=False)
    for word, table in (("dropped", summary.dropped), ("failed", summary.failed)):
        for item, reason in list(table.items())[:10]:
            out.print(f"  {word} {item}: {reason}", markup=False, style="dim")
        if len(table) > 10:
            out.print(f"  ... and {len(table) - 10} more {word}", style="dim")
