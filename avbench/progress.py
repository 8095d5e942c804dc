"""How library code reports progress without printing: it calls a `Reporter`, and only the command line draws.

The default reporter is silent, so avbench can be used as a library, in a notebook or in a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Bar:
    """One running task. The base class draws nothing."""

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Report ``amount`` more units done; ``note`` is shown beside the bar (a loss, a file name)."""

    def total(self, total: float) -> None:
        """Set the total once it is known."""


class Reporter:
    """Where library code sends what a person may want to see. The base class is silent."""

    @contextmanager
    def bar(self, description: str, total: float | None, unit: str = "") -> Iterator[Bar]:
        """A progress bar over ``total`` units (None: unknown) for the length of the ``with`` block."""
        yield Bar()

    def note(self, message: str) -> None:
        """One line of information."""

    def warn(self, message: str) -> None:
        """One line the user should not miss."""


SILENT = Reporter()
