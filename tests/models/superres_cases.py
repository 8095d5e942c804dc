"""The configurations of superres_golden.json, with an input for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmdiffusion_cases import noise
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One configuration of the published network, and noisy pictures for it."""

    height: int
    width: int
    small: tuple[int, int]
    batch: int
    model_channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention: tuple[int, ...]
    heads: int
    timesteps: tuple[float, ...]
    seed: int


CASES = {
    "the published depth, narrow": Case(64, 64, (16, 16), 1, 32, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32), 4, (999,), 1),
    "not square, three pictures, attention at every level": Case(
        16, 24, (4, 6), 3, 32, (2, 1), 1, (1, 2), 2, (0, 12.5, 500), 2
    ),
    "a factor that is no whole number, three Res per level, one head": Case(
        32, 32, (12, 20), 2, 64, (1, 2, 1), 3, (), 1, (3, 870), 3
    ),
}


def pictures(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy pictures, timesteps, small pictures."""
    noisy = noise(case.seed, (case.batch, 3, case.height, case.width))
    return noisy, torch.tensor(case.timesteps), noise(case.seed + 1, (case.batch, 3, *case.small))
