"""The exponential moving average of the weights, in a few fused calls per step."""

from __future__ import annotations

import torch


class Average:
    """Averaged weights of a network: ``average <- decay * average + (1 - decay) * weights``.

    Args:
        model: The network; its weights must stay where they are (loading into them is fine).

    Attributes:
        tensors: By the names of the network's ``state_dict``. What is not a floating number (a counter) is a copy.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        current = model.state_dict()
        self.tensors = {name: tensor.detach().clone() for name, tensor in current.items()}
        # gathering a thousand tensors by name costs more than averaging them
        averaged = [name for name, tensor in current.items() if tensor.is_floating_point()]
        self._averages, self._weights = [self.tensors[n] for n in averaged], [current[n] for n in averaged]
        self._copied = [(self.tensors[n], current[n]) for n in current.keys() - set(averaged)]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move towards the weights."""
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        for mine, theirs in self._copied:
            mine.copy_(theirs)

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take the averages of a checkpoint."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
