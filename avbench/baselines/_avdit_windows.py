"""Windows of AVDiT's clips: what is given becomes clean tokens, the rest is sampled, and latents become a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.baselines._avdit_chain import Plan, Window, chained
from avbench.baselines._avdit_given import Given, bound, given_part, hidden_audio, hidden_video, runs
from avbench.baselines._base import grey_levels
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.noise_levels import TokenDenoiser
from avbench.diffusion.noise_schedule import Schedule
from avbench.diffusion.sampling import SolverOptions
from avbench.diffusion.token_sampling import KnownTokens, sample_latents
from avbench.errors import UserError
from avbench.models.avdit import AVDiTConfig
from avbench.recipe_baseline import ConditionRecipe
from avbench.training.latent_space import CodecPair, LatentStatistics, decode_pair

Clips = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""uint8 (B, T, H, W, 3) and float32 (B, C, L)."""

_EASE_S = 0.01
"""Where the decoded sound does not meet the given one, the step fades within this time."""


@dataclass(frozen=True)
class Maker:
    """Makes clips with one network.

    Attributes:
        denoise: The network.
        config: Its sizes.
        pair: The codecs, and the window.
        statistics: How latents were normalised in training.
        schedule: Noise schedule of the training.
        options: The solver.
        limits: Largest latents, to which its thresholds keep an estimate; None where it has none.
        device: Where to compute.
        advance: Called after every step of the solver.
    """

    denoise: TokenDenoiser
    config: AVDiTConfig
    pair: CodecPair
    statistics: LatentStatistics
    schedule: Schedule
    options: SolverOptions
    limits: tuple[float, float] | None
    device: torch.device
    advance: Callable[[], None]

    def clips(
        self,
        numbers: Sequence[int],
        seed: int,
        condition: ConditionRecipe | None = None,
        given: Sequence[GivenClip] = (),
        plan: Plan | None = None,
    ) -> Clips:
        """A batch of clips.

        Args:
            numbers: Which samples.
            seed: Seed of the run.
            condition: What part of ``given`` is given; None makes all.
            given: One clip per sample, or none.
            plan: How clips of several windows are put together; None makes clips of one.

        Raises:
            UserError: A time of the condition is not on the grid of the latent frames.
        """

        def make(number: int, before: Window | None) -> Window:
            if plan is not None and before is not None:
                return self._next(plan, before, [_number(seed, sample, number) for sample in numbers])
            return self._first(numbers, seed, condition, given)

        if plan is None:
            window = make(0, None)
            video, audio = grey_levels(window.video), window.audio.numpy().astype(np.float32)
        else:
            video, audio = chained(plan, self.config.fps, make)
        if condition is not None:
            part = self.part(condition)
            for place, clip in enumerate(given):
                put_in_place(video[place], audio[place], clip, part, self.pair.window.sample_rate_hz)
        return video, audio

    def part(self, condition: ConditionRecipe) -> Given:
        """What a condition gives of a window."""
        return given_part(condition.task, condition.keep, self.config, self.pair.window.samples)

    def _first(
        self, numbers: Sequence[int], seed: int, condition: ConditionRecipe | None, given: Sequence[GivenClip]
    ) -> Window:
        """One window, with a part of each clip given where there is a condition."""
        if condition is None:
            return self._window(numbers, seed)
        part = self.part(condition)
        video, audio = (torch.zeros(len(given), *shape) for shape in self.pair.shape)
        if part.frames.any():
            pictures = torch.from_numpy(np.stack([clip.video for clip in given if clip.video is not None]))
            video = self.pair.encode_video(hidden_video(pictures.permute(0, 1, 4, 2, 3), part.frames))
        if part.samples.any():
            sounds = torch.from_numpy(np.stack([clip.audio for clip in given if clip.audio is not None]))
            audio = self.pair.encode_audio(hidden_audio(sounds, part.samples))
        known = KnownTokens(*self.statistics.normalise(video, audio), part.slices)
        if not condition.guidance:
            return self._window(numbers, seed, known)
        drop = dropped(condition, part.slices, self.config)
        return self._window(numbers, seed, known, guidance=condition.guidance, drop=drop)

    def _next(self, plan: Plan, before: Window, numbers: Sequence[int]) -> Window:
        """The window behind ``before``, whose end it is given."""
        config, rate = self.config, self.pair.window.sample_rate_hz
        mask = torch.zeros(2, config.slices, dtype=torch.bool)
        mask[:, : plan.slices] = True
        is_there = np.arange(config.frames) < plan.overlap
        tail = torch.zeros(len(numbers), config.frames, *before.video.shape[2:])
        tail[:, : plan.overlap] = before.video[:, -plan.overlap :]
        video = self.pair.encode_video(hidden_video((tail + 1) * 127.5, is_there))
        shared = before.audio.shape[-1] - round(plan.step / config.fps * rate)
        sound = torch.zeros_like(before.audio)
        sound[..., :shared] = before.audio[..., -shared:]
        is_heard = np.arange(sound.shape[-1]) < shared
        audio = self.pair.encode_audio(hidden_audio(sound, is_heard))
        video, audio = self.statistics.normalise(video, audio)
        if plan.token_step is not None:
            kept = before.audio_latents[:, plan.token_step :]
            audio[:, : kept.shape[1]] = kept
        return self._window(numbers, 0, KnownTokens(video, audio, mask))

    def _window(self, numbers: Sequence[int], seed: int, known: KnownTokens | None = None, **guidance: Any) -> Window:
        """Sample latents and decode them."""
        config = self.config
        steps = sample_latents(
            self.denoise,
            numbers,
            video_shape=config.video_size,
            audio_shape=config.audio_size,
            audio_slices=config.audio_slices,
            schedule=self.schedule,
            options=self.options,
            seed=seed,
            device=self.device,
            known=known,
            limits=self.limits,
            **guidance,
        )
        for result in steps:
            self.advance()
            if result is not None:
                return Window(*decode_pair(self.statistics, self.pair, *result), *result)
        raise AssertionError("a sampler ends with its result")


