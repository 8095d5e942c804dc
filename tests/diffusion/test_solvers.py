"""Solvers: the timesteps they take, the distribution they reach, what thresholds do, equality with diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import SolverOptions
from avbench.diffusion.solvers import (
    SchedulerName,
    Solver,
    Spacing,
    Threshold,
    default_thresholds,
    threshold,
    timesteps,
)
from avbench.errors import UserError
from tests.diffusion import gaussian

SOLVERS: tuple[SchedulerName, ...] = ("ddpm", "ddim", "dpm-solver++", "unipc")


@pytest.mark.parametrize("spacing", ["linspace", "trailing", "quadratic"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 333, 600, 999, 1000])
def test_any_number_of_steps_begins_in_pure_noise_and_repeats_none(steps: int, spacing: Spacing) -> None:
    found = timesteps(steps, spacing, 1000)
    assert len(found) == steps
    assert found[0] == 999
    assert found == sorted(set(found), reverse=True)
    assert found[-1] >= 0


def test_quadratic_steps_grow_with_the_noise() -> None:
    assert timesteps(5, "quadratic", 1001) == [1000, 640, 360, 160, 40]
    assert timesteps(20, "quadratic", 1000)[-4:] == [40, 22, 10, 2]


def test_unipc_knows_no_quadratic_steps() -> None:
    with pytest.raises(UserError, match="spacing = 'quadratic': unipc knows none"):
        Solver("unipc", gaussian.SCHEDULE, 20, spacing="quadratic")


@pytest.mark.parametrize("spacing", ["linspace", "trailing", "quadratic"])
@pytest.mark.parametrize("steps", [1, 2, 7, 333, 600, 1000])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_keeps_to_these_timesteps_and_their_noise_levels(
    name: SchedulerName, steps: int, spacing: Spacing
) -> None:
    if (name, spacing) == ("unipc", "quadratic"):
        return
    solver = Solver(name, gaussian.SCHEDULE, steps, spacing=spacing)
    assert solver._scheduler.timesteps.tolist() == solver.timesteps == timesteps(steps, spacing, 1000)
    for number in {0, steps // 2, steps - 1}:
        alpha, sigma = solver.level(number)
        kept = gaussian.ALPHA_BAR[solver.timesteps[number]]
        assert float(alpha) == pytest.approx(float(kept.sqrt()), rel=1e-4)
        assert float(sigma) == pytest.approx(float((1 - kept).sqrt()), rel=1e-4)


def test_more_steps_than_timesteps_are_refused() -> None:
    with pytest.raises(UserError, match="steps = 101: the noise schedule has 100 timesteps; take at most 100"):
        Solver("ddim", linear_schedule(100), 101)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_known_distribution_is_reached_as_steps_grow(name: SchedulerName) -> None:
    def faults(steps: int) -> tuple[float, float]:
        options = SolverOptions(name, steps, video_threshold="none", audio_threshold="none")
        rows = gaussian.draw(256, options).double()
        mean = (rows.mean() - gaussian.MEAN[0]).abs() / 0.3
        covariance = (rows.T.cov() - gaussian.COVARIANCE).norm() / gaussian.COVARIANCE.norm()
        return float(mean), float(covariance)

    few, many = faults(5), faults(300)
    # 256 draws: the covariance of exact ones is off by 0.1 to 0.2
    assert many[0] < 0.06
    assert many[1] < 0.25
    assert few[1] > many[1]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_the_fewest_and_the_most_steps_give_numbers(name: SchedulerName, steps: int) -> None:
    rows = gaussian.draw(2, SolverOptions(name, steps))
    assert torch.isfinite(rows).all()


def test_ddim_is_that_of_diffusers_where_that_one_keeps_its_timesteps() -> None:
    ours = Solver("ddim", gaussian.SCHEDULE, 20, spacing="trailing")
    theirs = DDIMScheduler(
        trained_betas=gaussian.SCHEDULE.betas.numpy(), prediction_type="sample", clip_sample=False,
        timestep_spacing="trailing",
    )  # fmt: skip
    theirs.set_timesteps(20)
    x = y = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    for number, timestep in enumerate(theirs.timesteps):
        x = ours.step(number, torch.tanh(x), x, [])
        y = theirs.step(torch.tanh(y), timestep, y, return_dict=False)[0]
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


def test_large_variance_is_beta_and_small_is_that_of_the_posterior() -> None:
    spreads = {}
    for variance in ("large", "small"):
        solver = Solver("ddpm", gaussian.SCHEDULE, 50, variance=variance)
        for number in range(49):  # down to the step at which both differ most
            noise = [torch.Generator().manual_seed(number)]
            made = solver.step(number, torch.zeros(1, 4000), torch.zeros(1, 4000), noise)
        spreads[variance] = float(made.std())
    last, before = (gaussian.ALPHA_BAR[t] for t in (solver.timesteps[49], solver.timesteps[48]))
    beta = 1 - before / last
    assert spreads["large"] == pytest.approx(float(beta.sqrt()), rel=0.05)
    assert spreads["small"] == pytest.approx(float((beta * (1 - last) / (1 - before)).sqrt()), rel=0.05)


def test_thresholds_clip_divide_or_leave() -> None:
    rows = torch.linspace(-3, 3, 2001).repeat(2, 1)
    rows[1] /= 10
    assert torch.equal(threshold(rows, "none"), rows)
    assert torch.equal(threshold(rows, "clip"), rows.clamp(-1, 1))
    dynamic = threshold(rows, "dynamic")
    limit = torch.quantile(rows[0].abs(), 0.995)
    torch.testing.assert_close(dynamic[0], rows[0].clamp(-limit, limit) / limit)
    assert torch.equal(dynamic[1], rows[1])


def test_ddpm_clips_both_modalities_as_published_and_fast_solvers_the_picture_alone() -> None:
    assert default_thresholds("ddpm") == ("clip", "clip")
    assert default_thresholds("dpm-solver++") == ("clip", "none")
    assert SolverOptions("ddpm", audio_threshold="dynamic").thresholds == ("clip", "dynamic")


def test_each_modality_takes_its_own_threshold() -> None:
    def wild(video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, ...]:
        return 1.2 * video, 1.2 * audio  # each on its own, and out of range in the first steps

    def made(video: Threshold, audio: Threshold) -> tuple[torch.Tensor, ...]:
        rows = gaussian.draw(2, SolverOptions("ddim", 6, "linspace", video, audio), denoiser=wild)
        return gaussian.pair(rows)

    none, video, audio = made("none", "none"), made("dynamic", "none"), made("none", "clip")
    assert not torch.equal(none[0], video[0])
    assert torch.equal(none[1], video[1])
    assert torch.equal(none[0], audio[0])
    assert not torch.equal(none[1], audio[1])
