"""Sampling latents whose tokens may each have a noise level of their own: every task is a pattern of levels.

A network that was trained with mixed noise levels (`avbench.diffusion.noise_levels`, arXiv 2405.13762) is told the
level of each modality and time slice. So a task needs no replacement and no gradient (compare
`avbench.diffusion.conditioning`): given tokens stay clean, at level 0, in every step, and the others are at the level
of the sampler.

    joint      nothing is clean
    v2a, a2v   one modality is clean
    continue   the first slices of both are
    inpaint    any slices of both are

**Classifier-free guidance without a second training** compares with what the network makes when it is not told:

    eps = (1 + s) eps(given clean, t = 0) - s eps(given replaced by N(0, I), t = T).

Replaced may be all that is given, or a part: by modality or by time.

**Self-conditioning**: each step is told the estimate of the step before (arXiv 2208.04202), as in training. The two
terms of guidance each go on from their own.

Sample ``i`` depends on ``(seed, i)`` alone, as in `avbench.diffusion.sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from avbench.diffusion.noise_levels import Pair, TokenDenoiser, clean_estimate
from avbench.diffusion.noise_schedule import Schedule
from avbench.diffusion.sampling import SolverOptions, sample_generator, standard_noise, start_noise
from avbench.diffusion.solvers import threshold
from avbench.errors import UserError


class KnownTokens(NamedTuple):
    """What is given of a batch.

    Attributes:
        video: Normalised latents (B, N, C, h, w); any value where nothing is given.
        audio: (B, M, C); likewise.
        mask: bool (2, N), video then audio: slices that are given (`avbench.diffusion.noise_levels.task_mask`).
    """

    video: Tensor
    audio: Tensor
    mask: Tensor


def sample_latents(
    denoise: TokenDenoiser,
    numbers: Sequence[int],
    *,
    video_shape: tuple[int, ...],
    audio_shape: tuple[int, ...],
    audio_slices: Sequence[int],
    schedule: Schedule,
    options: SolverOptions,
    seed: int,
    device: torch.device,
    known: KnownTokens | None = None,
    guidance: float = 0.0,
    drop: Tensor | None = None,
    limits: tuple[float, float] | None = None,
) -> Iterator[Pair | None]:
    """Sample one batch of latents.

    Args:
        denoise: The network.
        numbers: Sample numbers in this batch.
        video_shape: (N, C, h, w) of one sample.
        audio_shape: (M, C) of one sample.
        audio_slices: Slice of each audio token.
        schedule: Training schedule.
        options: The solver. Without ``limits`` its thresholds must be left open or ``none``.
        seed: Seed of the run.
        device: Where to compute.
        known: What is given of each sample, in the batch's order.
        guidance: s of the module's equation; 0 computes its first term only.
        drop: bool (2, N): what of the given the second term is not told; None is all of it.
        limits: Largest absolute value of video and of audio latents, to which the solver's thresholds keep an estimate;
            None keeps it to nothing.

    Yields:
        None after every step but the last (so that the caller can draw progress), then video (B, N, C, h, w) and audio
        (B, M, C), float32 on the CPU. What was given is unchanged to the bit.

    Raises:
        UserError: More steps than the schedule has, a threshold, a negative guidance, or guidance that drops nothing.
    """
    if limits is None and {options.video_threshold, options.audio_threshold} - {None, "none"}:
        raise UserError("video_threshold and audio_threshold are of pictures and sound in [-1, 1]; latents take none")
    generators = [sample_generator(seed, number) for number in numbers]
    noisy = _moved(start_noise(generators, video_shape, audio_shape, options.start_noise), device)
    places = torch.tensor(audio_slices, device=device)
    nothing = torch.zeros(2, video_shape[0], dtype=torch.bool)
    mask = (nothing if known is None else known.mask).to(device)
    given = noisy if known is None else _moved((known.video, known.audio), device)
    dropped = mask if drop is None else mask & drop.to(device)
    if guidance < 0 or (guidance > 0 and not dropped.any()):
        raise UserError(f"guidance = {guidance:g}: it must not be below 0, and needs a given part that it drops")
    instead = _moved(standard_noise(generators, video_shape, audio_shape), device) if guidance > 0 else noisy
    solvers = [options.solver(schedule) for _ in range(2)]
    previous = None
    for number, timestep in enumerate(solvers[0].timesteps):
        with torch.no_grad():
            noisy = _chosen(mask, places, given, noisy)
            levels = torch.full(mask.shape, timestep + 1, device=device).masked_fill(mask, 0)
            terms = [(noisy, levels)]
            if guidance > 0:
                uninformed = levels.masked_fill(dropped, len(schedule.betas))
                terms.append((_chosen(dropped, places, instead, noisy), uninformed))
            (noise, *untold), previous = _predicted(denoise, schedule, terms, places, previous)
            for video, audio in untold:
                noise = (1 + guidance) * noise[0] - guidance * video, (1 + guidance) * noise[1] - guidance * audio
            clean = clean_estimate(schedule, noisy, noise, levels.expand(len(numbers), -1, -1), places)
            if limits is not None:
                video, audio = (
                    threshold(part / limit, kind) * limit
                    for part, limit, kind in zip(clean, limits, options.thresholds, strict=True)
                )
                clean = video, audio
            clean = _chosen(mask, places, given, clean)
            video, audio = (
                solver.step(number, estimate, latents, generators)
                for solver, estimate, latents in zip(solvers, clean, noisy, strict=True)
            )
            noisy = video, audio
        if number + 1 < len(solvers[0].timesteps):
            yield None
    video, audio = noisy if known is None else _chosen(mask, places, given, noisy)
    yield video.float().cpu(), audio.float().cpu()


def _predicted(
    denoise: TokenDenoiser,
    schedule: Schedule,
    terms: Sequence[tuple[Pair, Tensor]],
    places: Tensor,
    previous: Pair | None,
) -> tuple[list[Pair], Pair]:
    """The noise in each term, all of them in one batch, and the clean estimates for the next step.

    Args:
        denoise: The network.
        schedule: Training schedule.
        terms: Latents and their levels (2, N).
        places: Slice of each audio token.
        previous: The estimates that this returned in the step before.
    """
    count = len(terms[0][0][0])
    video = torch.cat([latents[0] for latents, _ in terms])
    audio = torch.cat([latents[1] for latents, _ in terms])
    levels = torch.cat([each.expand(count, -1, -1) for _, each in terms])
    noise = denoise(video, audio, levels[:, 0], levels[:, 1], previous)
    estimate = clean_estimate(schedule, (video, audio), noise, levels, places)
    return list(zip(noise[0].split(count), noise[1].split(count), strict=True)), estimate


def _chosen(mask: Tensor, places: Tensor, inside: Pair, outside: Pair) -> Pair:
    """``inside`` where bool (2, N) ``mask`` is set, else ``outside``."""
    frames, sounds = mask[0].view(-1, 1, 1, 1), mask[1][places].unsqueeze(-1)
    return torch.where(frames, inside[0], outside[0]), torch.where(sounds, inside[1], outside[1])


def _moved(pair: Pair, device: torch.device) -> Pair:
    return pair[0].to(device), pair[1].to(device)
