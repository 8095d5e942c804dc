"""Mixture of noise levels: each modality and time slice of a clip is noised to a level of its own (arXiv 2405.13762).

A clip x has M = 2 modalities (video, audio) and N time slices. Its noise levels t are whole numbers in {1..T}^(M x N),

    z^(m,n) = sqrt(abar_{t(m,n)}) x^(m,n) + sqrt(1 - abar_{t(m,n)}) eps^(m,n),

and every independent level is uniform on {1..T}. A *strategy* says which levels are one draw:

    vanilla   t           one for the clip                  ordinary joint diffusion
    pm        t_m         one per modality                  learns to make one modality from the other
    pt        t_n         one per slice                     learns to continue and to fill in
    ptm       t_{m,n}     all independent                   any part from any other

Each training sample takes one strategy at random; the paper's mixture takes the four equally often. Minimised is the
squared error of eps, a mean over all tokens.

Level t >= 1 is timestep t - 1 of the noise schedule. Level 0 is a clean token: no training strategy draws it, but
sampling with a part given uses it, and so does training for one task (``known`` of `draw_levels`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from avbench.diffusion.noise_schedule import PairLoss, Schedule
from avbench.errors import UserError

Strategy = Literal["vanilla", "pm", "pt", "ptm"]
LatentTask = Literal["joint", "v2a", "a2v", "continue", "inpaint"]
Pair = tuple[Tensor, Tensor]
"""Video latents (B, N, C, h, w) and audio latents (B, M, C)."""

TokenDenoiser = Callable[[Tensor, Tensor, Tensor, Tensor, Pair | None], Pair]
"""(video, audio, video levels (B, N), audio levels (B, N), previous clean estimate) -> predicted noises of both."""

_DRAWN: Mapping[str, tuple[bool, bool]] = {
    "vanilla": (False, False),
    "pm": (True, False),
    "pt": (False, True),
    "ptm": (True, True),
}
"""Whether levels differ between modalities, and between slices."""

UNIFORM: Mapping[str, float] = dict.fromkeys(_DRAWN, 1.0)
"""The paper's mixture of noise levels."""


def draw_levels(
    weights: Mapping[str, float],
    batch: int,
    slices: int,
    steps: int,
    generators: torch.Generator | Sequence[torch.Generator],
    *,
    known: Tensor | None = None,
) -> Tensor:
    """Draw a strategy and then the noise levels of each sample.

    Args:
        weights: Strategy to its weight; they need not add up to 1. `UNIFORM` is the paper's.
        batch: Samples.
        slices: Time slices N.
        steps: Levels T of the noise schedule.
        generators: CPU generator, or one per sample, so that a sample's draw does not depend on the batch it is in.
        known: bool (2, N): tokens that are always clean, for training on one task alone (`task_mask`).

    Returns:
        int64 (B, 2, N), video then audio: 1 ... T, and 0 where ``known``.

    Raises:
        UserError: An unknown strategy, a negative weight, or none above zero.
    """
    names = _checked(weights)
    each = [generators] * batch if isinstance(generators, torch.Generator) else generators
    chances = torch.tensor([weights[name] for name in names], dtype=torch.float64).cumsum(0)
    drawn = []
    for generator in each:
        place = torch.rand((), dtype=torch.float64, generator=generator) * chances[-1]
        by_modality, by_slice = _DRAWN[names[int(torch.searchsorted(chances, place, right=True))]]
        levels = torch.randint(1, steps + 1, (2, slices), generator=generator)
        part = levels[: 2 if by_modality else 1, : slices if by_slice else 1]
        drawn.append(part.expand(2, slices))
    levels = torch.stack(drawn)
    return levels if known is None else levels.masked_fill(known, 0)


