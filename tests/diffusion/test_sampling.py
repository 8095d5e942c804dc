"""Samplers recover a known distribution, and sample i does not depend on its batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import (
    SolverOptions,
    StartNoise,
    sample_generator,
    sample_pairs,
    standard_noise,
    start_noise,
)
from avbench.diffusion.solvers import SchedulerName

MEAN, STD = 0.3, 0.2
SCHEDULE = linear_schedule()
ALPHA_BAR = torch.cumprod(1 - SCHEDULE.betas, 0)


def optimal(video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, _: torch.Generator) -> tuple[torch.Tensor, ...]:
    """The best denoiser of pixels and samples that are independent N(MEAN, STD^2).

    x_t = sqrt(a) x0 + sqrt(1 - a) e has the variance v = a STD^2 + 1 - a, so that
    E[e | x_t] = sqrt(1 - a) (x_t - sqrt(a) MEAN) / v.
    """
    a = ALPHA_BAR[t[0]]
    variance = a * STD**2 + 1 - a
    return tuple((1 - a).sqrt() * (x - a.sqrt() * MEAN) / variance for x in (video, audio))


def draw(
    numbers: list[int], scheduler: SchedulerName, steps: int, denoise=optimal, seed: int = 5, is_bounded: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    results = list(
        sample_pairs(
            denoise, numbers, video_shape=(2, 3, 8, 8), audio_shape=(1, 512), schedule=SCHEDULE,
            options=SolverOptions(scheduler, steps, video_threshold=None if is_bounded else "none"), seed=seed,
            device=torch.device("cpu"), is_bounded=is_bounded,
        )
    )  # fmt: skip
    assert results[:-1] == [None] * (steps - 1)
    assert results[-1] is not None
    return results[-1]


@pytest.mark.parametrize("scheduler", ["dpm-solver++", "ddim", "unipc", "ddpm"])
def test_the_known_distribution_comes_out(scheduler: SchedulerName) -> None:
    video, audio = draw(list(range(24)), scheduler, 200 if scheduler == "ddpm" else 50)
    for x in (video, audio):
        # 24 x 384 and 24 x 512 independent numbers: standard error of the mean below 0.0022; solvers add a few percent
        assert x.mean() == pytest.approx(MEAN, abs=0.02)
        assert x.std() == pytest.approx(STD, rel=0.15)


def shifty(video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, ...]:
    """A denoiser that also draws from the generator of the step, as random-shift attention does."""
    scale = 1 + 0.1 * torch.rand((), generator=g)
    return tuple(scale * x for x in optimal(video, audio, t, g))


@pytest.mark.parametrize("scheduler", ["dpm-solver++", "ddpm", "ddim", "unipc"])
def test_sample_i_is_the_same_to_the_bit_under_any_batch_and_any_subset(scheduler: SchedulerName) -> None:
    # this denoiser works number by number; networks sum in an order that may depend on the batch
    whole = draw([0, 1, 2, 3, 4], scheduler, 10, shifty)
    parts = [draw([0, 1], scheduler, 10, shifty), draw([4, 2], scheduler, 10, shifty)]
    for modality in (0, 1):
        assert torch.equal(whole[modality][:2], parts[0][modality])
        assert torch.equal(whole[modality][[4, 2]], parts[1][modality])


def test_seeds_and_samples_differ() -> None:
    video, _ = draw([0, 1], "dpm-solver++", 5)
    other, _ = draw([0, 1], "dpm-solver++", 5, seed=6)
    assert not torch.allclose(video[0], video[1])
    assert not torch.allclose(video, other)


def test_samples_stay_in_range() -> None:
    video, audio = draw([0], "dpm-solver++", 10, lambda v, a, t, g: (-3 * v, -3 * a))
    assert video.abs().max() <= 1
    assert audio.abs().max() <= 1


def test_what_has_no_bounds_is_not_clamped() -> None:
    far = 30.0

    def knows(
        video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, _: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        a = ALPHA_BAR[t[0]]
        return tuple((x - a.sqrt() * far) / (1 - a).sqrt() for x in (video, audio))

    for part in draw([0], "dpm-solver++", 10, knows, is_bounded=False):
        torch.testing.assert_close(part, torch.full_like(part, far), rtol=1e-3, atol=0)


def normalising(video: torch.Tensor, audio: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
    """The best denoiser of clips that are zero throughout, but for the size of its input, which it cannot see."""
    return tuple(x / x.square().mean(tuple(range(1, x.ndim)), keepdim=True).sqrt() for x in (video, audio))


@pytest.mark.parametrize("steps", [5, 40])
def test_noise_of_another_size_than_its_timestep_says_is_what_a_solver_leaves(steps: int) -> None:
    # With x = r n for n of size 1 the estimate is (r - sigma) / alpha n, and a step of DDIM keeps (r - sigma) / alpha:
    # in the end, where alpha is 1 and sigma 0, this is the size of what is left. (r < sigma: until r is 0.)
    options = SolverOptions("ddim", steps, video_threshold="none", audio_threshold="none")
    alpha, sigma = ALPHA_BAR[-1].sqrt(), (1 - ALPHA_BAR[-1]).sqrt()

    def left(kind: StartNoise) -> torch.Tensor:
        *_, made = sample_pairs(
            normalising, [0, 1, 2], video_shape=(2, 3, 8, 8), audio_shape=(1, 512), schedule=SCHEDULE,
            options=replace(options, start_noise=kind), seed=5, device=torch.device("cpu"), is_bounded=False,
        )  # fmt: skip
        assert made is not None
        return torch.stack([x.flatten(1).square().mean(1).sqrt() for x in made])

    drawn = standard_noise([sample_generator(5, number) for number in range(3)], (2, 3, 8, 8), (1, 512))
    sizes = torch.stack([x.flatten(1).square().mean(1).sqrt() for x in drawn])
    loud = sizes > sigma
    assert 0 < loud.sum() < sizes.numel()
    torch.testing.assert_close(left("drawn")[loud], ((sizes - sigma) / alpha)[loud], rtol=1e-2, atol=1e-3)
    assert left("drawn").mean() > 1
    assert (left("unit") < 0.01).all()  # alpha / 2 = 0.003, and rounding over alpha


def test_start_noise_of_unit_size_is_the_drawn_one_scaled() -> None:
    shapes = (2, 3, 8, 8), (1, 512)
    plain, unit = (
        start_noise([sample_generator(5, number) for number in (0, 7)], *shapes, kind) for kind in ("drawn", "unit")
    )
    for before, after in zip(plain, unit, strict=True):
        for one, scaled in zip(before, after, strict=True):
            assert scaled.square().mean() == pytest.approx(1, abs=1e-6)
            torch.testing.assert_close(scaled / one, torch.full_like(one, float(scaled.norm() / one.norm())))
