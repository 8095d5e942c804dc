"""The second step by a model that avbench trained: its sound for a picture (``--task v2a``), window after window.

A model knows clips of one length, size and rate; a video may have any. The video is brought to the model's rate and
size as every clip of docs/inputs.md is, its last picture held where the grid ends later. Windows are laid evenly from
its beginning to its end, so that neighbours share ``overlap_s`` or more. There one sound fades into the next with cos
and sin: the two are made apart and are hardly alike, so that their powers add, and cos^2 + sin^2 = 1 keeps the
loudness. A video that is shorter than a window is shown with its last picture held, and the sound is cut where the
video ends. The video itself is left as it is; only what the model sees is made small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media, recipe as recipes, registry
from avbench.baselines import _base
from avbench.baselines._two_step_mmaudio import Sound
from avbench.baselines._two_step_video import Videos, Wanted
from avbench.baselines._untrained import Licence
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS
from avbench.diffusion.solvers import timesteps
from avbench.errors import UserError
from avbench.progress import Bar
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe, SampleRecipe
from avbench.recipe_two_step import RunStep
from avbench.schema import Outcome
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

    Its networks are loaded once here and dropped again: what is wrong with them is said before any picture is made.

    Raises:
        UserError: No run there, not trained, its baseline cannot be given a picture or not in that way, or its codecs
            are gone.
    """
    run = Path(step.run)
    if not (run / "recipe.json").is_file():
        raise UserError(
            f"{run}: holds no run of avbench that could make the sound; train one, such as `avbench train mmdiffusion "
            "--preset tiny`, or name its folder in two_step.sound.run of a recipe of your own"
        )
    made = recipes.parse(read_json(run / "recipe.json"), BaselineRecipe, str(run / "recipe.json"))
    baseline = registry.module("baseline", made.baseline)
    if not _hears_pictures(baseline):
        raise UserError(
            f"{run}: holds a run of {made.baseline}, which makes no sound for a picture; name a run of "
            f"{', '.join(families())} in two_step.sound.run"
        )
    condition = ConditionRecipe(
        task="v2a", source="two-step", method=step.method, scale=step.scale, guidance=step.guidance
    )
    changed: dict[str, Any] = {"seed": seed, "batch_size": step.batch_size, "condition": condition, "seconds": None}
    if step.steps is not None:
        changed["steps"] = step.steps
    sample = recipes.parse({**made.sample.model_dump(), **changed}, SampleRecipe, str(run))
    recipe = made.model_copy(update={"sample": sample})
    _base.require_slices(recipe)
    window = _base.given_window(run, recipe)
    found = checkpoint.latest(run / "checkpoints")
    assert found is not None  # given_window has read it
    try:
        timesteps(sample.steps, sample.spacing, found.config.get("timesteps", TRAIN_TIMESTEPS))
        list(baseline.sample(run, recipe, [], device=torch.device("cpu"), bar=Bar(), given=_no_clip))
    except UserError as error:
        raise UserError(f"{run}, as two_step.sound names it: {error}") from error
    identity = {
        "baseline": recipe.baseline,
        "preset": recipe.preset,
        "step": found.step,
        "weights_sha256": file_sha256(found.path / "ema.safetensors"),
        "scheduler": sample.scheduler,
        "steps": sample.steps,
    }
    return SoundModel(run, recipe, baseline, window, identity)


def licences(step: RunStep) -> list[Licence]:
    """On what terms the published codecs may be used that a run of latents was trained behind; none where it is not
    there yet."""
    found = checkpoint.latest(Path(step.run) / "checkpoints")
    held = found.config.get("latents", {}).get("codecs", {}).values() if found else []
    where = Path(step.run).name
    return [Licence(f"{each['name']} (codec of {where})", each["licence"]) for each in held if each["source"] != "run"]


def families() -> list[str]:
    """Baselines whose runs can make a sound for a picture."""
    return [name for name in registry.names("baseline") if _hears_pictures(registry.module("baseline", name))]


def _hears_pictures(baseline: ModuleType) -> bool:
    return hasattr(baseline, "clip_window")


def _no_clip(number: int) -> GivenClip:
    raise AssertionError(f"nothing is sampled, not clip {number} either")


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


def film_starts(frames: int, fps: float, window: WindowSpec, overlap_s: float) -> list[int]:
    """First frames, on the model's grid, of the windows over a video.

    Args:
        frames: Of the video.
        fps: Of the video.
        window: What the model takes.
        overlap_s: Neighbours share at least so much.
    """
    overlap = min(math.ceil(overlap_s * window.fps), window.frames - 1)
    return starts(_seen_frames(frames, fps, window), window.frames, overlap)


def _seen_frames(frames: int, fps: float, window: WindowSpec) -> int:
    """Frames of a video on the model's grid, a window at least."""
    return max(math.ceil(frames / media.frame_rate(fps) * media.frame_rate(window.fps)), window.frames)


class _Film:
    """What the model sees of one video."""

    def __init__(self, video: NDArray[np.uint8], fps: float, window: WindowSpec, overlap_s: float) -> None:
        grid = media.frames_on_grid(len(video), fps, window.fps)
        grid += [grid[-1]] * (_seen_frames(len(video), fps, window) - len(grid))  # the last picture is held
        self.starts = film_starts(len(video), fps, window, overlap_s)
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


def sounds(
    model: SoundModel,
    step: RunStep,
    clips: Mapping[int, Wanted],
    videos: Videos,
    *,
    frames: int,
    fps: float,
    device: torch.device,
    bar: Bar,
) -> Generator[Outcome[Sound], None, None]:
    """The sounds of some videos; the networks are loaded once.

    Args:
        model: From `load`.
        step: How.
        clips: By their numbers. A clip's sound depends on the seed, its number and its pictures.
        videos: Their pictures.
        frames: Of each video.
        fps: Of each video.
        device: Where to compute.
        bar: Advanced by one per clip.

    Yields:
        float32 (C, L), as long as the picture, and its rate, in the order of ``clips``; or why there is none.
    """
    films: dict[int, _Film] = {}

    def film(number: int) -> _Film:
        if number not in films:
            films[number] = _Film(*videos.read(clips[number]), model.window, step.overlap_s)
        return films[number]

    def given(sample: int) -> GivenClip:
        number, place = divmod(sample, MOST_WINDOWS)
        return GivenClip(film(number).part(place), None, {"clip": clips[number].name, "window": place})

    windows = len(film_starts(frames, fps, model.window, step.overlap_s))
    # a batch is of one clip: what else is made in a call changes no bit of it, and a run that is resumed ends the same
    calls = math.ceil(windows / step.batch_size)
    size = math.ceil(windows / calls)
    places = [*range(windows), *([windows - 1] * (calls * size - windows))]
    sampled = model.recipe.sample.model_copy(update={"batch_size": size})
    recipe = model.recipe.model_copy(update={"sample": sampled})
    wanted = [number * MOST_WINDOWS + place for number in clips for place in places]
    made = model.baseline.sample(model.run, recipe, wanted, device=device, bar=Bar(), given=given)
    for number, clip in clips.items():
        parts = []
        for window in itertools.islice(made, len(places)):
            parts.append(np.atleast_2d(window.audio))
            bar.advance(1 / len(places))
        seen = films.pop(number)
        sound = joined(parts[:windows], seen.places, seen.samples)
        if np.isfinite(sound).all():
            yield Outcome(clip.name, (sound, model.window.sample_rate_hz))
        else:
            yield Outcome(clip.name, None, f"the model in {model.run.name} gave a sound that holds NaN or infinity")
