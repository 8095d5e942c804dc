"""What is random in a training step, drawn so that it depends on the seed and on the sample or step alone.

The noise of sample ``g`` of a run comes from a generator of its own. So it is the same whether a batch is computed
whole, in micro-batches or by several processes. What all samples of a step share (the random shifts of MM-Diffusion's
attention) comes from one generator per step, which every part of the batch gets anew.
"""

from __future__ import annotations

import numpy as np
import torch

_SAMPLE_STREAM = 3
"""Sets these seeds apart from those of the loader, which are made in the same way."""


class StepGenerator(torch.Generator):
    """The generator of one step, and one generator for each sample of the part of the batch it is handed over with.

    It is itself the generator of what the whole step shares.

    Attributes:
        samples: Generators of the samples, in their order.
    """

    samples: list[torch.Generator]


def step_seed(seed: int, step: int) -> int:
    """Seed of what is drawn once per step."""
    return (seed * 1_000_003 + step) % 2**63


def sample_seed(seed: int, g: int) -> int:
    """Seed of what is drawn for sample ``g`` of a run, 32 bits (torch's CPU generator uses no more)."""
    return int(np.random.SeedSequence([seed, _SAMPLE_STREAM, g]).generate_state(1)[0])


def step_generator(seed: int, step: int, first: int, end: int) -> StepGenerator:
    """The generators for samples ``first`` to ``end - 1`` of a run, all of them in step ``step``.

    Args:
        seed: Seed of the run.
        step: Optimizer step, from 0.
        first: Number of the first sample in the run: ``step * batch_size`` and its place in the batch.
        end: Number after the last.
    """
    generator = StepGenerator()
    generator.manual_seed(step_seed(seed, step))
    generator.samples = [torch.Generator().manual_seed(sample_seed(seed, g)) for g in range(first, end)]
    return generator
