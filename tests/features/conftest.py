"""Networks filled with weights that anyone can recompute, since the published ones are not in the repository."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from avbench import features, registry
from avbench.features import _esresnext
from avbench.features._base import Feature


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight rule of the golden outputs: drawn from a generator seeded by the tensor's name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    x = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif len(shape) >= 2:
        x = x * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


@functools.cache
def _state(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = registry.module("feature", name).Feature.architecture()
    state = {key: _tensor(key, tuple(value.shape)) for key, value in network.state_dict().items()}
    # the golden outputs of AudioCLIP keep its filters and window as training begins
    return state | _esresnext.untrained() if name == "audioclip" else state


@pytest.fixture(scope="session")
def seeded_state() -> Callable[[str], dict[str, Tensor]]:
    """State dict of a feature's network by the weight rule of the golden outputs."""
    return _state


@functools.cache
def _seeded(name: str) -> Feature:
    return features.load(name, None if registry.module("feature", name).WEIGHT is None else _state(name))


@pytest.fixture(scope="session")
def seeded() -> Callable[[str], Feature]:
    """A feature ready to embed: with seeded weights where it needs any."""
    return _seeded


@pytest.fixture(scope="session")
def golden(parity_assets: Path) -> Callable[[str], tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]]:
    """Golden outputs of a network, and the names and shapes of the reference's tensors."""

    def read(name: str) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
        with safe_open(parity_assets / f"{name}.safetensors", "np") as file:
            shapes = json.loads(file.metadata()["spec"])["state_dict"]
            outputs = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return outputs, {key: tuple(shape) for key, shape in shapes.items()}

    return read