def _checked(weights: Mapping[str, float]) -> list[str]:
    """Names with a weight above zero."""
    for name, weight in weights.items():
        if name not in _DRAWN:
            raise UserError(f"noise levels: there is no strategy {name!r}; there are {', '.join(_DRAWN)}")
        if not weight >= 0:
            raise UserError(f"noise levels: the weight of {name} is {weight:g}; it must not be below 0")
    names = [name for name, weight in weights.items() if weight > 0]
    if not names:
        raise UserError(f"noise levels: no strategy has a weight above 0; give one of {', '.join(_DRAWN)} a weight")
    return names


def task_mask(task: LatentTask, slices: int, keep: Sequence[tuple[int, int]] = ()) -> Tensor:
    """What a task gives.

    Args:
        task: ``joint`` gives nothing, ``v2a`` the video, ``a2v`` the audio, ``continue`` and ``inpaint`` both
            modalities of the slices in ``keep``.
        slices: Time slices N.
        keep: Slices that are given, [start, end). The paper's AV-continue keeps slices 0 and 1 (5 frames), its 2 s
            variant slice 0, AV-inpaint slice 0 and the last one.

    Returns:
        bool (2, N), video then audio: True where it is given.

    Raises:
        UserError: A range is empty or outside of the clip, or nothing is left to make.
    """
    mask = torch.zeros(2, slices, dtype=torch.bool)
    if task in ("v2a", "a2v"):
        mask[0 if task == "v2a" else 1] = True
    for start, end in keep:
        if not 0 <= start < end <= slices:
            raise UserError(f"slices {start} to {end} are given; a clip of this model has slices 0 to {slices}")
        mask[:, start:end] = True
    if mask.all():
        raise UserError(f"all {slices} slices are given: nothing is left to make; keep fewer of them")
    return mask


def coefficients(schedule: Schedule, levels: Tensor) -> Pair:
    """sqrt(abar) and sqrt(1 - abar) of noise levels, float32, in the shape of ``levels``; 1 and 0 for level 0."""
    kept = torch.cat([torch.ones(1), schedule.alphas_cumprod]).to(levels.device)[levels]
    return kept.sqrt(), (1 - kept).sqrt()


def per_token(video: Tensor, audio: Tensor, audio_slices: Tensor) -> Pair:
    """Values per slice, (B, N) each, in the shape that multiplies latents: (B, N, 1, 1, 1) and (B, M, 1)."""
    return video[:, :, None, None, None], audio[:, audio_slices].unsqueeze(-1)


class NoisyTokens(NamedTuple):
    """Noised latents and the noise in them.

    Attributes:
        video: (B, N, C, h, w).
        audio: (B, M, C).
        video_noise: Same shape as ``video``.
        audio_noise: Same shape as ``audio``.
        levels: int64 (B, 2, N).
        audio_slices: int64 (M,), the slice of each audio token.
    """

    video: Tensor
    audio: Tensor
    video_noise: Tensor
    audio_noise: Tensor
    levels: Tensor
    audio_slices: Tensor


def noise_tokens(
    schedule: Schedule,
    video: Tensor,
    audio: Tensor,
    levels: Tensor,
    audio_slices: Sequence[int] | Tensor,
    generators: torch.Generator | Sequence[torch.Generator],
) -> NoisyTokens:
    """Noise latents to the levels of their tokens.

    Args:
        schedule: Noise schedule.
        video: Normalised latents (B, N, C, h, w).
        audio: Normalised latents (B, M, C).
        levels: From `draw_levels`, (B, 2, N).
        audio_slices: Slice of each audio token, (M,): `avbench.models.avdit.AVDiTConfig.audio_slices`.
        generators: CPU generator, or one per sample. The draw is the same on every device.
    """
    device = video.device
    levels, places = levels.to(device), torch.as_tensor(audio_slices, device=device)
    if isinstance(generators, torch.Generator):
        noises = [torch.randn(tuple(x.shape), generator=generators) for x in (video, audio)]
    else:
        each = [[torch.randn(tuple(x.shape[1:]), generator=g) for x in (video, audio)] for g in generators]
        noises = [torch.stack(drawn) for drawn in zip(*each, strict=True)]
    video_noise, audio_noise = noises[0].to(video), noises[1].to(audio)
    alpha, sigma = coefficients(schedule, levels)
    video_alpha, audio_alpha = per_token(alpha[:, 0], alpha[:, 1], places)
    video_sigma, audio_sigma = per_token(sigma[:, 0], sigma[:, 1], places)
    return NoisyTokens(
        video_alpha * video + video_sigma * video_noise,
        audio_alpha * audio + audio_sigma * audio_noise,
        video_noise,
        audio_noise,
        levels,
        places,
    )


