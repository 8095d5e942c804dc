"""Reads the batches of the coming steps in threads while a step computes.

Threads and not processes: reading, copying and reordering bytes all let other threads run, a batch that is made here
needs not be sent here, and nothing has to be started.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from avbench.schema import Batch
from avbench.training.loop import GetBatch


class Prefetcher:
    """A source of batches that looks ahead; the batches are those of ``batches``, whoever asks for which step.

    Use as a context manager. At most ``ahead + 1`` batches are held beside the one handed out.

    Args:
        batches: (step, batch_size) -> batch, a pure function that several threads may call.
        threads: How many read at a time.
        ahead: How many steps beyond the one asked for.
        pin: Put batches into page-locked memory, from which a CUDA device copies faster; needs such a device.
    """

    def __init__(self, batches: GetBatch, *, threads: int = 2, ahead: int = 2, pin: bool = False) -> None:
        self._batches, self._ahead, self._pin = batches, ahead, pin
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="avbench-prefetch")
        self._waiting: dict[tuple[int, int], Future[Batch]] = {}

    def __call__(self, step: int, batch_size: int) -> Batch:
        """The batch of ``step``; reading of the next ones begins."""
        wanted = [(number, batch_size) for number in range(step, step + self._ahead + 1)]
        for key in self._waiting.keys() - set(wanted):
            self._waiting.pop(key).cancel()
        for key in wanted:
            if key not in self._waiting:
                self._waiting[key] = self._pool.submit(self._make, *key)
        return self._waiting.pop(wanted[0]).result()

    def _make(self, step: int, batch_size: int) -> Batch:
        batch = self._batches(step, batch_size)
        return batch.pin_memory() if self._pin else batch

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()
