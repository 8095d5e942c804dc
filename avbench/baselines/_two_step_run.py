"""The second step by a model that avbench trained: its sound for a picture (``--task v2a``), window after window.

A model knows clips of one length, size and rate; a video may have any. The video is brought to the model's rate and
size as every clip of docs/inputs.md is, its last picture held where the grid ends later. Windows are laid evenly from
its beginning to its end, so that neighbours share ``overlap_s`` or more. There one sound fades into the next with cos
and sin: the two are made apart and are hardly alike, so that their powers add, and cos^2 + sin^2 = 1 keeps the
loudness. A video that is shorter than a window is shown with its last picture held, and the sound is cut where the
video ends. The video itself is left as it is; only what the model sees is made small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media, recipe as recipes, registry
from avbench.baselines import _base
from avbench.diffusion.conditioning import GivenClip
from avbench.errors import UserError
from avbench.progress import Bar
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe, SampleRecipe
from avbench.recipe_two_step import RunStep
from avbench.training import checkpoint
from avbench.training.loader import WindowSpec
from avbench.workspace import file_sha256, read_json

MOST_WINDOWS = 10_000
"""Windows of one clip; sample numbers of the model are ``clip * MOST_WINDOWS + window``."""


@dataclass(frozen=True)
class SoundModel:
    """A trained run that makes sounds for pictures.

    Attributes:
        run: Its folder.
        recipe: How it is sampled here.
        baseline: Its module.
        window: What it takes.
        identity: What decides its sounds: baseline, preset, step and digest of its weights.
    """

    run: Path
    recipe: BaselineRecipe
    baseline: ModuleType
    window: WindowSpec
    identity: dict[str, Any]


def load(step: RunStep, seed: int) -> SoundModel:
    """The model of a run, ready to be sampled with a picture given.

    Raises:
        UserError: No run there, not trained, or its baseline cannot be given a picture.
    """
    run = Path(step.run)
    if not (run / "recipe.json").is_file():
        raise UserError(
            f"{run}: holds no run of avbench that could make the sound; train one, such as `avbench train mmdiffusion "
            "--preset tiny`, or name its folder in two_step.sound.run of a recipe of your own"
        )
    made = recipes.parse(read_json(run / "recipe.json"), BaselineRecipe, str(run / "recipe.json"))
    condition = ConditionRecipe(task="v2a", source="two-step", method=step.method, scale=step.scale)
    changed: dict[str, Any] = {"seed": seed, "batch_size": step.batch_size, "condition": condition, "seconds": None}
    if step.steps is not None:
        changed["steps"] = step.steps
    sample = recipes.parse({**made.sample.model_dump(), **changed}, SampleRecipe, str(run))
    recipe = made.model_copy(update={"sample": sample})
    window = _base.given_window(run, recipe)
    found = checkpoint.latest(run / "checkpoints")
    assert found is not None  # given_window has read it
    identity = {
        "baseline": recipe.baseline,
        "preset": recipe.preset,
        "step": found.step,
        "weights_sha256": file_sha256(found.path / "ema.safetensors"),
        "scheduler": sample.scheduler,
        "steps": sample.steps,
    }
    return SoundModel(run, recipe, registry.module("baseline", recipe.baseline), window, identity)


def starts(frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows over a video: evenly from its beginning to its end.

    Args:
        frames: Of the video, on the model's grid.
        window: Frames of a window.
        overlap: Frames that neighbours share at least; less than a window.
    """
    if frames <= window:
        return [0]
    count = math.ceil((frames - overlap) / (window - overlap))
    return [round(place * (frames - window) / (count - 1)) for place in range(count)]


def joined(sounds: Sequence[NDArray[np.float32]], places: Sequence[int], length: int) -> NDArray[np.float32]:
    """One sound of several that overlap; where two do, one fades into the next at constant power.

    Args:
        sounds: float32 (C, L) each.
        places: First sample of each, rising.
        length: Samples of the result; what goes beyond is cut off, what is missing is silence.
    """
    channels = sounds[0].shape[0]
    end = max(place + sound.shape[1] for place, sound in zip(places, sounds, strict=True))
    whole = np.zeros((channels, max(end, length)), np.float32)
    filled = 0
    for place, sound in zip(places, sounds, strict=True):
        shared = max(0, filled - place)
        angle = (np.arange(shared, dtype=np.float32) + 0.5) / max(1, shared) * (np.pi / 2)
        whole[:, place : place + shared] = whole[:, place : place + shared] * np.cos(angle) + sound[
            :, :shared
        ] * np.sin(angle)
        whole[:, place + shared : place + sound.shape[1]] = sound[:, shared:]
        filled = place + sound.shape[1]
    return whole[:, :length].clip(-1, 1)


class _Film:
    """What the model sees of one video."""

    def __init__(self, video: NDArray[np.uint8], fps: float, window: WindowSpec, overlap_s: float) -> None:
        grid = media.frames_on_grid(len(video), fps, window.fps)
        count = math.ceil(len(video) / media.frame_rate(fps) * media.frame_rate(window.fps))
        grid += [grid[-1]] * (max(count, window.frames) - len(grid))  # the last picture is held
        overlap = min(math.ceil(overlap_s * window.fps), window.frames - 1)
        self.starts = starts(max(count, window.frames), window.frames, overlap)
        self._pictures = media.fit_frames(video, (window.size, window.size))[grid]
        self._window = window
        self.samples = round(len(video) / media.frame_rate(fps) * window.sample_rate_hz)

    def part(self, place: int) -> NDArray[np.uint8]:
        """The pictures of one window, uint8 (T, S, S, 3)."""
        first = self.starts[place]
        return self._pictures[first : first + self._window.frames]

    @property
    def places(self) -> list[int]:
        """First audio sample of each window."""
        window = self._window
        return [round(first / media.frame_rate(window.fps) * window.sample_rate_hz) for first in self.starts]


def make_sound(
    model: SoundModel,
    step: RunStep,
    number: int,
    video: NDArray[np.uint8],
    fps: float,
    *,
    device: torch.device,
    bar: Bar,
) -> tuple[NDArray[np.float32], int]:
    """The sound of one video.

    Args:
        model: From `load`.
        step: How.
        number: Of the clip; its sound depends on the seed, this number and its pictures.
        video: uint8 (T, H, W, 3).
        fps: Of the video.
        device: Where to compute.
        bar: Advanced by one in all.

    Returns:
        float32 (C, L), as long as the picture, and its rate.
    """
    film = _Film(video, fps, model.window, step.overlap_s)

    def given(sample: int) -> GivenClip:
        place = sample - number * MOST_WINDOWS
        return GivenClip(film.part(place), None, {"clip": _base.clip_name(number), "window": place})

    wanted = [number * MOST_WINDOWS + place for place in range(len(film.starts))]
    sounds = []
    for clip in model.baseline.sample(model.run, model.recipe, wanted, device=device, bar=Bar(), given=given):
        sounds.append(np.atleast_2d(clip.audio))
        bar.advance(1 / len(wanted))
    return joined(sounds, film.places, film.samples), model.window.sample_rate_hz