def clean_estimate(schedule: Schedule, noisy: Pair, predicted: Pair, levels: Tensor, audio_slices: Tensor) -> Pair:
    """The clean latents that predicted noise implies, (z - sigma eps) / alpha; a token at level 0 is itself.

    Args:
        schedule: Noise schedule.
        noisy: Latents at ``levels``.
        predicted: Their predicted noise.
        levels: (B, 2, N).
        audio_slices: (M,).
    """
    alpha, sigma = coefficients(schedule, levels)
    alphas = per_token(alpha[:, 0], alpha[:, 1], audio_slices)
    sigmas = per_token(sigma[:, 0], sigma[:, 1], audio_slices)
    video, audio = ((z - s * eps.float()) / a for z, eps, a, s in zip(noisy, predicted, alphas, sigmas, strict=True))
    return video, audio


def predicted_noise(denoise: TokenDenoiser, schedule: Schedule, noisy: NoisyTokens, *, twice: bool) -> Pair:
    """The network's noise, for `token_loss`.

    Args:
        denoise: The network.
        schedule: Noise schedule.
        noisy: Its input.
        twice: Self-conditioning (arXiv 2208.04202): a first pass without gradient gives the estimate that the second
            one is told. The paper does so with probability 0.9.
    """
    inputs = noisy.video, noisy.audio, noisy.levels[:, 0], noisy.levels[:, 1]
    previous = None
    if twice:
        with torch.no_grad():
            first = denoise(*inputs, None)
            previous = clean_estimate(schedule, inputs[:2], first, noisy.levels, noisy.audio_slices)
    return denoise(*inputs, previous)


def token_loss(predicted: Pair, target: NoisyTokens, steps: int) -> PairLoss:
    """Squared error of the noise, a mean over the tokens of both modalities, in float32.

    The error of a token is the mean over its channels; then all tokens count the same, so that the modality with more
    tokens weighs more. A token at level 0 holds no noise that could be told and is left out; the paper's strategies
    draw none. A modality that is clean as a whole counts 0.

    Args:
        predicted: Noise of the video and of the audio.
        target: What was noised.
        steps: Levels T of the noise schedule, for the level that the log shows.

    Returns:
        ``video`` and ``audio`` are means over each modality's own tokens, ``objective`` is the mean over all; ``level``
        is the mean level of a sample's slices.
    """
    video = (predicted[0].float() - target.video_noise.float()).square().mean(2).flatten(2).mean(2)
    audio = (predicted[1].float() - target.audio_noise.float()).square().mean(2)
    noisy_slices = target.levels > 0
    pixels = target.video.shape[3] * target.video.shape[4]
    noisy_video, noisy_audio = noisy_slices[:, 0].float(), noisy_slices[:, 1][:, target.audio_slices].float()
    video_sum, video_count = (video * noisy_video).sum(1) * pixels, noisy_video.sum(1) * pixels
    audio_sum, audio_count = (audio * noisy_audio).sum(1), noisy_audio.sum(1)
    return PairLoss(
        video_sum / video_count.clamp(min=1),
        audio_sum / audio_count.clamp(min=1),
        (target.levels - 1).clamp(min=0).float().mean((1, 2)) / steps,
        (video_sum + audio_sum) / (video_count + audio_count).clamp(min=1),
    )
