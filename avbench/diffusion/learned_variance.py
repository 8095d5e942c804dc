"""Diffusion whose network also gives the variance of each step (Nichol & Dhariwal, arXiv 2102.09672, section 3).

The network gives a noise eps and a number v per value; the step from t to t - 1 is the normal distribution with the
mean that eps implies and the variance (equation 15)

    Sigma = exp(v log beta_t + (1 - v) log beta~_t),    beta~_t = beta_t (1 - abar_{t-1}) / (1 - abar_t).

Published networks give 2 v - 1 in place of v ("learned range"), and so do those here. Trained is (equation 16)

    L = L_simple + lambda L_vlb,    lambda = 0.001,

where L_simple = |eps - eps_hat|^2 and L_vlb is the variational bound, whose gradient reaches v alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from avbench.diffusion.noise_schedule import Schedule

BOUND_WEIGHT = 0.001
"""lambda of equation 16."""

_LEVELS = 255
"""Steps between the darkest and the brightest grey level; both ends of [-1, 1] are levels."""

_LEAST = 1e-12
"""Smallest probability of a grey level: a network that is far off is not punished without bound."""


class Normal(NamedTuple):
    """Independent normal distributions: mean and logarithm of the variance, of one shape."""

    mean: Tensor
    log_variance: Tensor


class HybridLoss(NamedTuple):
    """Losses per sample, float32 (N,).

    Attributes:
        simple: Mean squared error of the noise.
        bound: Estimate of L_vlb from one timestep, bits per value.
        level: Noise level of each sample, as a share of all timesteps in [0, 1).
    """

    simple: Tensor
    bound: Tensor
    level: Tensor

    @property
    def each(self) -> Tensor:
        """L of each sample."""
        return self.simple + BOUND_WEIGHT * self.bound


def split(output: Tensor) -> tuple[Tensor, Tensor]:
    """Noise and 2 v - 1 of a network's output (N, 2 C, ...) -> two of (N, C, ...)."""
    noise, fraction = output.chunk(2, 1)
    return noise, fraction


def posterior(schedule: Schedule, clean: Tensor, noisy: Tensor, timesteps: Tensor) -> Normal:
    """q(x_{t-1} | x_t, x_0), the step back when the clean picture is known (arXiv 2006.11239, equations 6 and 7).

    At t = 0 its variance is zero; the logarithm of that of t = 1 stands in its place, as in the published code.

    Args:
        schedule: Noise schedule.
        clean: x_0 (N, C, ...).
        noisy: x_t, same shape.
        timesteps: (N,), whole numbers from 0.
    """
    beta, kept, before = _rates(schedule)
    from_clean = beta * before.sqrt() / (1 - kept)
    from_noisy = (1 - before) * (1 - beta).sqrt() / (1 - kept)
    mean = _at(from_clean, timesteps, clean) * clean + _at(from_noisy, timesteps, clean) * noisy
    return Normal(mean, _at(_posterior_log_variance(schedule), timesteps, clean).expand_as(clean))


def predicted(schedule: Schedule, output: Tensor, noisy: Tensor, timesteps: Tensor) -> Normal:
    """p(x_{t-1} | x_t), the step back as the network sees it (equation 15).

    Args:
        schedule: Noise schedule.
        output: Of the network, (N, 2 C, ...).
        noisy: x_t (N, C, ...).
        timesteps: (N,), whole numbers from 0.
    """
    noise, fraction = split(output)
    beta, kept, _ = _rates(schedule)
    clean = (noisy - _at((1 - kept).sqrt(), timesteps, noisy) * noise) / _at(kept.sqrt(), timesteps, noisy)
    low, high = _at(_posterior_log_variance(schedule), timesteps, noisy), _at(beta.log(), timesteps, noisy)
    weight = (fraction + 1) / 2
    return Normal(posterior(schedule, clean, noisy, timesteps).mean, weight * high + (1 - weight) * low)


def kl(first: Normal, second: Normal) -> Tensor:
    """Kullback-Leibler divergence KL(first || second) of each value, nats."""
    ratio = first.log_variance - second.log_variance
    squared = (first.mean - second.mean).square() * torch.exp(-second.log_variance)
    return 0.5 * (torch.exp(ratio) + squared - 1 - ratio)


def grey_level_log_likelihood(levels: Tensor, distribution: Normal) -> Tensor:
    """Log probability of grey levels under a normal distribution that is cut into 256 of them, nats.

    A level takes what lies within half a step of it, the darkest and the brightest also what lies beyond (arXiv
    2006.11239, equation 13). So the probabilities of all 256 levels add up to one.

    Args:
        levels: In [-1, 1], whole multiples of 2/255 from -1.
        distribution: Same shape.
    """
    away = levels - distribution.mean
    scale = torch.exp(-0.5 * distribution.log_variance)
    half = 1 / _LEVELS
    low = torch.where(levels < half - 1, -math.inf, (away - half) * scale)
    high = torch.where(levels > 1 - half, math.inf, (away + half) * scale)
    # of two ways to take the difference, the one in the lower tail, where small numbers are exact
    mirrored = away > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    return (torch.special.ndtr(high) - torch.special.ndtr(low)).clamp(min=_LEAST).log()


def hybrid_loss(
    schedule: Schedule, output: Tensor, noise: Tensor, clean: Tensor, noisy: Tensor, timesteps: Tensor
) -> HybridLoss:
    """L_simple and L_vlb of a batch, in float32.

    Args:
        schedule: Noise schedule.
        output: Of the network, (N, 2 C, ...).
        noise: The noise that was added, (N, C, ...).
        clean: The picture in [-1, 1], a grey level each.
        noisy: The picture at time t.
        timesteps: (N,), whole numbers from 0.
    """
    output = output.float()
    eps, fraction = split(output)
    simple = (eps - noise).square().flatten(1).mean(1)
    guess = predicted(schedule, torch.cat([eps.detach(), fraction], 1), noisy, timesteps)
    divergence = kl(posterior(schedule, clean, noisy, timesteps), guess)
    is_last = (timesteps == 0).view(-1, *[1] * (clean.dim() - 1))
    term = torch.where(is_last, -grey_level_log_likelihood(clean, guess), divergence).flatten(1).mean(1)
    total = len(schedule.betas)
    return HybridLoss(simple, term * total / math.log(2), timesteps / total)


def _rates(schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """beta_t, abar_t and abar_{t-1} of every timestep, float64: abar of a fine schedule is close to 1."""
    beta = schedule.betas.double()
    kept = (1 - beta).cumprod(0)
    return beta, kept, torch.cat([kept.new_ones(1), kept[:-1]])


def _posterior_log_variance(schedule: Schedule) -> Tensor:
    beta, kept, before = _rates(schedule)
    variance = beta * (1 - before) / (1 - kept)
    return torch.cat([variance[1:2], variance[1:]]).log()


def _at(values: Tensor, timesteps: Tensor, like: Tensor) -> Tensor:
    """The value of each sample's timestep, shaped to multiply ``like`` (N, ...)."""
    found = values.to(like.device)[timesteps].to(like.dtype)
    return found.view(-1, *[1] * (like.dim() - 1))
