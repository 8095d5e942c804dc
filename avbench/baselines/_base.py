"""What every baseline file provides, and how its clips are written.

A baseline module has ``train(dataset, recipe, run, *, device, reporter)`` and
``sample(run, recipe, numbers, *, device, bar)``; `write_samples` does the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from avbench import media, registry
from avbench.dataset import dataset_card
from avbench.progress import SILENT, Reporter
from avbench.recipe import BaselineRecipe, sha256
from avbench.workspace import publish, write_json


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
    ) -> Any:  # noqa: E501
        """Train, or go on training."""

    def sample(self, run: Path, recipe: BaselineRecipe, numbers: list[int], *, device: torch.device, bar: Any) -> Any:
        """Yield the clips ``numbers``."""


def default_device() -> torch.device:
    """A CUDA device when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_config(recipe: BaselineRecipe, dataset: Path) -> dict[str, Any]:
    """What is stored inside every checkpoint: enough to say what made it."""
    return {
        "baseline": recipe.baseline,
        "preset": recipe.preset,
        "train": recipe.train.model_dump(mode="json"),
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
) -> tuple[Path, int, int]:
    """Sample what is missing of a run's clips into ``run/samples``.

    Returns:
        The folder, the number made now, and the number an earlier call had made.
    """
    folder = run / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = {"recipe": recipe.sample.model_dump(mode="json"), "checkpoint": _checkpoint_stamp(run)}
    _forget_other(folder, stamp)
    missing = [i for i in range(recipe.sample.n) if not (folder / f"sample-{i:05d}.mp4").exists()]
    baseline = registry.module("baseline", recipe.baseline)
    with reporter.bar("sample", total=recipe.sample.n, unit="clip") as bar:
        bar.advance(recipe.sample.n - len(missing))
        for clip in baseline.sample(run, recipe, missing, device=device, bar=bar):
            write_clip(clip, folder)
    write_json(folder / "samples.json", {**stamp, "model": recipe.baseline, "preset": recipe.preset})
    return folder, len(missing), recipe.sample.n - len(missing)


def _checkpoint_stamp(run: Path) -> str:
    """Name and configuration hash of the newest checkpoint, to know whether samples are of it."""
    from avbench.training import checkpoint

    found = checkpoint.latest(run / "checkpoints")
    return f"{found.path.name}-{sha256(found.config)[:12]}" if found else "none"


def _forget_other(folder: Path, stamp: dict[str, Any]) -> None:
    """Delete samples that another checkpoint or another recipe made; a marker says whose samples these are."""
    marker = folder / ".made-by.json"
    if marker.exists() and json.loads(marker.read_text()) == stamp:
        return
    for path in folder.glob("sample-*"):
        path.unlink()
    write_json(marker, stamp)
