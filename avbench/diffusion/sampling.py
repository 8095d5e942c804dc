"""Joint sampling through diffusers' schedulers: one scheduler per modality on the same timesteps.

Sample ``i`` starts from a generator of its own, so it is the same under any batch size. What is shared by a whole
forward pass (the random shifts of MM-Diffusion's attention) is drawn per sampling step from the run's seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from avbench.diffusion.noise_schedule import Schedule

SchedulerName = Literal["dpm-solver++", "ddpm", "ddim", "unipc"]

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
"""(video, audio, timesteps (B,), generator) -> predicted noises of both."""


def make_scheduler(name: SchedulerName, schedule: Schedule, *, thresholding: bool) -> Any:
    """A sampler on the betas of ``schedule``.

    Args:
        name: ``dpm-solver++`` is the second-order multistep solver (arXiv 2211.01095).
        schedule: The training schedule.
        thresholding: Dynamic thresholding of the predicted x0 at its 99.5% quantile (arXiv 2205.11487, section 2.3).
    """
    betas = {"trained_betas": schedule.betas.numpy(), "num_train_timesteps": len(schedule.betas)}
    if name == "ddpm":
        return DDPMScheduler(**betas, clip_sample=True)
    if name == "ddim":
        return DDIMScheduler(**betas, clip_sample=True)
    quantile = {"thresholding": thresholding, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
    if name == "unipc":
        return UniPCMultistepScheduler(**betas, **quantile)
    return DPMSolverMultistepScheduler(**betas, **quantile, algorithm_type="dpmsolver++", solver_order=2)


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
    scheduler: SchedulerName,
    steps: int,
    seed: int,
    device: torch.device,
) -> Iterator[tuple[torch.Tensor, torch.Tensor] | None]:
    """Sample one batch of joint clips.

    Args:
        denoise: The network.
        numbers: Sample numbers in this batch.
        video_shape: (T, C, H, W) of one sample.
        audio_shape: (C, L) of one sample.
        schedule: Training schedule.
        scheduler: Which solver.
        steps: Solver steps.
        seed: Seed of the run.
        device: Where to compute.

    Yields:
        None after every step but the last (so that the caller can draw progress), then video (B, T, C, H, W) and
        audio (B, C, L), both float32 on the CPU and clamped to [-1, 1].
    """
    generators = [sample_generator(seed, number) for number in numbers]
    video = torch.stack([torch.randn(video_shape, generator=g) for g in generators]).to(device)
    audio = torch.stack([torch.randn(audio_shape, generator=g) for g in generators]).to(device)
    # thresholding is for pixels, which fill [-1, 1]; sound is mostly far below full scale
    video_solver = make_scheduler(scheduler, schedule, thresholding=True)
    audio_solver = make_scheduler(scheduler, schedule, thresholding=False)
    video_solver.set_timesteps(steps)
    audio_solver.set_timesteps(steps)
    for number, timestep in enumerate(video_solver.timesteps):
        shifts = sample_generator(seed + 1, number)
        batch_timesteps = timestep.repeat(len(numbers)).to(device)
        with torch.no_grad():
            video_noise, audio_noise = denoise(video, audio, batch_timesteps, shifts)
        video = _step(video_solver, video_noise, timestep, video, generators)
        audio = _step(audio_solver, audio_noise, timestep, audio, generators)
        if number + 1 < len(video_solver.timesteps):
            yield None
    yield video.float().clamp(-1, 1).cpu(), audio.float().clamp(-1, 1).cpu()


def _step(
    solver: Any,
    noise: torch.Tensor,
    timestep: torch.Tensor,
    sample: torch.Tensor,
    generators: list[torch.Generator],
) -> torch.Tensor:
    """One solver step; an ancestral sampler takes each sample's noise from its own generator."""
    extra = {"generator": generators} if isinstance(solver, DDPMScheduler) else {}
    stepped: torch.Tensor = solver.step(noise, timestep, sample, return_dict=False, **extra)[0]
    return stepped
