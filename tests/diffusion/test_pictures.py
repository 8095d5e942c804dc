"""Sampling with a network whose output is known in closed form: the pictures are normal, so is what it makes."""

from __future__ import annotations

import pytest
import torch

from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.pictures import PictureSolver, sample_pictures
from avbench.errors import UserError

SCHEDULE = linear_schedule()
MEAN, DEVIATION = 0.2, 0.15


def _best(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The best guess of the noise in pictures whose every value is normal, and 2 v - 1 in the middle."""
    kept = SCHEDULE.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    variance = kept * DEVIATION**2 + 1 - kept
    noise = (1 - kept).sqrt() * (noisy - kept.sqrt() * MEAN) / variance
    return torch.cat([noise, torch.zeros_like(noise)], 1)


def _sample(scheduler: PictureSolver, steps: int, start: torch.Tensor | None = None) -> torch.Tensor:
    if start is None:
        start = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator().manual_seed(number) for number in range(len(start))]
    made = sample_pictures(_best, start, schedule=SCHEDULE, scheduler=scheduler, steps=steps, generators=generators)
    *_, pictures = made
    assert pictures is not None
    return pictures


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
def test_samples_have_the_mean_and_deviation_of_what_was_learned(scheduler: PictureSolver) -> None:
    pictures = _sample(scheduler, 1000)
    assert pictures.mean().item() == pytest.approx(MEAN, abs=0.004)
    assert pictures.std().item() == pytest.approx(DEVIATION, abs=0.004)


def test_few_steps_of_ddim_make_pictures_flatter_and_more_steps_less_so() -> None:
    few, more = (_sample("ddim", steps).std().item() for steps in (25, 250))
    assert 0.09 < few < 0.13 < more < 0.148


def test_ddim25_takes_every_fortieth_timestep_from_zero_on() -> None:
    seen = []

    def denoise(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append(timesteps.tolist())
        return _best(noisy, timesteps)

    start = torch.zeros(2, 3, 4, 4)
    made = list(sample_pictures(denoise, start, schedule=SCHEDULE, scheduler="ddim", steps=25, generators=[]))
    assert seen == [[t, t] for t in range(960, -1, -40)]
    assert [picture is None for picture in made] == [True] * 24 + [False]


def test_a_step_of_ddim_takes_its_noise_from_the_clipped_estimate() -> None:
    """Where the estimate of the picture is far beyond white, two steps end at white and not beyond it."""
    start = torch.full((1, 3, 4, 4), 3.0)
    made = sample_pictures(
        lambda noisy, timesteps: torch.cat([-noisy, noisy], 1),
        start,
        schedule=SCHEDULE,
        scheduler="ddim",
        steps=2,
        generators=[],
    )
    *_, pictures = made
    kept = SCHEDULE.alphas_cumprod
    noise = (start - kept[500].sqrt()) / (1 - kept[500]).sqrt()
    middle = kept[0].sqrt() + (1 - kept[0]).sqrt() * noise
    assert ((middle + (1 - kept[0]).sqrt() * middle) / kept[0].sqrt() > 1).all()
    torch.testing.assert_close(pictures, torch.ones(1, 3, 4, 4))


def test_equal_starts_end_equal() -> None:
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3)).repeat(4, 1, 1, 1)
    pictures = _sample("ddim", 25, start)
    assert torch.equal(pictures, pictures[:1].expand_as(pictures))


def test_more_steps_than_timesteps_are_refused() -> None:
    with pytest.raises(UserError, match="steps = 1001: the noise schedule has 1000 timesteps"):
        _sample("ddim", 1001)
