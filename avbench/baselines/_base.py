"""What every baseline file provides, and how its clips are written.

A baseline module has ``train(dataset, recipe, run, *, device, reporter)`` and
``sample(run, recipe, numbers, *, device, bar)``; `write_samples` does the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from avbench import media, registry
from avbench.dataset import dataset_card
from avbench.progress import SILENT, Reporter
from avbench.recipe import BaselineRecipe
from avbench.training import checkpoint
from avbench.workspace import publish, read_json, write_json


@dataclass(frozen=True)
class GeneratedClip:
    """One generated clip.

    Attributes:
        clip_id: File stem.
        video: uint8 (T, H, W, 3) RGB.
        fps: Frames per second.
        audio: float32 (C, L) in [-1, 1].
        sample_rate_hz: Audio rate.
    """

    clip_id: str
    video: np.ndarray
    fps: float
    audio: np.ndarray
    sample_rate_hz: int


class Baseline(Protocol):
    """The functions of a baseline module (checked by a contract test)."""

    def train(
        self, dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter
    ) -> Any:
        """Train, or go on training."""

    def sample(self, run: Path, recipe: BaselineRecipe, numbers: list[int], *, device: torch.device, bar: Any) -> Any:
        """Yield the clips ``numbers``."""


def default_device() -> torch.device:
    """A CUDA device when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_config(recipe: BaselineRecipe, dataset: Path) -> dict[str, Any]:
    """What is stored inside every checkpoint: enough to say what made it.

    What decides no weight, such as the number of steps, is not part of it: the same run may be trained further.
    """
    return {
        "baseline": recipe.baseline,
        "preset": recipe.preset,
        "train": recipe.train.defining(),
        "dataset_sha256": dataset_card(dataset)["dataset_sha256"],
    }


def write_clip(clip: GeneratedClip, folder: Path) -> None:
    """Write ``<id>.npz`` (lossless, what is scored) and then ``<id>.mp4`` (what people watch; it marks completion)."""
    with publish(folder / f"{clip.clip_id}.npz") as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            video=clip.video,
            fps=np.float64(clip.fps),
            audio=clip.audio,
            sample_rate_hz=np.int64(clip.sample_rate_hz),
        )
    media.encode(folder / f"{clip.clip_id}.mp4", clip.video, clip.fps, clip.audio, clip.sample_rate_hz)


def write_samples(
    run: Path, recipe: BaselineRecipe, *, device: torch.device, reporter: Reporter = SILENT
) -> tuple[int, int]:
    """Sample what is missing of a run's clips into ``run/samples``.

    ``samples.json`` says whose samples these are. Samples of another checkpoint or another recipe are deleted first.

    Returns:
        The number made now, and the number an earlier call had made.
    """
    folder = run / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    card = _samples_card(run, recipe)
    missing = [i for i in range(recipe.sample.n) if not (folder / f"{clip_name(i)}.mp4").exists()]
    baseline = registry.module("baseline", recipe.baseline)
    begun, before = time.monotonic(), float(card["seconds"])
    with reporter.bar("sample", total=recipe.sample.n, unit="clip") as bar:
        bar.advance(recipe.sample.n - len(missing))
        try:
            for clip in baseline.sample(run, recipe, missing, device=device, bar=bar):
                write_clip(clip, folder)
        finally:
            card["seconds"] = round(before + time.monotonic() - begun, 2)
            write_json(folder / "samples.json", card)
    return len(missing), recipe.sample.n - len(missing)


def clip_name(number: int) -> str:
    """File stem of sample ``number``."""
    return f"sample-{number:05d}"


def _samples_card(run: Path, recipe: BaselineRecipe) -> dict[str, Any]:
    """``samples.json`` as it stands, or a new one after the samples of something else are deleted."""
    folder, found = run / "samples", checkpoint.latest(run / "checkpoints")
    card: dict[str, Any] = {
        "model": recipe.baseline,
        "preset": recipe.preset,
        "checkpoint": found.path.name if found else "",
        "config": found.config if found else {},
        "sample": recipe.sample.model_dump(mode="json", exclude={"n", "batch_size"}),
    }
    path = folder / "samples.json"
    before = read_json(path) if path.exists() else {}
    if {**before, "seconds": 0} == {**card, "seconds": 0}:
        return dict(before)
    for old in folder.glob("sample-*"):
        old.unlink()
    card["seconds"] = 0.0
    write_json(path, card)
    return card
