"""The processes that train one network together, started by ``accelerate launch`` or ``torchrun``; one by itself else.

Each computes its share of every batch; DistributedDataParallel, set up by Accelerate, averages the gradients, so all
hold the same weights at every step. Process 0 alone writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch

from avbench.schema import Batch
from avbench.training.loader import share


def rank() -> int:
    """Which of the processes that a launcher started this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Processes:
    """This process among those that train together.

    Args:
        device: Where to compute. With several processes and CUDA each takes the device of its place on the machine.

    Attributes:
        rank: Number of this process, from 0.
        world: How many there are.
        device: Where this one computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.world, self.device = rank(), world(), device
        self._accelerator = None
        if self.world > 1:
            from accelerate import Accelerator

            self._accelerator = Accelerator(cpu=device.type == "cpu")
            self.device = self._accelerator.device
            # left to the end of the interpreter, its threads may outlive what they need, which aborts the process
            atexit.register(self._accelerator.state.destroy_process_group)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        """The network in a wrapper whose backward pass averages gradients over the processes."""
        return model if self._accelerator is None else self._accelerator.prepare_model(model)

    def no_sync(self, shared: torch.nn.Module) -> AbstractContextManager[object]:
        """While open, backward passes only add up gradients here: for all micro-batches but the last of a step."""
        return nullcontext() if self._accelerator is None else self._accelerator.no_sync(shared)

    def sum(self, numbers: torch.Tensor) -> list[float]:
        """Add up a vector over the processes."""
        if self._accelerator is not None:
            numbers = self._accelerator.reduce(numbers, "sum")
        return [float(number) for number in numbers.tolist()]

    def wait(self) -> None:
        """Until every process has come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def share(self, batches: Callable[[int, int], Batch], step: int, batch_size: int) -> Batch:
        """This process's part of the batch of ``step``; ``batches`` may give the part or the whole batch.

        Raises:
            UserError: The batch cannot be divided equally.
        """
        first, end = share(batch_size, self.rank, self.world)
        batch = batches(step, batch_size)
        return batch if len(batch.ids) == end - first else rows(batch, first, end)


def rows(batch: Batch, first: int, end: int) -> Batch:
    """Samples ``first`` to ``end - 1`` of a batch, without a copy."""
    if (first, end) == (0, len(batch.ids)):
        return batch
    return replace(batch, video=batch.video[first:end], audio=batch.audio[first:end], ids=batch.ids[first:end])
