"""What AVDiT is given of a clip: times on the grid of its latent frames, and the latents of what lies there.

A part is given as clean tokens of noise level 0 (arXiv 2405.13762, section on inference), so it begins and ends with a
time slice. The codec must not see what the task does not give: a latent near the end of the given part reaches beyond
it. So everything else is replaced before encoding, pictures by a blend of the given ones on both sides, sound by the
mirror image of the given sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.diffusion.conditioning import Task
from avbench.errors import UserError
from avbench.models.avdit import AVDiTConfig


class Given(NamedTuple):
    """Which part of a clip is given.

    Attributes:
        slices: bool (2, N): video and audio of each time slice.
        frames: bool (T,): video frames.
        samples: bool (L,): audio samples.
    """

    slices: torch.Tensor
    frames: NDArray[np.bool_]
    samples: NDArray[np.bool_]


def given_part(task: Task, keep: Sequence[tuple[float, float]], config: AVDiTConfig, n_samples: int) -> Given:
    """Which part of a clip a task gives.

    Args:
        task: ``v2a`` gives the picture, ``a2v`` the sound, ``continue`` and ``inpaint`` both at some times.
        keep: These times, [start, end) in seconds.
        config: The network, which knows its time slices.
        n_samples: Audio samples of a clip.

    Raises:
        UserError: A time is no bound of a time slice or outside of the clip; nothing is left to make.
    """
    slices = torch.zeros(2, config.slices, dtype=torch.bool)
    frames, samples = np.zeros(config.frames, bool), np.zeros(n_samples, bool)
    if task in ("v2a", "a2v"):
        slices[0 if task == "v2a" else 1] = True
        (frames if task == "v2a" else samples)[:] = True
        return Given(slices, frames, samples)
    bounds = config.slice_bounds_s
    for start_s, end_s in keep:
        first, last = bound(start_s, bounds), bound(end_s, bounds)
        slices[:, first:last] = True
        frames[round(bounds[first] * config.fps) : round(bounds[last] * config.fps)] = True
        begin, end = (round(bounds[number] / bounds[-1] * n_samples) for number in (first, last))
        samples[begin:end] = True
    if slices.all():
        raise UserError(f"keep gives the whole clip of {bounds[-1]:g} s: nothing is left to make; keep less of it")
    return Given(slices, frames, samples)


def bound(time_s: float, bounds_s: Sequence[float]) -> int:
    """The slice that begins at ``time_s``, or their number where the clip ends there.

    Raises:
        UserError: No slice begins there; the nearest times are named.
    """
    nearest = int(np.abs(np.asarray(bounds_s) - time_s).argmin())
    if abs(bounds_s[nearest] - time_s) <= 1e-6:
        return nearest
    if time_s > bounds_s[-1]:
        raise UserError(f"keep: {time_s:g} s lies behind the end of a clip of this model, {bounds_s[-1]:g} s")
    after = next(number for number, at_s in enumerate(bounds_s) if at_s > time_s)
    raise UserError(
        f"keep: {time_s:g} s lies inside a latent frame of the video codec; the nearest times are "
        f"{bounds_s[after - 1]:g} s and {bounds_s[after]:g} s"
    )


def hidden_video(video: torch.Tensor, is_given: NDArray[np.bool_]) -> torch.Tensor:
    """Pictures of which only the given ones are left: the others blend from the given one before to the one behind.

    Args:
        video: (B, T, 3, H, W).
        is_given: (T,), at least one.

    Returns:
        float32, same shape.
    """
    shown = video.float().clone()
    for first, last in runs(~is_given):
        before = shown[:, first - 1] if first else shown[:, last]
        behind = shown[:, last] if last < len(is_given) else before
        for place in range(first, last):
            share = (place - first + 1) / (last - first + 1)
            shown[:, place] = (1 - share) * before + share * behind
    return shown


def hidden_audio(audio: torch.Tensor, is_given: NDArray[np.bool_]) -> torch.Tensor:
    """Sound of which only the given part is left: the rest is its mirror image, faded from one side to the other.

    Args:
        audio: (B, C, L).
        is_given: (L,), at least one.

    Returns:
        float32, same shape.
    """
    heard = audio.float().numpy().copy()
    there = runs(is_given)
    for first, last in runs(~is_given):
        length = last - first
        sides = [
            np.pad(heard[..., a:b], ((0, 0), (0, 0), (0, length)), "symmetric")[..., -length:]
            for a, b in there
            if b == first
        ] + [
            np.pad(heard[..., a:b], ((0, 0), (0, 0), (length, 0)), "symmetric")[..., :length]
            for a, b in there
            if a == last
        ]
        share = (np.arange(length, dtype=np.float32) + 0.5) / length
        heard[..., first:last] = (1 - share) * sides[0] + share * sides[-1]
    return torch.from_numpy(heard)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
