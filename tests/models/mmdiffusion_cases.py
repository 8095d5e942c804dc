"""Weights that anyone can recompute from tensor names, inputs from seeds, and the configurations of the golden file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One configuration of the published network, and a noisy clip for it. Heads of self-attention: 4."""

    frames: int
    size: int
    samples: int
    batch: int
    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    cross_resolutions: tuple[int, ...]
    windows: tuple[int, ...]
    video_attention: tuple[int, ...]
    audio_attention: tuple[int, ...]
    cross_head_channels: int
    timesteps: tuple[float, ...]
    seed: int


CASES = {
    "ragged sound, batch of two, no coupling in the middle": Case(
        11, 16, 1024, 2, 32, (1, 2), 1, (1, 2), (2, 3), (2,), (), 16, (3, 870), 1
    ),
    "ragged sound at every level, audio attention": Case(
        10, 16, 1984, 1, 32, (1, 1, 2, 2), 1, (2, 4, 8), (1, 4, 8), (4,), (2, 4), 32, (500,), 2
    ),
    "half-width top, three Res per level, all dilations": Case(
        6, 16, 2048, 1, 64, (0.5, 1, 1), 3, (4,), (6,), (1, 4), (), 64, (12.5,), 3
    ),
}


def generator(seed: int) -> np.random.Generator:
    """The bit generator that every golden value starts from."""
    return np.random.Generator(np.random.PCG64(seed))


def noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal float32."""
    return torch.from_numpy(generator(seed).standard_normal(tuple(shape)).astype(np.float32))


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Fill tensors from their names: x / sqrt(fan-in) in matrices and kernels, 1 + 0.1 x in gains, 0.1 x in biases."""
    return {name: _weight(name, tuple(shape)) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    x = generator(seed).standard_normal(shape)
    if len(shape) >= 2:
        x = x / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(x.astype(np.float32))


def shapes_of(network: torch.nn.Module) -> dict[str, list[int]]:
    """Name and shape of every tensor."""
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def shapes_sha256(shapes: Mapping[str, Sequence[int]]) -> str:
    """One hash for all names and shapes."""
    return hashlib.sha256(json.dumps(dict(shapes), sort_keys=True).encode()).hexdigest()


def clip(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy video, noisy audio, timesteps."""
    video = noise(case.seed, (case.batch, case.frames, 3, case.size, case.size))
    return video, noise(case.seed + 1, (case.batch, 1, case.samples)), torch.tensor(case.timesteps)


def probe(output: Tensor, count: int = 16) -> list[float]:
    """Values of ``output`` at ``count`` positions spread over it."""
    flat = output.flatten()
    return flat[torch.linspace(0, len(flat) - 1, count).long()].tolist()
