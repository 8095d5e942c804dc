"""Clips sampled during training as one picture: per clip a row of frames with the spectrogram of its sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from avbench.recipe_baseline import BaselineRecipe
from avbench.workspace import publish

CLIPS = 4
STEPS = 20
"""Solver steps of a clip, at most."""
FRAMES = 8
"""Frames shown of a clip, each from the middle of one of equal parts."""
FRAME_PX = 96
SOUND_PX = 256
_GAP_PX = 6
_BANDS = 64
_QUIETEST_DB = -80.0


class Clip(Protocol):
    """What is drawn of a clip; `avbench.baselines._base.GeneratedClip` is one."""

    @property
    def video(self) -> np.ndarray:
        """uint8 (T, H, W, 3)."""

    @property
    def audio(self) -> np.ndarray:
        """float32 (C, L) in [-1, 1]."""

    @property
    def sample_rate_hz(self) -> int:
        """Audio rate."""


def preview_recipe(recipe: BaselineRecipe) -> BaselineRecipe:
    """The recipe with few clips and few steps to sample during training, always from the same start noise."""
    few = {"n": CLIPS, "batch_size": CLIPS, "steps": min(STEPS, recipe.sample.steps)}
    return recipe.model_copy(update={"sample": recipe.sample.model_copy(update=few)})


def sheet_name(step: int) -> str:
    """Name of the picture of a step."""
    return f"samples-{step:06d}.png"


def write_sheet(clips: Iterable[Clip], path: Path) -> None:
    """Draw clips one below the other: frames left, mel spectrogram right (low tones below, -80 dB black)."""
    drawn = [_row(clip) for clip in clips]
    gap = np.full((_GAP_PX, drawn[0].shape[1], 3), 255, np.uint8)
    with publish(path) as temporary:
        Image.fromarray(np.concatenate([part for row in drawn for part in (row, gap)][:-1])).save(temporary)


def _row(clip: Clip) -> NDArray[np.uint8]:
    count = min(FRAMES, len(clip.video))
    places = ((np.arange(count) + 0.5) * len(clip.video) / count).astype(int)
    width = round(FRAME_PX * clip.video.shape[2] / clip.video.shape[1])
    frames = [_scaled(clip.video[place], width) for place in places]
    gap = np.full((FRAME_PX, _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([*frames, gap, _scaled(spectrogram(clip.audio, clip.sample_rate_hz), SOUND_PX)], axis=1)


def _scaled(picture: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize((width, FRAME_PX), Image.Resampling.BICUBIC))


def spectrogram(audio: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.uint8]:
    """Mel spectrogram as a picture: uint8 (64, columns, 3), 50 Hz to half the rate, high tones on top.

    Args:
        audio: (C, L) in [-1, 1]; channels are averaged.
        sample_rate_hz: Its rate.
    """
    import matplotlib
    from torchaudio.transforms import MelSpectrogram

    length = max(256, sample_rate_hz // 16)  # 64 ms: four bins or more in the narrowest band
    mel = MelSpectrogram(sample_rate_hz, length, hop_length=length // 8, f_min=50.0, n_mels=_BANDS, power=2.0)
    # a full-scale sine is about 0 dB: its energy in a Hann window of this length is (length / 4) ** 2
    power = mel(torch.from_numpy(audio).mean(0)).numpy() / (length / 4) ** 2
    decibels = 10 * np.log10(np.maximum(power, 10 ** (_QUIETEST_DB / 10)))
    shade = np.clip(1 - decibels / _QUIETEST_DB, 0, 1)[::-1]
    return (matplotlib.colormaps["magma"](shade)[:, :, :3] * 255).round().astype(np.uint8)
