"""AVDiT at toy width on codecs that need no training, for tests of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from avbench.models.avdit import PRESETS, AVDiTConfig
from avbench.recipe import parse
from avbench.recipe_baseline import BaselineRecipe
from tests.training import folding

CPU = torch.device("cpu")
TOY = AVDiTConfig(width=32, layers=2, heads=2)


def install(patch: pytest.MonkeyPatch) -> None:
    """Let recipes name the toy network and the codecs of `tests.training.folding`."""
    patch.setitem(PRESETS, "toy", TOY)
    folding.install(patch)


def recipe(
    *, steps: int = 2, seconds: float | None = None, levels: dict[str, Any] | None = None, **condition: Any
) -> BaselineRecipe:
    """A recipe of windows of 9 frames of 16 px: 5 time slices of 0.1, 0.2, 0.2, 0.2, 0.2 s."""
    data: dict[str, Any] = {
        "baseline": "avdit",
        "preset": "toy",
        "protocol": "demo-v1",
        "codec": {"video": "folded", "audio": "low-tones", "frames": 9, "size": 16, "stride": 4},
        "train": {"steps": steps, "batch_size": 4, "learning_rate": 1e-3, "checkpoint_every": 1, "decay": "cosine"},
        "sample": {
            "n": 3, "steps": 3, "batch_size": 3, "video_threshold": "none", "audio_threshold": "none",
            "seconds": seconds, "condition": condition or None,
        },
    }  # fmt: skip
    if levels is not None:
        data["noise_levels"] = levels
    return parse(data, BaselineRecipe, "toy")


def write_set(root: Path) -> Path:
    """Three clips of two seconds."""
    return folding.write_set(root)
