"""Latents whose tokens are jointly normal, so that every conditional distribution and the best denoiser are known.

Three slices, each with one video token of two channels and two audio tokens of one channel: 12 numbers, which go
together in time and across the modalities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.diffusion.noise_levels import Pair, TokenDenoiser, coefficients
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import SolverOptions, sample_generator, standard_noise
from avbench.diffusion.token_sampling import KnownTokens, sample_latents

SCHEDULE = linear_schedule()
VIDEO, AUDIO = (3, 2, 1, 1), (6, 1)
AUDIO_SLICES = (0, 0, 1, 1, 2, 2)
HALF, SIZE = 6, 12
SEED = 3

_TIME = torch.arange(3).repeat_interleave(2).repeat(2)
_KIND = torch.arange(2).repeat_interleave(HALF)
_BETWEEN_TIMES = 0.8 ** (_TIME[:, None] - _TIME).abs().double()
_BETWEEN_KINDS = torch.where(_KIND[:, None] == _KIND, 1.0, 0.85).double()
MEAN = torch.linspace(-0.3, 0.3, SIZE).double()
COVARIANCE = 0.9 * _BETWEEN_TIMES * _BETWEEN_KINDS + 0.1 * torch.eye(SIZE).double()


def flat(pair: Pair) -> Tensor:
    """A pair as rows of numbers, (B, 12)."""
    return torch.cat([pair[0].flatten(1), pair[1].flatten(1)], 1)


def pair(rows: Tensor) -> Pair:
    """Rows of numbers as a pair."""
    return rows[:, :HALF].reshape(-1, *VIDEO), rows[:, HALF:].reshape(-1, *AUDIO)


def per_number(slices: Tensor) -> Tensor:
    """Values (..., 2, 3) per modality and slice as values (..., 12) per number."""
    return torch.cat([slices[..., 0, :].repeat_interleave(2, -1), slices[..., 1, :].repeat_interleave(2, -1)], -1)


def denoise(video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, _: Pair | None) -> Pair:
    """The best denoiser: z = A x + S eps with diagonal A and S has E[eps | z] = S (A C A + S S)^-1 (z - A m)."""
    levels = torch.stack([video_levels, audio_levels], 1)
    patterns, place = torch.unique(levels, dim=0, return_inverse=True)
    alpha, sigma = (per_number(x).double() for x in coefficients(SCHEDULE, patterns))
    spread = alpha[:, :, None] * COVARIANCE * alpha[:, None, :] + torch.diag_embed(sigma.square())
    gain = sigma[:, :, None] * torch.linalg.inv(spread)
    away = flat((video, audio)).double() - alpha[place] * MEAN
    return pair((gain[place] @ away.unsqueeze(-1)).squeeze(-1).float())


def denoise_one_level(video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, _: Pair | None) -> Pair:
    """The best of those that know one level per clip: all tokens are taken for as noisy as the noisiest."""
    highest = torch.maximum(video_levels, audio_levels).amax(1, keepdim=True).expand_as(video_levels)
    return denoise(video, audio, highest, highest, None)


def clips(count: int, generator: torch.Generator) -> Tensor:
    """Draws of the Gaussian, float64 (count, 12)."""
    noise = torch.randn(count, SIZE, generator=generator).double()
    return MEAN + noise @ torch.linalg.cholesky(COVARIANCE).T


def unusual_clip() -> Tensor:
    """A clip far from the mean, (12,), whose parts go together."""
    return MEAN + 1.5 * (clips(1, torch.Generator().manual_seed(1))[0] - MEAN)


def known(mask: Tensor, rows: Tensor) -> KnownTokens:
    """``rows`` (B, 12) given at bool (2, 3) ``mask``, and numbers that must not matter elsewhere."""
    video, audio = pair(torch.where(per_number(mask), rows.float(), torch.full((), 77.0)))
    return KnownTokens(video, audio, mask)


def conditional(given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rest where bool (12,) ``given`` is known: x_rest is normal with mean offset + gain x_given, and a covariance.

    Returns:
        gain (R, G), offset (R,), covariance (R, R).
    """
    rest = ~given
    if not given.any():
        return torch.zeros(SIZE, 0).double(), MEAN, COVARIANCE
    gain = torch.linalg.solve(COVARIANCE[given][:, given], COVARIANCE[given][:, rest]).T
    left = COVARIANCE[rest][:, rest] - gain @ COVARIANCE[given][:, rest]
    return gain, MEAN[rest] - gain @ MEAN[given], left


def draw(
    numbers: list[int],
    options: SolverOptions,
    given: KnownTokens | None = None,
    *,
    denoiser: TokenDenoiser = denoise,
    guidance: float = 0.0,
    drop: Tensor | None = None,
) -> Tensor:
    """Samples ``numbers`` as rows, (B, 12)."""
    steps = sample_latents(
        denoiser,
        numbers,
        video_shape=VIDEO,
        audio_shape=AUDIO,
        audio_slices=AUDIO_SLICES,
        schedule=SCHEDULE,
        options=options,
        seed=SEED,
        device=torch.device("cpu"),
        known=given,
        guidance=guidance,
        drop=drop,
    )
    *before, last = steps
    assert before == [None] * (options.steps - 1)
    assert last is not None
    return flat(last)


def sampled_distribution(
    mask: Tensor, options: SolverOptions, denoiser: TokenDenoiser = denoise
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what is made where `unusual_clip` is given at ``mask``, exactly, without counting draws.

    A linear denoiser and a solver that draws no noise make each sample an affine function b + G e of its start noise e,
    which is known. More samples than numbers determine b and G; then the samples are normal with mean b and covariance
    G G^T. What is left of a difference is the solver's.
    """
    numbers = list(range(24))
    rows = draw(numbers, options, known(mask, unusual_clip().expand(24, -1)), denoiser=denoiser).double()
    noise = flat(standard_noise([sample_generator(SEED, n) for n in numbers], VIDEO, AUDIO)).double()
    rest = ~per_number(mask)
    ones = torch.cat([torch.ones(24, 1), noise[:, rest]], 1).double()
    found = torch.linalg.lstsq(ones, rows[:, rest]).solution
    assert (ones @ found - rows[:, rest]).abs().max() < 1e-3
    return found[0], found[1:].T @ found[1:]
