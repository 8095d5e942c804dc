"""Sampling with a noise level per token: every task reaches the right conditional distribution, given tokens stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avbench.diffusion.noise_levels import Pair, clean_estimate, coefficients, task_mask
from avbench.diffusion.sampling import SolverOptions, sample_generator, standard_noise
from avbench.diffusion.solvers import SchedulerName
from avbench.errors import UserError
from tests.diffusion import token_gaussian as gaussian

TASKS = {
    "joint": task_mask("joint", 3),
    "a2v": task_mask("a2v", 3),
    "v2a": task_mask("v2a", 3),
    "continue": task_mask("continue", 3, [(0, 1)]),
    "inpaint": task_mask("inpaint", 3, [(0, 1), (2, 3)]),
    "any tokens": torch.tensor([[True, False, False], [False, False, True]]),
}
DETERMINISTIC: tuple[SchedulerName, ...] = ("ddim", "dpm-solver++", "unipc")


def _faults(mask: Tensor, mean: Tensor, covariance: Tensor) -> tuple[float, float]:
    """How far a mean is off, in standard deviations, and a covariance, as a share of it."""
    given = gaussian.per_number(mask)
    gain, offset, wanted = gaussian.conditional(given)
    right = offset + gain @ gaussian.unusual_clip()[given]
    off = ((mean - right) / wanted.diag().sqrt()).abs().max()
    return float(off), float((covariance - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scheduler", DETERMINISTIC)
def test_every_task_reaches_the_conditional_mean_and_covariance(scheduler: SchedulerName, task: str) -> None:
    """No draw is counted (see `sampled_distribution`), so that what is left is the solver's.

    A mean is off because sampling begins at N(0, 1) and not at sqrt(abar_T) x = 0.006 x, whatever the steps: by 0.011
    at most. A covariance is off by the steps: at 200 of them 2.1% for the solver of first order (8% at 50, 19% at 20),
    and 0.1% for those of second order.
    """
    mask = TASKS[task]
    mean, covariance = gaussian.sampled_distribution(mask, SolverOptions(scheduler, 200))
    off_mean, off_covariance = _faults(mask, mean, covariance)
    assert off_mean < 0.015
    assert off_covariance < (0.025 if scheduler == "ddim" else 0.002)


@pytest.mark.parametrize("task", ["joint", "continue"])
def test_ddpm_reaches_them_too(task: str) -> None:
    """400 draws: the standard error of a mean is 0.05 standard deviations; exact draws are 7% of a covariance off."""
    mask = TASKS[task]
    clips = gaussian.unusual_clip().expand(400, -1)
    made = gaussian.draw(list(range(400)), SolverOptions("ddpm", 100), gaussian.known(mask, clips)).double()
    rest = made[:, ~gaussian.per_number(mask)]
    off_mean, off_covariance = _faults(mask, rest.mean(0), rest.T.cov())
    assert off_mean < 0.2
    assert off_covariance < 0.15


@pytest.mark.parametrize("task", ["a2v", "v2a", "continue", "inpaint"])
def test_who_takes_given_tokens_for_noisy_ones_misses_them(task: str) -> None:
    """The measure can tell: the best denoiser for one level per clip, which vanilla training learns, fails it."""
    mask = TASKS[task]
    found = gaussian.sampled_distribution(mask, SolverOptions("ddim", 200), gaussian.denoise_one_level)
    assert max(_faults(mask, *found)) > 0.5


def test_more_steps_come_nearer() -> None:
    mask = TASKS["inpaint"]
    few, many = (_faults(mask, *gaussian.sampled_distribution(mask, SolverOptions("ddim", n))) for n in (10, 100))
    assert many[1] < few[1] / 4


@pytest.mark.parametrize("scheduler", [*DETERMINISTIC, "ddpm"])
@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_what_is_given_is_unchanged_to_the_bit_and_clean_in_every_step(
    scheduler: SchedulerName, guidance: float
) -> None:
    mask = TASKS["any tokens"]
    given, clip = gaussian.per_number(mask), gaussian.unusual_clip().float()
    seen = []

    def denoise(video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, _: Pair | None) -> Pair:
        seen.append((gaussian.flat((video, audio))[:2], torch.stack([video_levels, audio_levels], 1)[:2]))
        return gaussian.denoise(video, audio, video_levels, audio_levels, None)

    rows = gaussian.draw([4, 9], SolverOptions(scheduler, 7), gaussian.known(mask, clip.expand(2, -1)),
                         denoiser=denoise, guidance=guidance)  # fmt: skip
    assert torch.equal(rows[:, given], clip[given].expand(2, -1))
    assert len(seen) == 7
    timesteps = SolverOptions(scheduler, 7).solver(gaussian.SCHEDULE).timesteps
    for (latents, levels), timestep in zip(seen, timesteps, strict=True):
        assert torch.equal(latents[:, given], clip[given].expand(2, -1))
        assert (levels == torch.where(mask, 0, timestep + 1)).all()


def _elementwise(
    video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, previous: Pair | None
) -> Pair:
    """Works number by number, so that no batch changes the order of a sum."""
    video_sigma, audio_sigma = (coefficients(gaussian.SCHEDULE, levels)[1] for levels in (video_levels, audio_levels))
    before = previous or (torch.zeros_like(video), torch.zeros_like(audio))
    picture = video * video_sigma[:, :, None, None, None] + 0.1 * torch.tanh(before[0])
    return picture, audio * audio_sigma[:, list(gaussian.AUDIO_SLICES), None] + 0.1 * torch.tanh(before[1])


@pytest.mark.parametrize("scheduler", [*DETERMINISTIC, "ddpm"])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_sample_i_is_the_same_to_the_bit_under_any_batch_and_any_subset(
    scheduler: SchedulerName, guidance: float
) -> None:
    clips = torch.randn(5, gaussian.SIZE, generator=torch.Generator().manual_seed(0))

    def draw(numbers: list[int]) -> Tensor:
        given = gaussian.known(TASKS["continue"], clips[numbers])
        options = SolverOptions(scheduler, 10)
        return gaussian.draw(numbers, options, given, denoiser=_elementwise, guidance=guidance)

    whole = draw([0, 1, 2, 3, 4])
    assert torch.equal(whole[:2], draw([0, 1]))
    assert torch.equal(whole[[4, 2]], draw([4, 2]))
    assert not torch.allclose(whole[0], whole[1])


@pytest.mark.parametrize("drop", ["all", "audio", "slice 0"])
def test_guidance_compares_with_what_is_made_without_the_dropped_part(drop: str) -> None:
    """One step from pure noise, against the equation computed here."""
    mask = torch.tensor([[True, False, False], [True, True, False]])
    parts = {"all": None, "audio": torch.tensor([[False], [True]]), "slice 0": torch.tensor([True, False, False])}
    part = parts[drop]
    chosen = None if part is None else part.expand(2, 3)
    dropped = mask if chosen is None else mask & chosen
    calls = []

    def denoise(video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, _: Pair | None) -> Pair:
        noise = gaussian.denoise(video, audio, video_levels, audio_levels, None)
        calls.append(
            (gaussian.flat((video, audio)), torch.stack([video_levels, audio_levels], 1), gaussian.flat(noise))
        )
        return noise

    clip = gaussian.unusual_clip().float()
    options, given = SolverOptions("ddim", 1), gaussian.known(mask, clip.expand(1, -1))
    row = gaussian.draw([0], options, given, denoiser=denoise, guidance=0.7, drop=chosen)[0]
    ((latents, levels, noise),) = calls
    assert (levels[0] == torch.where(mask, 0, 1000)).all()
    assert (levels[1] == torch.where(mask & ~dropped, 0, 1000)).all()
    gone, kept = gaussian.per_number(dropped), gaussian.per_number(mask & ~dropped)
    assert torch.equal(latents[1][kept], clip[kept])
    assert (latents[1][gone] != clip[gone]).all()
    assert torch.equal(latents[0][~gaussian.per_number(mask)], latents[1][~gaussian.per_number(mask)])
    eps = 1.7 * noise[0] - 0.7 * noise[1]
    alpha, sigma = coefficients(gaussian.SCHEDULE, torch.tensor(1000))
    made = ~gaussian.per_number(mask)
    torch.testing.assert_close(row[made], ((latents[0] - sigma * eps) / alpha)[made], rtol=1e-3, atol=1e-3)


def test_noise_in_place_of_the_dropped_part_is_standard_normal_and_each_samples_own() -> None:
    seen = []

    def denoise(video: Tensor, audio: Tensor, *rest: object) -> Pair:
        seen.append(gaussian.flat((video, audio)))
        return torch.zeros_like(video), torch.zeros_like(audio)

    given = gaussian.known(TASKS["a2v"], torch.zeros(400, gaussian.SIZE))
    gaussian.draw(list(range(400)), SolverOptions("ddim", 2), given, denoiser=denoise, guidance=1.0)
    noise = seen[0][400:, gaussian.HALF :]
    assert abs(float(noise.mean())) < 5 / 2400**0.5
    assert abs(float(noise.var()) - 1) < 5 * (2 / 2400) ** 0.5
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise, seen[1][400:, gaussian.HALF :])
    starts = gaussian.flat(
        standard_noise([sample_generator(gaussian.SEED, n) for n in range(2)], gaussian.VIDEO, gaussian.AUDIO)
    )
    assert not torch.equal(noise[:2], starts[:, gaussian.HALF :])


def test_guidance_moves_samples_towards_what_is_given() -> None:
    """The audio is far above its mean; so is the video that goes with it, and more so the stronger the guidance."""
    clip, mask = gaussian.MEAN + 2.0, TASKS["a2v"]
    made = [
        gaussian.draw(list(range(64)), SolverOptions("ddim", 25), gaussian.known(mask, clip.expand(64, -1)), guidance=s)
        for s in (0.0, 0.5, 1.0)
    ]
    means = [float(rows[:, : gaussian.HALF].mean()) for rows in made]
    assert 1 < means[0] < means[1] < means[2]


def test_each_step_is_told_the_estimate_of_the_step_before() -> None:
    mask, told, estimates = TASKS["continue"], [], []

    def denoise(
        video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, previous: Pair | None
    ) -> Pair:
        noise = gaussian.denoise(video, audio, video_levels, audio_levels, None)
        levels = torch.stack([video_levels, audio_levels], 1)
        places = torch.tensor(gaussian.AUDIO_SLICES)
        told.append(previous)
        estimates.append(clean_estimate(gaussian.SCHEDULE, (video, audio), noise, levels, places))
        return noise

    clip = gaussian.unusual_clip().float()
    given = gaussian.known(mask, clip.expand(2, -1))
    gaussian.draw([0, 1], SolverOptions("dpm-solver++", 5), given, denoiser=denoise, guidance=0.5)
    assert told[0] is None
    for previous, estimate in zip(told[1:], estimates, strict=False):
        assert torch.equal(gaussian.flat(previous), gaussian.flat(estimate))
    given_numbers = gaussian.per_number(mask)
    assert torch.equal(gaussian.flat(told[1])[:2, given_numbers], clip[given_numbers].expand(2, -1))


def test_latents_may_be_of_any_size() -> None:
    """They have no range: nothing is clipped to [-1, 1]."""
    rows = gaussian.draw(list(range(200)), SolverOptions("dpm-solver++", 20))
    assert float(rows.abs().max()) > 2


@pytest.mark.parametrize(
    ("options", "guidance", "mask", "drop", "words"),
    [
        (SolverOptions(video_threshold="clip"), 0.0, "a2v", None, "latents take none"),
        (SolverOptions(audio_threshold="dynamic"), 0.0, "a2v", None, "latents take none"),
        (SolverOptions(), -1.0, "a2v", None, "guidance = -1: it must not be below 0"),
        (SolverOptions(), 1.0, "joint", None, "needs a given part that it drops"),
        (SolverOptions(), 1.0, "a2v", "v2a", "needs a given part that it drops"),
        (SolverOptions(steps=1001), 0.0, "a2v", None, "take at most 1000"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: SolverOptions, guidance: float, mask: str, drop: str | None, words: str
) -> None:
    given = gaussian.known(TASKS[mask], torch.zeros(1, gaussian.SIZE))
    with pytest.raises(UserError, match=words):
        gaussian.draw([0], options, given, guidance=guidance, drop=TASKS[drop] if drop else None)
