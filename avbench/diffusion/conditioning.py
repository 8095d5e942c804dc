"""Sampling with a part of the clip given: sound for a picture, a picture for a sound, what follows, what is missing.

A joint model is trained on whole clips only; the given part x^a enters at sampling time in one of two ways, or in both.
z_t = alpha_t x + sigma_t n is the noisy clip, x(z_t) the network's estimate of the clip, b the part to be made.

**Replacement** (Song et al., arXiv 2011.13456, appendix I.2; MM-Diffusion, arXiv 2212.09478, section 3.4): before every
step the given part of z_t is put in place as alpha_t x^a + sigma_t n. With ``fresh`` noise n is drawn anew for every
step, with ``fixed`` noise once for all steps, as the published MM-Diffusion code does.

**Reconstruction guidance** (Ho et al., arXiv 2204.03458, equation 7): the estimate is corrected by the gradient of how
badly it explains what is given,

    L = 1/2 sum (x^a(z_t) - x^a)^2,    x(z_t) <- x(z_t) - scale * alpha_t * dL/dz_t.

The sum is over all given elements of one sample, so that the scale does not depend on batch or clip size. Scale 1 is
Bayes' rule for a x^a that is normal about x^a(z_t) with the variance sigma_t^2 / alpha_t^2; 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.errors import UserError

Task = Literal["v2a", "a2v", "continue", "inpaint"]
Method = Literal["replace", "guide", "both"]
Noise = Literal["fresh", "fixed"]
Pair = tuple[torch.Tensor, torch.Tensor]
"""Video (B, T, C, H, W) and audio (B, C, L)."""


class GivenClip(NamedTuple):
    """The clip that one sample is conditioned on.

    Attributes:
        video: uint8 (T, S, S, 3), or None where the task does not need it.
        audio: float32 (C, L), or None where the task does not need it.
        source: Where it comes from, for the record: clip and start.
    """

    video: NDArray[np.uint8] | None
    audio: NDArray[np.float32] | None
    source: Mapping[str, Any]


class Known(NamedTuple):
    """What is given of a batch.

    Attributes:
        video: float32 (B, T, C, H, W) in [-1, 1]; any value where nothing is given.
        audio: float32 (B, C, L); likewise.
        has_video: bool (T, 1, 1, 1): frames that are given.
        has_audio: bool (L,): audio samples that are given.
    """

    video: torch.Tensor
    audio: torch.Tensor
    has_video: torch.Tensor
    has_audio: torch.Tensor

    def put_into(self, video: torch.Tensor, audio: torch.Tensor) -> Pair:
        """The pair with its given part in place."""
        return torch.where(self.has_video, self.video, video), torch.where(self.has_audio, self.audio, audio)

    def noised(self, video_noise: torch.Tensor, audio_noise: torch.Tensor, alpha: Any, sigma: Any) -> Known:
        """The same part at the noise level of a step: alpha x + sigma n."""
        return self._replace(
            video=alpha * self.video + sigma * video_noise, audio=alpha * self.audio + sigma * audio_noise
        )

    def to(self, device: torch.device) -> Known:
        """The same on ``device``."""
        return Known(*(tensor.to(device) for tensor in self))


@dataclass(frozen=True)
class Conditioning:
    """How a batch is sampled with a part given.

    Attributes:
        known: The given part.
        method: ``replace`` puts the noised given part into every step. ``guide`` leaves the clip whole and corrects
            the estimate of all of it by the gradient, so that scale 0 samples without a condition. ``both`` is
            equation 7 as it was proposed: the given part is replaced and the rest is corrected.
        scale: Weight of the gradient, see the module; ``replace`` does not use it.
        noise: Noise of the replaced part, see the module.
    """

    known: Known
    method: Method = "replace"
    scale: float = 1.0
    noise: Noise = "fresh"

    @property
    def replaces(self) -> bool:
        """The given part of every step is put in place."""
        return self.method != "guide"

    @property
    def guides(self) -> bool:
        """The estimate is corrected by the gradient; without weight it need not be computed."""
        return self.method != "replace" and self.scale > 0


def known_part(task: Task, keep: Sequence[tuple[float, float]], clips: Sequence[GivenClip], shape: Shape) -> Known:
    """The given part of a batch.

    Args:
        task: ``v2a`` gives the picture, ``a2v`` the sound, ``continue`` and ``inpaint`` both of them at some times.
        keep: Times that are given, [start, end) in seconds; for ``continue`` and ``inpaint``.
        clips: One clip per sample; what the task gives must be there.
        shape: Shape and rates of a clip.

    Raises:
        UserError: A time is not on the frame grid, or outside of the clip; nothing is given or nothing is left to make.
    """
    frames, samples = _given_times(task, keep, shape)
    video = torch.zeros(len(clips), *shape.video)
    audio = torch.zeros(len(clips), *shape.audio)
    for place, clip in enumerate(clips):
        if frames.any():
            assert clip.video is not None
            video[place] = torch.from_numpy(clip.video).permute(0, 3, 1, 2).float() / 127.5 - 1
        if samples.any():
            assert clip.audio is not None
            audio[place] = torch.from_numpy(clip.audio)
    return Known(video, audio, frames.view(-1, 1, 1, 1), samples)


class Shape(NamedTuple):
    """A clip of the model.

    Attributes:
        video: (T, C, H, W).
        audio: (C, L).
        fps: Frames per second.
        sample_rate_hz: Audio rate.
    """

    video: tuple[int, ...]
    audio: tuple[int, ...]
    fps: float
    sample_rate_hz: int


def _given_times(task: Task, keep: Sequence[tuple[float, float]], shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Which frames, bool (T,), and which audio samples, bool (L,), are given."""
    frames = torch.zeros(shape.video[0], dtype=torch.bool)
    samples = torch.zeros(shape.audio[-1], dtype=torch.bool)
    if task in ("v2a", "a2v"):
        (frames if task == "v2a" else samples).fill_(True)
        return frames, samples
    length_s = len(frames) / shape.fps
    for start_s, end_s in keep:
        first, last = _frame(start_s, shape), _frame(end_s, shape)
        if last > len(frames):
            raise UserError(f"keep = {start_s:g}-{end_s:g}: a clip of this model ends at {length_s:g} s")
        frames[first:last] = True
        begin, end = (round(number / shape.fps * shape.sample_rate_hz) for number in (first, last))
        samples[begin : len(samples) if last == len(frames) else end] = True
    if frames.all():
        raise UserError(f"keep gives the whole clip of {length_s:g} s: nothing is left to make; keep less of it")
    return frames, samples


