"""The windows of a dataset as a ``torch.utils.data`` dataset, for anybody's training loop."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from torch.utils.data import IterableDataset, get_worker_info

from avbench.schema import Batch
from avbench.training.loader import WindowLoader, share


class WindowStream(IterableDataset[Batch]):
    """Whole batches without end, the same in the same order under any number of ``DataLoader`` workers.

    Give it to ``DataLoader(stream, batch_size=None, num_workers=N)``: batches are made here, so the ``DataLoader``
    must not make its own.

    Args:
        loader: Where the windows come from.
        batch_size: Samples per batch of all processes together.
        start: First batch; a training that stopped after ``n`` steps goes on with ``start=n``.
        rank: Which of the processes that train together, from 0.
        world: How many they are; ``batch_size`` must be a multiple.

    Raises:
        UserError: The batch cannot be divided equally.
    """

    def __init__(self, loader: WindowLoader, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        share(batch_size, rank, world)  # refuse now, not in a worker
        self.loader, self.batch_size, self.start = loader, batch_size, start
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches that are this worker's: a ``DataLoader`` takes one from each worker in turn."""
        worker = get_worker_info()
        place, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in count(self.start + place, workers):
            yield self.loader.batch(step, self.batch_size, rank=self.rank, world=self.world)