def dropped(condition: ConditionRecipe, given: torch.Tensor, config: AVDiTConfig) -> torch.Tensor:
    """What of the given part guidance compares without, bool (2, N).

    Args:
        condition: Its ``drop``.
        given: What is given, bool (2, N).
        config: The network, which knows its time slices.

    Raises:
        UserError: A time is no bound of a time slice, or nothing would be dropped.
    """
    where = torch.zeros_like(given)
    match condition.drop:
        case "all":
            where[:] = True
        case "video" | "audio":
            where[["video", "audio"].index(condition.drop)] = True
        case times:
            for start_s, end_s in times:
                where[:, bound(start_s, config.slice_bounds_s) : bound(end_s, config.slice_bounds_s)] = True
    found = where & given
    if not found.any():
        raise UserError(
            f"drop = {condition.drop}: task {condition.task} gives nothing there; guidance needs what it drops"
        )
    return found


def _number(seed: int, sample: int, window: int) -> int:
    """Number of the start noise of a window after the first: another for every seed, sample and window."""
    return int(np.random.SeedSequence([seed, sample, window]).generate_state(1)[0] >> 1)


def put_in_place(
    video: NDArray[np.uint8], audio: NDArray[np.float32], clip: GivenClip, part: Given, sample_rate_hz: int
) -> None:
    """Write the given part unchanged, in place; the made sound begins and ends where the given one does."""
    if part.frames.any() and clip.video is not None:
        where = np.flatnonzero(part.frames)
        video[where] = clip.video[where]
    if part.samples.any() and clip.audio is not None:
        where = np.flatnonzero(part.samples)
        for first, last in runs(part.samples):
            if last < audio.shape[-1]:
                _ease(audio[:, last:], clip.audio[:, last - 1] - audio[:, last - 1], sample_rate_hz)
            if first > 0:
                _ease(audio[:, first - 1 :: -1], clip.audio[:, first] - audio[:, first], sample_rate_hz)
        audio[:, where] = clip.audio[:, where]


def _ease(audio: NDArray[np.float32], step: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Add a step that fades, in place: no click where sound that was made meets sound that was given.

    Args:
        audio: (C, L) from the meeting point on.
        step: (C,), by how much it misses there.
        sample_rate_hz: Audio rate.
    """
    length = min(audio.shape[-1], round(_EASE_S * sample_rate_hz))
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(length, dtype=np.float32) / length)
    audio[:, :length] = (audio[:, :length] + step[:, None] * fade).clip(-1, 1)
