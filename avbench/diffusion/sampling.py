"""Joint sampling: one solver per modality on the same timesteps, with or without a part of the clip given.

Sample ``i`` starts from a generator of its own, so it is the same under any batch size. What is shared by a whole
forward pass (the random shifts of MM-Diffusion's attention) is drawn per sampling step from the run's seed alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from avbench.diffusion.conditioning import Conditioning, Pair, guided
from avbench.diffusion.noise_schedule import Schedule
from avbench.diffusion.solvers import SchedulerName, Solver, Spacing, Threshold, Variance, default_thresholds, threshold

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
"""(video, audio, timesteps (B,), generator) -> predicted noises of both."""

StartNoise = Literal["drawn", "unit"]
_GIVEN_STREAM = 2**62
"""Apart from the streams of starts and shifts."""


@dataclass(frozen=True)
class SolverOptions:
    """Everything about the solver that changes a sample.

    Attributes:
        scheduler: Which solver, see `avbench.diffusion.solvers.Solver`.
        steps: Solver steps.
        spacing: See `avbench.diffusion.solvers.timesteps`.
        video_threshold: See `avbench.diffusion.solvers.threshold`; None takes what suits the solver.
        audio_threshold: Likewise.
        ddpm_variance: See `avbench.diffusion.solvers.Solver`.
        start_noise: See `start_noise`.
    """

    scheduler: SchedulerName = "dpm-solver++"
    steps: int = 20
    spacing: Spacing = "linspace"
    video_threshold: Threshold | None = None
    audio_threshold: Threshold | None = None
    ddpm_variance: Variance = "large"
    start_noise: StartNoise = "drawn"

    @property
    def thresholds(self) -> tuple[Threshold, Threshold]:
        """Of video and audio, with the solver's own filled in."""
        video, audio = default_thresholds(self.scheduler)
        return self.video_threshold or video, self.audio_threshold or audio

    def solver(self, schedule: Schedule) -> Solver:
        """A solver at its first step."""
        return Solver(self.scheduler, schedule, self.steps, spacing=self.spacing, variance=self.ddpm_variance)


