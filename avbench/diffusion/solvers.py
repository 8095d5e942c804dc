"""The solvers of diffusers, brought to one form: they take an estimate of the clean clip, on the same timesteps.

Timesteps are whole numbers, so that the noise level a network is told is exactly the one of its input. (The published
DPM-Solver of MM-Diffusion takes real times t in (1/T, 1] and tells the network the whole part of (t - 1/T) T: up to one
training step of error; step k of T stands for the same noise level, that of t = (k + 1) / T, in both.)
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from avbench.diffusion.noise_schedule import Schedule
from avbench.errors import UserError

SchedulerName = Literal["dpm-solver++", "ddpm", "ddim", "unipc"]
Spacing = Literal["linspace", "trailing", "leading", "quadratic"]
Threshold = Literal["none", "clip", "dynamic"]
Variance = Literal["large", "small"]

DYNAMIC_QUANTILE = 0.995


def timesteps(steps: int, spacing: Spacing, total: int) -> list[int]:
    """The timesteps of a sampler, from the noisiest on; after the last one the clip is clean.

    Args:
        steps: How many.
        spacing: ``linspace`` is even from ``total - 1`` to 0, where 0 is the end and no step of its own; ``trailing``
            ends every step one whole interval earlier (arXiv 2305.08891, table 2). With as many steps as there are
            timesteps both take each once. ``leading`` begins every step at its lower end: 960, 920 ... 0 for 25 of
            1000; super-resolution takes it (`avbench.diffusion.pictures`). ``quadratic`` is step k of K at
            (total - 1) (k / K)^2: short steps where little noise is left (arXiv 2010.02502, appendix D.2).
        total: Timesteps of the training schedule.

    Raises:
        UserError: More steps than timesteps.
    """
    if steps > total:
        raise UserError(f"steps = {steps}: the noise schedule has {total} timesteps; take at most {total}")
    if spacing == "linspace" and steps < total:
        found: np.ndarray = np.linspace(0, total - 1, steps + 1).round()[::-1][:-1]
    elif spacing == "leading":
        found = np.arange(steps, dtype=float)[::-1] * (total // steps)
    elif spacing == "quadratic":
        found = ((total - 1) * (np.arange(1, steps + 1) / steps) ** 2).round()
        places = np.arange(steps)
        found = (np.maximum.accumulate(found - places) + places)[::-1]  # the shortest steps are of one timestep
    else:
        found = np.arange(total, 0, -total / steps).round() - 1
    return [int(t) for t in found[:steps]]


def default_thresholds(name: SchedulerName) -> tuple[Threshold, Threshold]:
    """Thresholds of video and audio where the recipe names none.

    DDPM and DDIM clip both, as MM-Diffusion does. The fast solvers leave the sound alone: it is mostly far below full
    scale, and their large first steps should not be bent.
    """
    return "clip", "clip" if name in ("ddpm", "ddim") else "none"


def threshold(clean: torch.Tensor, kind: Threshold) -> torch.Tensor:
    """Bring an estimate of the clip into range.

    Args:
        clean: Estimate, first axis the sample.
        kind: ``clip`` to [-1, 1]; ``dynamic`` clips to the 99.5% quantile s of each sample's absolute values and
            divides by it where s is above 1 (arXiv 2205.11487, section 2.3); ``none`` changes nothing.
    """
    if kind == "none":
        return clean
    if kind == "clip":
        return clean.clamp(-1, 1)
    flat = clean.flatten(1)
    limit = torch.quantile(flat.abs(), DYNAMIC_QUANTILE, dim=1, keepdim=True).clamp(min=1)
    return (torch.clamp(flat, -limit, limit) / limit).view_as(clean)


class Solver:
    """One modality on its way from noise to the clip.

    ``ddim`` is the first-order case of DPM-Solver++ (arXiv 2211.01095, section 4.1), which unlike diffusers' own DDIM
    keeps to the timesteps it is given where ``steps`` does not divide their number. The noise in its step is taken
    from the thresholded estimate, as MM-Diffusion does.

    Args:
        name: ``dpm-solver++`` is the second-order multistep solver.
        schedule: The training schedule.
        steps: Solver steps.
        spacing: See `timesteps`.
        variance: Of ``ddpm``: ``large`` is beta_t, which MM-Diffusion takes, ``small`` the posterior's.
    """

    def __init__(
        self,
        name: SchedulerName,
        schedule: Schedule,
        steps: int,
        *,
        spacing: Spacing = "linspace",
        variance: Variance = "large",
    ) -> None:
        total = len(schedule.betas)
        self.timesteps = timesteps(steps, spacing, total)
        betas = {
            "trained_betas": schedule.betas.numpy(),
            "num_train_timesteps": total,
            "prediction_type": "sample",
        }
        self._scheduler: Any
        self._kept = schedule.alphas_cumprod
        if name == "ddpm":
            self._scheduler = DDPMScheduler(**betas, clip_sample=False, variance_type=f"fixed_{variance}")
            self._scheduler.set_timesteps(timesteps=self.timesteps)
            return
        if spacing == "leading":
            raise UserError(f"spacing = 'leading' is for super-resolution; sample {name} with linspace or trailing")
        betas["timestep_spacing"] = spacing if spacing != "quadratic" and steps < total else "trailing"
        if name == "unipc":
            if spacing == "quadratic":
                raise UserError("spacing = 'quadratic': unipc knows none; take linspace or trailing, or another solver")
            self._scheduler = UniPCMultistepScheduler(**betas)
        else:
            order = 1 if name == "ddim" else 2
            self._scheduler = DPMSolverMultistepScheduler(**betas, algorithm_type="dpmsolver++", solver_order=order)
        if spacing == "quadratic":
            self._scheduler.set_timesteps(timesteps=self.timesteps)
        else:
            self._scheduler.set_timesteps(steps)

    def level(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma of step ``number``: the sample there is alpha x + sigma n."""
        if isinstance(self._scheduler, DDPMScheduler):
            kept = self._kept[self.timesteps[number]]
            return kept**0.5, (1 - kept) ** 0.5
        ratio = self._scheduler.sigmas[number]
        alpha = 1 / (ratio**2 + 1) ** 0.5
        return alpha, ratio * alpha

    def step(
        self, number: int, clean: torch.Tensor, noisy: torch.Tensor, generators: list[torch.Generator]
    ) -> torch.Tensor:
        """Go on to the next noise level.

        Args:
            number: Which step; they must be taken in order.
            clean: The estimate of the clip at this step.
            noisy: The sample at this step.
            generators: One per sample: noise of ``ddpm``, the only one that draws any.
        """
        extra = {"generator": generators} if isinstance(self._scheduler, DDPMScheduler) else {}
        timestep = self._scheduler.timesteps[number]
        stepped: torch.Tensor = self._scheduler.step(clean, timestep, noisy, return_dict=False, **extra)[0]
        return stepped
