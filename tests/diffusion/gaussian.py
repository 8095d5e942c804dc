"""A clip whose picture and sound are jointly normal, so that every conditional mean and the best denoiser are known."""

from __future__ import annotations

import torch

from avbench.diffusion.conditioning import Conditioning, Known
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import Denoiser, SolverOptions, sample_pairs

SCHEDULE = linear_schedule()
ALPHA_BAR = torch.cumprod(1 - SCHEDULE.betas.double(), 0)
VIDEO, AUDIO = (4, 1, 2, 2), (1, 16)
"""Four frames of four pixels, each with four samples of sound."""
HALF = 16

_TIME = torch.arange(4).repeat_interleave(4).repeat(2)
_KIND = torch.arange(2).repeat_interleave(HALF)
_BETWEEN_TIMES = 0.7 ** (_TIME[:, None] - _TIME).abs().double()
_BETWEEN_KINDS = torch.where(_KIND[:, None] == _KIND, 1.0, 0.8).double()
MEAN = torch.full((2 * HALF,), 0.1).double()
COVARIANCE = 0.3**2 * (0.9 * _BETWEEN_TIMES * _BETWEEN_KINDS + 0.1 * torch.eye(2 * HALF))


def flat(video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
    """A pair as rows of numbers, (B, 32)."""
    return torch.cat([video.flatten(1), audio.flatten(1)], 1)


def pair(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of numbers as a pair."""
    return rows[:, :HALF].reshape(-1, *VIDEO), rows[:, HALF:].reshape(-1, *AUDIO)


def denoise(video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, _: torch.Generator) -> tuple[torch.Tensor, ...]:
    """The best denoiser: E[x | z] = m + alpha C (alpha^2 C + sigma^2 I)^-1 (z - alpha m), as predicted noise."""
    kept = ALPHA_BAR[t[0]]
    gain = kept.sqrt() * COVARIANCE @ torch.linalg.inv(kept * COVARIANCE + (1 - kept) * torch.eye(2 * HALF))
    z = flat(video, audio)
    clean = MEAN.float() + (z - kept.sqrt().float() * MEAN.float()) @ gain.float().T
    return pair((z - kept.sqrt().float() * clean) / (1 - kept).sqrt().float())


def unusual_clip() -> torch.Tensor:
    """A clip far from the mean, (32,), whose parts go together."""
    draw = (
        torch.linalg.cholesky(COVARIANCE) @ torch.randn(2 * HALF, generator=torch.Generator().manual_seed(1)).double()
    )
    return MEAN + 1.5 * draw


def conditional(given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviations of the rest, where `unusual_clip` is given at bool (32,) ``given``."""
    x, rest = unusual_clip(), ~given
    gain = torch.linalg.solve(COVARIANCE[given][:, given], COVARIANCE[given][:, rest]).T
    left = COVARIANCE[rest][:, rest] - gain @ COVARIANCE[given][:, rest]
    return MEAN[rest] + gain @ (x - MEAN)[given], left.diag().sqrt()


def known(given: torch.Tensor, count: int) -> Known:
    """`unusual_clip` given at ``given`` to each of ``count`` samples."""
    video, audio = pair(unusual_clip().float().expand(count, -1))
    return Known(video, audio, given[:HALF].view(VIDEO)[:, :1, :1, :1], given[HALF:])


def draw(
    count: int,
    options: SolverOptions,
    conditioning: Conditioning | None = None,
    *,
    first: int = 0,
    denoiser: Denoiser | None = None,
) -> torch.Tensor:
    """Samples ``first ... first + count - 1`` as rows, (count, 32)."""
    numbers = range(first, first + count)
    steps = sample_pairs(
        denoiser or denoise,
        numbers,
        video_shape=VIDEO,
        audio_shape=AUDIO,
        schedule=SCHEDULE,
        options=options,
        seed=3,
        device=torch.device("cpu"),
        conditioning=conditioning,
    )
    last = list(steps)[-1]
    assert last is not None
    return flat(*last)
