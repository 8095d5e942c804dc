"""Breaks off a transfer that has fallen silent or drips: too few bytes over a window of time.

A socket timeout does not see a server that sends one byte now and then. A second thread counts what arrives and, when
that is too little, raises in the thread that reads: blocking reads return to Python at every byte that comes and at
every socket timeout, so the exception is seen then.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from avbench.errors import TransientFault
from avbench.progress import Bar
from avbench.recipe import DownloadRecipe

_START = 3
"""A site may take so many windows before the first byte: it is asked several times, with polite pauses between."""


class _Stalled(Exception):
    """Raised in the reading thread."""


class Watched(Bar):
    """A bar in bytes that remembers how fast they come.

    The reading thread only adds up; the samples belong to the thread that watches.

    Attributes:
        arrived: Bytes so far.
        begun: Whether a first byte has come.
        resting: No bytes are expected now.
    """

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.arrived = 0.0
        self.begun = self.resting = False
        self._samples: deque[tuple[float, float]] = deque()

    def restart(self) -> None:
        """Count from now on: something other than the transfer has just ended."""
        self.begun = self.resting = False

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """See `Bar.advance`."""
        self.arrived += amount
        self.begun = True
        self.bar.advance(amount, note)

    def total(self, total: float) -> None:
        """See `Bar.total`."""
        self.bar.total(total)

    def too_slow(self, recipe: DownloadRecipe) -> bool:
        """Take a sample, and say whether the last window brought less than the recipe asks for."""
        if self.resting:
            self._samples.clear()
        self._samples.append((time.monotonic(), self.arrived))
        window_s = recipe.stall_window_s * (1 if self.begun else _START)
        now, arrived = self._samples[-1]
        while len(self._samples) > 1 and self._samples[1][0] <= now - window_s:
            self._samples.popleft()
        since, before = self._samples[0]
        return now - since >= window_s and arrived - before < recipe.min_bytes_per_s * (now - since)


@contextmanager
def watch(bar: Bar, recipe: DownloadRecipe) -> Iterator[Watched]:
    """Watch what the block reports to the bar it is given.

    Args:
        bar: Receives the same.
        recipe: Lowest speed and window.

    Raises:
        TransientFault: The transfer was too slow and has been broken off.
    """
    watched, reader, guard, over = Watched(bar), threading.get_ident(), threading.Lock(), threading.Event()
    stalled = threading.Event()

    def look() -> None:
        while not over.wait(recipe.stall_window_s / 10):
            with guard:
                if not over.is_set() and watched.too_slow(recipe):
                    stalled.set()
                    _raise_in(reader, _Stalled)

    threading.Thread(target=look, daemon=True, name="stall").start()
    try:
        try:
            yield watched
        finally:
            with guard:
                over.set()
                if stalled.is_set():
                    _raise_in(reader, None)  # one that was sent and has not arrived
    except Exception as error:
        if not stalled.is_set():
            raise
        raise TransientFault(
            f"sent less than {recipe.min_bytes_per_s:g} bytes a second for {recipe.stall_window_s:g} s; "
            "run again to go on"
        ) from error


def _raise_in(thread: int, error: type[Exception] | None) -> None:
    """Have ``error`` raised in a thread, or take back one that it has not seen yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
