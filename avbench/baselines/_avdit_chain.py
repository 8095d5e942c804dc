"""Clips longer than the network's window: each window is given the end of the one before, and they are joined.

The first latent frame of a causal video codec is one picture and every other is four, so latents of the end of a window
are not those of the beginning of one: the last pictures are encoded again. Sound has no such beginning, and its tokens
are carried over as they are wherever a window begins on a token. Both windows then show the same seconds. The picture
goes over from one to the other along all of them, the sound in their middle, where neither decoder is at an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.baselines._base import grey_levels
from avbench.errors import UserError
from avbench.models.avdit import AVDiTConfig

_OVERLAP = 0.4
"""Share of the slices that a window is given of the one before: 2 of 5, as the paper's av-continue."""


class Plan(NamedTuple):
    """How a long clip is put together.

    Attributes:
        windows: How many.
        slices: Time slices that each window after the first is given.
        step: Frames from the beginning of one window to that of the next.
        overlap: Frames that two windows share.
        frames: Frames of the clip.
        samples: Audio samples of the clip.
        sample_rate_hz: Audio rate.
        token_step: Audio tokens in ``step``, or None where it holds no whole number of them.
    """

    windows: int
    slices: int
    step: int
    overlap: int
    frames: int
    samples: int
    sample_rate_hz: int
    token_step: int | None

    def first_sample(self, frame: int, fps: float) -> int:
        """The audio sample at the time of a frame."""
        return round(frame / fps * self.sample_rate_hz)


def plan(seconds: float, config: AVDiTConfig, sample_rate_hz: int) -> Plan:
    """How a clip of ``seconds`` is put together.

    Raises:
        UserError: It is shorter than one window, or the network has too few slices to hand any over.
    """
    frames = round(seconds * config.fps)
    if abs(frames / config.fps - seconds) > 1e-6:
        raise UserError(
            f"--seconds {seconds:g} is no whole number of frames at {config.fps:g} fps; take {frames / config.fps:g}"
        )
    if frames < config.frames:
        raise UserError(
            f"--seconds {seconds:g} is shorter than one window of this model, {config.frames / config.fps:g} s; leave "
            f"--seconds out, or ask for more"
        )
    slices = max(1, round(_OVERLAP * config.slices))
    if slices >= config.slices:
        raise UserError(f"a network of {config.slices} latent frames has none to hand over; sample without --seconds")
    overlap = round(config.slice_bounds_s[slices] * config.fps)
    step = config.frames - overlap
    tokens = step / config.fps * config.audio_tokens_per_s
    return Plan(
        windows=1 + math.ceil((frames - config.frames) / step),
        slices=slices,
        step=step,
        overlap=overlap,
        frames=frames,
        samples=round(frames / config.fps * sample_rate_hz),
        sample_rate_hz=sample_rate_hz,
        token_step=round(tokens) if abs(tokens - round(tokens)) < 1e-9 else None,
    )


class Window(NamedTuple):
    """One decoded window of a batch, and its latents.

    Attributes:
        video: float32 (B, T, 3, H, W) in [-1, 1].
        audio: float32 (B, C, L) in [-1, 1].
        video_latents: (B, N, C, h, w).
        audio_latents: (B, M, C).
    """

    video: torch.Tensor
    audio: torch.Tensor
    video_latents: torch.Tensor
    audio_latents: torch.Tensor


class Joined:
    """Windows put one behind the other.

    What is finished is kept as grey levels and samples; only the last window is held as what the decoder gave.

    Args:
        plan: How.
        fps: Frames per second.
    """

    def __init__(self, plan: Plan, fps: float) -> None:
        self._plan, self._fps = plan, fps
        self._pictures: list[NDArray[np.uint8]] = []
        self._sounds: list[NDArray[np.float32]] = []
        self._video: torch.Tensor | None = None
        self._audio: torch.Tensor | None = None
        self._count = 0

    def add(self, window: Window) -> None:
        """Put the next window behind what is there."""
        video, audio = window.video.clone(), window.audio.clone()
        if self._video is not None and self._audio is not None:
            plan = self._plan
            # the place of this window's first frame and sample in what is left of the one before
            cut = plan.first_sample(self._count * plan.step, self._fps)
            cut -= plan.first_sample((self._count - 1) * plan.step, self._fps)
            self._finish(self._video[:, : plan.step], self._audio[..., :cut])
            _blend(video, self._video[:, plan.step :], dim=1, ramp=_along(plan.overlap))
            shared = self._audio.shape[-1] - cut
            _blend(audio, self._audio[..., cut:], dim=2, ramp=_in_the_middle(shared))
        self._video, self._audio = video, audio
        self._count += 1

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The clips: uint8 (B, T, H, W, 3) and float32 (B, C, L), of the length that was planned."""
        assert self._video is not None
        assert self._audio is not None
        self._finish(self._video, self._audio)
        self._video = self._audio = None
        pictures = np.concatenate(self._pictures, axis=1)[:, : self._plan.frames]
        return pictures, np.concatenate(self._sounds, axis=-1)[..., : self._plan.samples]

    def _finish(self, video: torch.Tensor, audio: torch.Tensor) -> None:
        self._pictures.append(grey_levels(video))
        self._sounds.append(audio.numpy().astype(np.float32))


def _along(length: int) -> torch.Tensor:
    """Weights of the new window that rise along all of ``length``."""
    return torch.arange(1, length + 1) / (length + 1)


def _in_the_middle(length: int) -> torch.Tensor:
    """Weights of the new window that rise from 0 to 1 within the second and third quarter of ``length``."""
    rise = ((torch.arange(length) + 0.5) / length * 2 - 0.5).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(math.pi * rise)


def _blend(new: torch.Tensor, old: torch.Tensor, *, dim: int, ramp: torch.Tensor) -> None:
    """Put the end of the old window into the beginning of the new one, in place; both show the same."""
    length = len(ramp)
    weights = ramp.view(-1, *[1] * (new.dim() - 1 - dim))
    shared = new.narrow(dim, 0, length)
    shared.copy_(weights * shared + (1 - weights) * old.narrow(dim, 0, length))


Make = Callable[[int, Window | None], Window]
"""(number of the window, the one before) -> the window."""


def chained(plan: Plan, fps: float, make: Make) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Make and join all windows of a batch of clips.

    Args:
        plan: How the clips are put together.
        fps: Frames per second.
        make: Makes a window that begins with the last ``plan.overlap`` frames of the one before.

    Returns:
        uint8 (B, T, H, W, 3) and float32 (B, C, L).
    """
    joined, before = Joined(plan, fps), None
    for number in range(plan.windows):
        before = make(number, before)
        joined.add(before)
    return joined.result()
