"""A problem small enough to train in milliseconds, whose every draw is visible in the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avbench.diffusion.noise_schedule import PairLoss
from avbench.recipe_baseline import TrainRecipe
from avbench.schema import Batch
from avbench.training.loop import TrainResult, train
from avbench.training.randomness import StepGenerator

CPU = torch.device("cpu")


def batch(step: int, size: int) -> Batch:
    audio = torch.randn(size, 1, 8, generator=torch.Generator().manual_seed(step))
    return Batch(torch.zeros(size, 1, 3, 2, 2, dtype=torch.uint8), audio, tuple(map(str, range(size))))


def loss(model: torch.nn.Module, batch: Batch, generator: StepGenerator) -> PairLoss:
    """Learn to double the sound, plus noise: of each sample, and of what the whole step shares."""
    level = torch.cat([torch.rand(1, generator=g) for g in generator.samples])
    noise = torch.stack([torch.randn(batch.audio.shape[1:], generator=g) for g in generator.samples])
    shift = torch.randn((), generator=generator)
    error = (model(batch.audio) - 2 * batch.audio - 0.1 * (noise + shift)).square().flatten(1).mean(1)
    return PairLoss(error * level, error, level)


def model(dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(dropout), torch.nn.Linear(16, 8))


def recipe(steps: int = 12, **fields: Any) -> TrainRecipe:
    usual = {"batch_size": 8, "learning_rate": 1e-2, "ema_decay": 0.9, "checkpoint_every": 5, "warmup_steps": 3}
    return TrainRecipe(steps=steps, **{**usual, **fields})


def run(folder: Path, of: TrainRecipe, **arguments: Any) -> TrainResult:
    return train(model(), batch, loss, of, folder, **{"config": {}, "device": CPU, **arguments})
