"""Sampling of pictures from a network that gives noise and variance, through diffusers' schedulers.

``ddim`` takes every (T / steps)-th timestep from 0 on, and the noise of its step from the clipped estimate; with 25
steps it is "ddim25" of the published code. ``ddpm`` draws from the learned variance
(`avbench.diffusion.learned_variance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from avbench.diffusion.learned_variance import split
from avbench.diffusion.noise_schedule import Schedule
from avbench.errors import UserError

PictureSolver = Literal["ddim", "ddpm"]

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(noisy pictures (N, C, H, W), timesteps (N,)) -> noise and variance (N, 2 C, H, W)."""


def sample_pictures(
    denoise: Denoiser,
    start: Tensor,
    *,
    schedule: Schedule,
    scheduler: PictureSolver,
    steps: int,
    generators: Sequence[torch.Generator],
) -> Iterator[Tensor | None]:
    """Sample pictures from given start noise.

    Args:
        denoise: The network.
        start: Standard normal noise (N, C, H, W), where it is to be computed.
        schedule: Training schedule.
        scheduler: Which solver.
        steps: Solver steps.
        generators: CPU generators, one per picture: noise of the steps of ``ddpm``; ``ddim`` draws none.

    Yields:
        None after every step but the last, then the pictures, float32 (N, C, H, W) on the CPU, clamped to [-1, 1].

    Raises:
        UserError: More steps than the schedule has timesteps.
    """
    total = len(schedule.betas)
    if steps > total:
        raise UserError(f"steps = {steps}: the noise schedule has {total} timesteps; take at most {total}")
    solver = _solver(schedule, scheduler, steps)
    pictures = start
    for number, timestep in enumerate(solver.timesteps):
        with torch.no_grad():
            output = denoise(pictures, timestep.repeat(len(start)).to(start.device)).float()
        if scheduler == "ddim":
            noise, _ = split(output)
            pictures = solver.step(noise, timestep, pictures, use_clipped_model_output=True, return_dict=False)[0]
        else:
            pictures = solver.step(output, timestep, pictures, generator=list(generators), return_dict=False)[0]
        if number + 1 < len(solver.timesteps):
            yield None
    yield pictures.float().clamp(-1, 1).cpu()


def _solver(schedule: Schedule, scheduler: PictureSolver, steps: int) -> Any:
    betas = {"trained_betas": schedule.betas.numpy(), "num_train_timesteps": len(schedule.betas), "clip_sample": True}
    solver: Any
    if scheduler == "ddim":
        solver = DDIMScheduler(**betas, timestep_spacing="leading")
    else:
        solver = DDPMScheduler(**betas, variance_type="learned_range", timestep_spacing="leading")
    solver.set_timesteps(steps)
    return solver
