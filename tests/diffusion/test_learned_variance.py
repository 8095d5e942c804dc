"""The learned variance against closed forms, and against diffusers' own sampler."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal as Exact, kl_divergence

from avbench.diffusion.learned_variance import (
    BOUND_WEIGHT,
    Normal,
    grey_level_log_likelihood,
    hybrid_loss,
    kl,
    posterior,
    predicted,
)
from avbench.diffusion.noise_schedule import linear_schedule

SCHEDULE = linear_schedule()
TIMESTEPS = torch.tensor([0, 1, 500, 999])


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _noised() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures of grey levels, their noise, and both together."""
    clean = (_draw(4, 3, 5, 5).clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    noise = _draw(4, 3, 5, 5, seed=1)
    return clean, noise, SCHEDULE.add_noise(clean, noise, TIMESTEPS)


def test_the_divergence_of_normal_distributions_is_the_closed_form() -> None:
    first = Normal(_draw(50, seed=1), _draw(50, seed=2))
    second = Normal(_draw(50, seed=3), _draw(50, seed=4))
    exact = kl_divergence(*(Exact(d.mean, (d.log_variance / 2).exp()) for d in (first, second)))
    torch.testing.assert_close(kl(first, second), exact)
    torch.testing.assert_close(kl(first, first), torch.zeros(50), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.5), (0.3, 0.004), (-1.0, 0.1), (2.0, 0.3), (0.999, 3.0)])
def test_the_probabilities_of_all_grey_levels_add_up_to_one(mean: float, deviation: float) -> None:
    levels = torch.linspace(-1, 1, 256)
    spread = torch.full((256,), 2 * math.log(deviation))
    total = grey_level_log_likelihood(levels, Normal(torch.full((256,), mean), spread)).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-5)


def test_a_grey_level_has_the_probability_of_its_interval() -> None:
    levels = torch.tensor([101 / 127.5 - 1])
    found = grey_level_log_likelihood(levels, Normal(torch.tensor([0.1]), torch.tensor([math.log(0.04)])))
    exact = Exact(torch.tensor(0.1, dtype=torch.float64), 0.2)
    inside = exact.cdf(levels.double() + 1 / 255) - exact.cdf(levels.double() - 1 / 255)
    assert found.item() == pytest.approx(inside.log().item(), rel=1e-4)


def test_the_posterior_is_bayes_rule() -> None:
    """q(x_{t-1} | x_t, x_0) is q(x_t | x_{t-1}) q(x_{t-1} | x_0) normalised: precisions and weighted means add."""
    t = 500
    beta, kept = SCHEDULE.betas.double(), SCHEDULE.alphas_cumprod.double()
    clean, noisy = torch.tensor([0.3], dtype=torch.float64), torch.tensor([-0.8], dtype=torch.float64)
    ahead = (1 - beta[t]) / beta[t]
    back = 1 / (1 - kept[t - 1])
    mean = (noisy * (1 - beta[t]).sqrt() / beta[t] + kept[t - 1].sqrt() * clean * back) / (ahead + back)
    found = posterior(SCHEDULE, clean, noisy, torch.tensor([t]))
    torch.testing.assert_close(found.mean, mean, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.log_variance, -(ahead + back).log().reshape(1), rtol=1e-4, atol=0)


def test_the_variance_lies_between_beta_and_that_of_the_posterior() -> None:
    clean, noise, noisy = _noised()
    low = posterior(SCHEDULE, clean, noisy, TIMESTEPS).log_variance
    high = SCHEDULE.betas[TIMESTEPS].log().view(4, 1, 1, 1).expand_as(low)
    for fraction, wanted in ((-1.0, low), (1.0, high), (0.0, (low + high) / 2)):
        output = torch.cat([noise, torch.full_like(noise, fraction)], 1)
        guess = predicted(SCHEDULE, output, noisy, TIMESTEPS)
        torch.testing.assert_close(guess.log_variance, wanted, rtol=1e-4, atol=1e-5)


def test_a_network_that_knows_the_noise_and_takes_the_posterior_variance_has_no_divergence() -> None:
    clean, noise, noisy = _noised()
    loss = hybrid_loss(SCHEDULE, torch.cat([noise, -torch.ones_like(noise)], 1), noise, clean, noisy, TIMESTEPS)
    assert not loss.simple.any()
    torch.testing.assert_close(loss.bound[1:], torch.zeros(3), atol=1e-2, rtol=0)
    wrong = hybrid_loss(SCHEDULE, torch.cat([noise, noise * 0], 1), noise, clean, noisy, TIMESTEPS)
    assert (wrong.bound[1] > loss.bound[1] + 1).all()


def test_at_the_last_step_the_bound_is_the_likelihood_of_the_grey_levels() -> None:
    clean, noise, noisy = _noised()
    output = torch.cat([noise, torch.zeros_like(noise)], 1)
    loss = hybrid_loss(SCHEDULE, output, noise, clean, noisy, TIMESTEPS)
    guess = predicted(SCHEDULE, output, noisy, TIMESTEPS)
    bits = -grey_level_log_likelihood(clean, guess)[0].mean() / math.log(2)
    assert loss.bound[0].item() == pytest.approx(1000 * bits.item(), rel=1e-5)
    torch.testing.assert_close(loss.each, loss.simple + 0.001 * loss.bound)
    assert BOUND_WEIGHT == 0.001


def test_the_bound_moves_the_variance_and_never_the_noise() -> None:
    clean, noise, noisy = _noised()
    output = _draw(4, 6, 5, 5, seed=2).mul(0.1).requires_grad_()
    hybrid_loss(SCHEDULE, output, noise, clean, noisy, TIMESTEPS).bound.sum().backward()
    assert not output.grad[:, :3].any()  # type: ignore[index]
    assert output.grad[1:, 3:].abs().min() > 0  # type: ignore[index]


def test_a_step_of_diffusers_sampler_has_the_same_mean_and_variance() -> None:
    """It clips the estimate of the picture, so that one is chosen inside [-1, 1] here."""
    clean, noise, noisy = _noised()
    clean, noise, noisy = clean[2:3], noise[2:3], noisy[2:3]
    output = torch.cat([noise, _draw(1, 3, 5, 5, seed=3).clamp(-1, 1)], 1)
    sampler = DDPMScheduler(trained_betas=SCHEDULE.betas.numpy(), variance_type="learned_range", clip_sample=True)
    sampler.set_timesteps(1000)
    stepped = sampler.step(output, 500, noisy, generator=torch.Generator().manual_seed(5)).prev_sample
    drawn = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(5))
    guess = predicted(SCHEDULE, output, noisy, torch.tensor([500]))
    torch.testing.assert_close(stepped, guess.mean + (0.5 * guess.log_variance).exp() * drawn, atol=2e-5, rtol=1e-4)