def _frame(time_s: float, shape: Shape) -> int:
    """The frame that begins at ``time_s``."""
    number = round(time_s * shape.fps)
    if abs(number / shape.fps - time_s) > 1e-6:
        raise UserError(
            f"keep: {time_s:g} s lies between two frames of {shape.fps:g} fps; take {number / shape.fps:g} s"
        )
    return number


Estimate = Callable[[torch.Tensor, torch.Tensor], Pair]
"""Noisy pair to the network's estimate of the clip."""


def guided(estimate: Estimate, video: torch.Tensor, audio: torch.Tensor, how: Conditioning, alpha: Any) -> Pair:
    """The estimate of the clip after reconstruction guidance (module docstring; arXiv 2204.03458, equation 7).

    Args:
        estimate: Differentiable; gives x(z_t) from z_t.
        video: Noisy video (B, T, C, H, W).
        audio: Noisy audio (B, C, L).
        how: What is given, and the scale.
        alpha: alpha_t of the step.

    Returns:
        Corrected video and audio estimates, without a graph.
    """
    known = how.known
    video, audio = video.detach().requires_grad_(), audio.detach().requires_grad_()
    with torch.enable_grad():
        clean_video, clean_audio = estimate(video, audio)
        loss = 0.5 * (
            torch.where(known.has_video, clean_video - known.video, 0).square().sum()
            + torch.where(known.has_audio, clean_audio - known.audio, 0).square().sum()
        )
        to_video, to_audio = torch.autograd.grad(loss, (video, audio))
    weight = how.scale * alpha
    return clean_video.detach() - weight * to_video, clean_audio.detach() - weight * to_audio
