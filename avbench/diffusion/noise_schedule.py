"""The discrete Gaussian diffusion both modalities share: schedule, forward process, training loss.

The schedule itself is diffusers' `DDPMScheduler`; what is added here is the joint use on video and audio of
MM-Diffusion (arXiv 2212.09478): one timestep per sample for both modalities, independent noise, and the sum
of the two mean squared errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler

TRAIN_TIMESTEPS = 1000

Schedule = Any
"""A `diffusers.DDPMScheduler`; diffusers imports lazily, which hides its classes from the type checker."""


def linear_schedule(steps: int = TRAIN_TIMESTEPS) -> Schedule:
    """Linear betas from ``1e-4 * 1000 / steps`` to ``0.02 * 1000 / steps`` (DDPM, scaled as in guided-diffusion)."""
    scale = 1000 / steps
    return DDPMScheduler(
        num_train_timesteps=steps, beta_start=1e-4 * scale, beta_end=0.02 * scale, beta_schedule="linear"
    )


class NoisyPair(NamedTuple):
    """A noised batch and the noise in it.

    Attributes:
        video: (B, T, C, H, W).
        audio: (B, C, L).
        video_noise: Same shape as ``video``.
        audio_noise: Same shape as ``audio``.
        timesteps: int64 (B,), uniform in [0, steps).
        level: float32 (B,), ``timesteps`` as a share of all steps, in [0, 1); None where nobody asks.
    """

    video: torch.Tensor
    audio: torch.Tensor
    video_noise: torch.Tensor
    audio_noise: torch.Tensor
    timesteps: torch.Tensor
    level: torch.Tensor | None = None


def noise_pair(
    schedule: Schedule,
    video: torch.Tensor,
    audio: torch.Tensor,
    generator: torch.Generator | Sequence[torch.Generator],
) -> NoisyPair:
    """Draw a timestep per sample and noise both modalities at it.

    Args:
        schedule: Noise schedule.
        video: (B, T, C, H, W) in [-1, 1].
        audio: (B, C, L) in [-1, 1].
        generator: CPU generator, or one per sample, so that a sample's draw does not depend on the batch it is in.
            The draw is the same on every device.
    """
    steps = schedule.config.num_train_timesteps
    if isinstance(generator, torch.Generator):
        timesteps, video_noise, audio_noise = _draw(steps, len(video), video.shape, audio.shape, generator)
    else:
        each = [_draw(steps, 1, (1, *video.shape[1:]), (1, *audio.shape[1:]), g) for g in generator]
        timesteps, video_noise, audio_noise = (torch.cat(drawn) for drawn in zip(*each, strict=True))
    video_noise, audio_noise = video_noise.to(video), audio_noise.to(audio)
    timesteps = timesteps.to(video.device)
    return NoisyPair(
        schedule.add_noise(video, video_noise, timesteps),
        schedule.add_noise(audio, audio_noise, timesteps),
        video_noise,
        audio_noise,
        timesteps,
        timesteps / steps,
    )


def _draw(
    steps: int, count: int, video: Sequence[int], audio: Sequence[int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Timesteps and both noises, in this order."""
    timesteps = torch.randint(0, steps, (count,), generator=generator)
    return timesteps, torch.randn(tuple(video), generator=generator), torch.randn(tuple(audio), generator=generator)


class PairLoss(NamedTuple):
    """Mean squared noise error per sample, each a mean over the elements of its modality; float32 (B,).

    ``level`` is the noise level of each sample in [0, 1), for logs that tell the losses apart by it, or None.
    ``objective`` is what is minimised of each sample where that is not the sum of both errors, or None.
    """

    video: torch.Tensor
    audio: torch.Tensor
    level: torch.Tensor | None = None
    objective: torch.Tensor | None = None

    @property
    def each(self) -> torch.Tensor:
        """What is minimised, per sample (B,): the two errors with weight 1:1 where nothing else is said."""
        return self.video + self.audio if self.objective is None else self.objective

    @property
    def total(self) -> torch.Tensor:
        """Scalar training loss: what is minimised, averaged over the batch."""
        return self.each.mean()


def pair_loss(predicted_video: torch.Tensor, predicted_audio: torch.Tensor, target: NoisyPair) -> PairLoss:
    """Noise-prediction loss of both modalities, computed in float32."""
    video = (predicted_video.float() - target.video_noise.float()).square().flatten(1).mean(1)
    audio = (predicted_audio.float() - target.audio_noise.float()).square().flatten(1).mean(1)
    return PairLoss(video, audio, target.level)
