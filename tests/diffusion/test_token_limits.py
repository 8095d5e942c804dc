"""Limits of the clean estimate: a network that is a little off at the noisiest steps does not end far outside."""

from __future__ import annotations

import pytest
import torch

from avbench.diffusion.noise_levels import Pair
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import SolverOptions
from avbench.diffusion.token_sampling import sample_latents
from avbench.errors import UserError

LIMITS = (2.0, 3.0)


def nothing(video: torch.Tensor, audio: torch.Tensor, *_: object) -> Pair:
    """Takes no noise off: its estimate z / alpha is 160 times too large at the noisiest step."""
    return torch.zeros_like(video), torch.zeros_like(audio)


def largest(limits: tuple[float, float] | None, threshold: str) -> tuple[float, float]:
    options = SolverOptions("ddim", 5, video_threshold=threshold, audio_threshold=threshold)  # type: ignore[arg-type]
    *_, made = sample_latents(
        nothing, [0, 1], video_shape=(3, 2, 2, 2), audio_shape=(6, 2), audio_slices=(0, 0, 1, 1, 2, 2),
        schedule=linear_schedule(), options=options, seed=0, device=torch.device("cpu"), limits=limits,
    )  # fmt: skip
    assert made is not None
    return float(made[0].abs().max()), float(made[1].abs().max())


def test_a_threshold_keeps_the_latents_within_the_limits() -> None:
    video, audio = largest(LIMITS, "clip")
    assert (video, audio) == pytest.approx(LIMITS, rel=1e-4)


def test_without_a_threshold_nothing_is_kept() -> None:
    assert min(largest(LIMITS, "none")) > 10


def test_a_threshold_without_limits_is_refused() -> None:
    with pytest.raises(UserError, match="latents take none"):
        largest(None, "clip")
