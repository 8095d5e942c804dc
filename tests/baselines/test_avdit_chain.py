"""Long clips: windows that continue each other, joined so that nobody sees or hears where.

The denoiser here is the best there can be for clips that are a wave running across the picture and a tone, each of
random strength and phase: it knows both by heart and finds strength and phase in what it is given, at whatever noise
level. The codecs give pictures back exactly. So what is seen at a seam is the chain's own doing.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from avbench.baselines._avdit_chain import Window, chained, plan
from avbench.baselines._avdit_windows import Clips, Maker
from avbench.diffusion.noise_levels import Pair, coefficients, per_token
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.diffusion.sampling import SolverOptions
from avbench.errors import UserError
from avbench.models.avdit import AVDiTConfig
from avbench.training.latent_space import CodecPair, LatentStatistics
from tests.training import folding

SCHEDULE = linear_schedule()
RADIANS_PER_FRAME, RADIANS_PER_PIXEL, TONE_HZ = 0.7, 0.6, 210.0
SEAMS = 4


class Wave:
    """Denoiser of clips theta_1 c + theta_2 s in both modalities, theta normal: it gives the posterior mean."""

    def __init__(self, pair: CodecPair, config: AVDiTConfig) -> None:
        frames, pixels = torch.arange(config.frames), torch.arange(16)
        phase = RADIANS_PER_FRAME * frames[:, None] - RADIANS_PER_PIXEL * pixels
        time_s = torch.arange(pair.window.samples) / pair.window.sample_rate_hz
        waves, tones = [], []
        for turn in (0.0, math.pi / 2):
            picture = 0.25 * torch.cos(phase - turn)[None, :, None, None, :].expand(1, -1, 3, 16, -1)
            waves.append(pair.video.encode(picture)[0])
            tones.append(pair.encode_audio(0.2 * torch.cos(2 * math.pi * TONE_HZ * time_s - turn)[None, None])[0])
        self.video, self.audio = torch.stack(waves), torch.stack(tones)
        self.slices = torch.tensor(config.audio_slices)

    def __call__(
        self, video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor, previous: Pair | None = None
    ) -> Pair:
        alpha, sigma = coefficients(SCHEDULE, torch.stack([video_levels, audio_levels], 1))
        alphas, sigmas = (per_token(x[:, 0], x[:, 1], self.slices) for x in (alpha, sigma))
        found = []
        for noisy, basis, a, s in zip((video, audio), (self.video, self.audio), alphas, sigmas, strict=True):
            width = s.clamp(min=1e-3)
            weight = (a / width).expand_as(noisy).flatten(1)[:, None] * basis.flatten(1)
            normal = weight @ weight.transpose(1, 2) + torch.eye(2)
            right = weight @ (noisy / width).flatten(1)[:, :, None]
            theta = torch.linalg.solve(normal.double(), right.double()).float()
            clean = torch.einsum("bk,k...->b...", theta[..., 0], basis)
            found.append((noisy - a * clean) / width)
        return found[0], found[1]


@pytest.fixture(scope="module")
def maker() -> Maker:
    pair = CodecPair(folding.FoldedPictures(1.0, 0.0), folding.LowTones(), folding.WINDOW)
    shape = pair.shape
    config = AVDiTConfig(
        video_size=shape.video, audio_size=shape.audio, fps=10.0, frames_per_slice=2, width=16, layers=1, heads=2
    )
    statistics = LatentStatistics((0.0,) * 24, (1.0,) * 24, (0.0,) * 32, (1.0,) * 32)
    options = SolverOptions("ddim", 6, video_threshold="none", audio_threshold="none")
    return Maker(
        Wave(pair, config), config, pair, statistics, SCHEDULE, options, None, torch.device("cpu"), lambda: None
    )


def seconds(config: AVDiTConfig) -> float:
    """A clip with `SEAMS` seams."""
    layout = plan(config.frames / config.fps, config, 16000)
    return (config.frames + SEAMS * layout.step) / config.fps


@pytest.fixture(scope="module")
def long(maker: Maker) -> Clips:
    return maker.clips([0, 1], 0, plan=plan(seconds(maker.config), maker.config, 16000))


def seam_frames(config: AVDiTConfig) -> list[int]:
    """Frames that two windows share, and the first behind them."""
    layout = plan(seconds(config), config, 16000)
    return [
        frame
        for window in range(1, layout.windows)
        for frame in range(window * layout.step, window * layout.step + layout.overlap + 1)
    ]


def test_the_plan_of_a_long_clip_adds_up(maker: Maker) -> None:
    layout = plan(3.4, maker.config, 16000)
    assert (layout.windows, layout.slices, layout.step, layout.overlap) == (6, 2, 6, 3)
    assert (layout.frames, layout.samples, layout.token_step) == (34, 54400, 30)
    assert layout.step * (layout.windows - 1) + maker.config.frames >= layout.frames
    assert layout.step * (layout.windows - 2) + maker.config.frames < layout.frames


@pytest.mark.parametrize(
    ("length_s", "sentence"),
    [(0.8, r"shorter than one window of this model, 0.9 s"), (1.23, r"no whole number of frames at 10 fps; take 1.2")],
)
def test_a_length_that_cannot_be_made_is_refused(maker: Maker, length_s: float, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        plan(length_s, maker.config, 16000)


def test_a_long_clip_has_exactly_the_frames_and_samples_that_were_asked_for(maker: Maker) -> None:
    video, audio = maker.clips([0], 0, plan=plan(1.3, maker.config, 16000))
    assert (video.shape, audio.shape) == ((1, 13, 16, 16, 3), (1, 1, 20800))


def test_a_long_clip_begins_as_the_clip_of_one_window(maker: Maker, long: Clips) -> None:
    video, audio = maker.clips([0, 1], 0)
    layout = plan(seconds(maker.config), maker.config, 16000)
    assert np.array_equal(long[0][:, : layout.step], video[:, : layout.step])
    assert np.array_equal(long[1][..., : layout.first_sample(layout.step, 10)], audio[..., :9600])


def test_a_long_clip_does_not_depend_on_the_batch(maker: Maker, long: Clips) -> None:
    video, audio = maker.clips([1], 0, plan=plan(seconds(maker.config), maker.config, 16000))
    assert np.abs(video[0].astype(int) - long[0][1]).max() <= 1
    assert np.allclose(audio[0], long[1][1], atol=1e-4)


def phases(video: np.ndarray) -> np.ndarray:
    """Phase of the wave in each frame of a clip, radians."""
    row = video[:, 0, :, 0].astype(float) - 127.5
    place = RADIANS_PER_PIXEL * np.arange(16)
    basis = np.stack([np.cos(place), np.sin(place)])
    both = np.linalg.lstsq(basis.T, row.T, rcond=None)[0]
    return np.arctan2(both[1], both[0])


def moved(video: np.ndarray) -> np.ndarray:
    """By how much the wave runs on from each frame to the next, radians."""
    return np.angle(np.exp(1j * np.diff(phases(video))))


def loudness(audio: np.ndarray) -> np.ndarray:
    """RMS of every 20 ms, and so without the tone's own phase to within a tenth."""
    return np.sqrt(np.square(audio[: len(audio) // 320 * 320].reshape(-1, 320)).mean(1))


def test_no_seam_is_seen_or_heard(maker: Maker, long: Clips) -> None:
    """At a seam pictures, motion, loudness and waveform change by no more than they do anywhere else in the clip."""
    inside = np.zeros(long[0].shape[1], bool)
    inside[seam_frames(maker.config)] = True
    for video, audio in zip(long[0], long[1][:, 0], strict=True):
        jumps = np.abs(np.diff(video.astype(float), axis=0)).mean((1, 2, 3))
        assert jumps[inside[1:]].max() <= 1.05 * jumps[~inside[1:]].max()
        assert np.abs(moved(video) - RADIANS_PER_FRAME).max() < 0.05
        at_seam = np.repeat(inside, 5)[: len(loudness(audio))]
        changes = np.abs(np.diff(loudness(audio)))
        assert changes[at_seam[1:]].max() <= 1.05 * changes[~at_seam[1:]].max()
        steps, heard = np.abs(np.diff(audio)), np.repeat(inside, 1600)[1 : len(audio)]
        assert steps[heard].max() <= 1.05 * steps[~heard].max()


def test_windows_that_are_not_given_the_one_before_do_show_their_seams(maker: Maker) -> None:
    """The measures above see a seam where there is one."""
    layout = plan(seconds(maker.config), maker.config, 16000)
    videos, _ = chained(layout, 10.0, lambda number, before: maker._window([100 + number, 200 + number], 0))
    assert max(np.abs(moved(video) - RADIANS_PER_FRAME).max() for video in videos) > 0.3


def test_windows_that_a_codec_makes_brighter_and_louder_meet_without_a_step(maker: Maker) -> None:
    """No decoder gives the same twice; what differs is spread over all that two windows share."""
    layout = plan(seconds(maker.config), maker.config, 16000)

    def window(number: int, before: Window | None) -> Window:
        level = 0.4 * (number % 2)
        nothing = torch.zeros(1)
        return Window(torch.full((1, 9, 3, 16, 16), level), torch.full((1, 1, 14400), level), nothing, nothing)

    video, audio = chained(layout, 10.0, window)
    assert np.ptp(video) >= 50  # both levels are reached
    assert np.abs(np.diff(video.astype(int), axis=1)).max() <= 51 / (layout.overlap + 1) + 1
    assert np.ptp(audio) == pytest.approx(0.4)
    assert np.abs(np.diff(audio)).max() < 0.001


def test_a_chain_keeps_its_strength(long: Clips) -> None:
    """Nothing fades or grows from the first window to the last."""
    for video, audio in zip(long[0], long[1][:, 0], strict=True):
        first, last = video[:6].astype(float).std(), video[-6:].astype(float).std()
        assert last == pytest.approx(first, rel=0.05)
        assert audio[-8000:].std() == pytest.approx(audio[:8000].std(), rel=0.05)