def sample_generator(seed: int, number: int) -> torch.Generator:
    """The generator of sample ``number``: distinct streams for distinct (seed, number)."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)


def sample_pairs(
    denoise: Denoiser,
    numbers: Sequence[int],
    *,
    video_shape: tuple[int, ...],
    audio_shape: tuple[int, ...],
    schedule: Schedule,
    options: SolverOptions,
    seed: int,
    device: torch.device,
    conditioning: Conditioning | None = None,
    audio_gain: float = 1.0,
    is_bounded: bool = True,
    limits: tuple[float, float] = (1.0, 1.0),
) -> Iterator[tuple[torch.Tensor, torch.Tensor] | None]:
    """Sample one batch of joint clips.

    Args:
        denoise: The network; differentiable where ``conditioning`` guides.
        numbers: Sample numbers in this batch.
        video_shape: (T, C, H, W) of one sample.
        audio_shape: (C, L) of one sample.
        schedule: Training schedule.
        options: The solver.
        seed: Seed of the run.
        device: Where to compute.
        conditioning: What is given of each sample, and how it enters; its known part has the batch's order.
        audio_gain: What the sound was multiplied by when the network was trained. What is given is multiplied by it,
            what is made is divided by it, and the sound's range while sampling is [-audio_gain, audio_gain].
        is_bounded: Clips lie in [-1, 1], to which what was made is clamped in the end. Latents have no bounds.
        limits: Largest absolute value of video and of audio, to which thresholds keep an estimate.

    Yields:
        None after every step but the last (so that the caller can draw progress), then video (B, T, C, H, W) and
        audio (B, C, L), both float32 on the CPU; what was given is unchanged.

    Raises:
        UserError: More steps than the schedule has timesteps.
    """
    generators = [sample_generator(seed, number) for number in numbers]
    drawn = start_noise(generators, video_shape, audio_shape, options.start_noise)
    video, audio = (noise.to(device) for noise in drawn)
    given = _Given(conditioning, audio_gain, seed, numbers, device) if conditioning is not None else None
    video_solver, audio_solver = options.solver(schedule), options.solver(schedule)
    for number, timestep in enumerate(video_solver.timesteps):
        alpha, sigma = video_solver.level(number)
        if given is not None:
            video, audio = given.enter(video, audio, alpha, sigma)

        estimate = functools.partial(_estimate, denoise, timestep, sample_generator(seed + 1, number), (alpha, sigma))
        with torch.no_grad():
            if given is not None and given.how.guides:
                clean_video, clean_audio = guided(estimate, video, audio, given.how, alpha)
            else:
                clean_video, clean_audio = estimate(video, audio)
            video_kind, audio_kind = options.thresholds
            video_limit, audio_limit = limits[0], limits[1] * audio_gain
            clean_video = threshold(clean_video / video_limit, video_kind) * video_limit
            clean_audio = threshold(clean_audio / audio_limit, audio_kind) * audio_limit
            if given is not None and given.how.replaces:
                clean_video, clean_audio = given.how.known.put_into(clean_video, clean_audio)
            video = video_solver.step(number, clean_video, video, generators)
            audio = audio_solver.step(number, clean_audio, audio, generators)
        if number + 1 < len(video_solver.timesteps):
            yield None
    video, audio = video.float(), audio.float() / audio_gain
    if is_bounded:
        video, audio = video.clamp(-1, 1), audio.clamp(-1, 1)
    if conditioning is not None:
        video, audio = conditioning.known.to(device).put_into(video, audio)
    yield video.cpu(), audio.cpu()


def _estimate(
    denoise: Denoiser,
    timestep: int,
    shifts: torch.Generator,
    level: Pair,
    video: torch.Tensor,
    audio: torch.Tensor,
) -> Pair:
    """The clean clip that the predicted noise implies: (z_t - sigma n) / alpha."""
    alpha, sigma = level
    timesteps = torch.full((len(video),), timestep, device=video.device)
    video_noise, audio_noise = denoise(video, audio, timesteps, shifts)
    return (video - sigma * video_noise) / alpha, (audio - sigma * audio_noise) / alpha


class _Given:
    """A conditioning on its way through the steps: it draws the noise of the given part, sample by sample."""

    def __init__(
        self, how: Conditioning, audio_gain: float, seed: int, numbers: Sequence[int], device: torch.device
    ) -> None:
        known = how.known.to(device)
        known = known._replace(audio=known.audio * audio_gain)
        self.how = Conditioning(known, how.method, how.scale, how.noise)
        self._device = device
        self._generators = [sample_generator(seed, number + _GIVEN_STREAM) for number in numbers]
        self._noise: Pair | None = None

    def enter(self, video: torch.Tensor, audio: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Pair:
        """The noisy pair with its given part replaced, where the method does that."""
        if not self.how.replaces:
            return video, audio
        if self._noise is None or self.how.noise == "fresh":
            drawn = standard_noise(self._generators, video.shape[1:], audio.shape[1:])
            self._noise = drawn[0].to(self._device), drawn[1].to(self._device)
        return self.how.known.noised(*self._noise, alpha, sigma).put_into(video, audio)


def start_noise(
    generators: list[torch.Generator], video_shape: Sequence[int], audio_shape: Sequence[int], kind: StartNoise
) -> Pair:
    """The noise that samples begin as: `standard_noise`, with ``unit`` scaled to a root mean square of exactly 1.

    n drawn numbers have one of 1 +- 1 / sqrt(2 n): 1.1% off for 4096 samples of sound. A network that normalises what
    it is given does not see it and takes all of them for noise of the size that its timestep says. A solver without
    noise of its own never finds out either, and leaves the difference over alpha, which is 0.006 at the first step.
    """
    drawn = standard_noise(generators, video_shape, audio_shape)
    if kind == "drawn":
        return drawn
    video, audio = (x / x.square().mean(tuple(range(1, x.ndim)), keepdim=True).sqrt() for x in drawn)
    return video, audio


def standard_noise(generators: list[torch.Generator], video_shape: Sequence[int], audio_shape: Sequence[int]) -> Pair:
    """Standard normal noise of each sample from its own generator; on the CPU, so the same on every device."""
    video = torch.stack([torch.randn(tuple(video_shape), generator=g) for g in generators])
    return video, torch.stack([torch.randn(tuple(audio_shape), generator=g) for g in generators])
