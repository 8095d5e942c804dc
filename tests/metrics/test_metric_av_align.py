"""AV-align: the matching rule case by case, peaks of signals with known events, golden scores of real clips."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench import media_native
from avbench.errors import MediaError, UserError
from avbench.media import encode
from avbench.metrics import _peaks, av_align, av_align_score
from avbench.metrics._base import ClipSignals
from avbench.metrics.av_align import per_clip


def clicks(times_s: list[float], seconds: float, rate: int) -> NDArray[np.float32]:
    """Mono sound of one-sample clicks."""
    audio = np.zeros((1, round(seconds * rate)), np.float32)
    audio[0, [round(t * rate) for t in times_s]] = 1.0
    return audio


def jolts(frames: list[int], n_frames: int, jump_px: int = 3) -> NDArray[np.uint8]:
    """A textured square that stands still but for a jump at each of ``frames``."""
    texture = np.random.default_rng(0).integers(0, 256, (6, 6)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    video = np.zeros((n_frames, 48, 64, 3), np.uint8)
    x = 2
    for i in range(n_frames):
        x += jump_px * (i in frames)
        video[i, 10:34, x : x + 24] = texture[..., None]
    return video


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    _peaks.audio_peak_times(clicks([0.5], 1, 22_050), 22_050)


def shown(video: NDArray[np.uint8], audio: NDArray[np.float32], rate: int = 22_050, fps: float = 10) -> ClipSignals:
    return ClipSignals(video, fps, audio, rate)


@pytest.mark.parametrize(
    ("audio_s", "video_s", "fps", "expected"),
    [
        ([0.975, 2.02], [1.0], 10, 0.5),
        ([1.0], [1.0], 10, 1.0),
        ([1.0], [], 10, 0.0),
        ([], [1.0], 10, 0.0),
        ([1.0, 1.05], [1.0], 10, 0.5),  # a video peak serves one onset only
        ([1.0], [1.0, 1.05], 10, 0.5),
        ([1.25], [1.0], 4, 0.0),  # exactly one frame away does not count
        ([0.75], [1.0], 4, 0.0),
        ([1.249], [1.0], 4, 1.0),
        ([1.0, 2.0, 3.0], [2.05, 3.05, 9.0], 10, 0.5),
        # greedy: the first onset takes the first free peak, which leaves the second onset none
        ([1.0, 1.06], [1.08, 1.17], 10, 1 / 3),
        ([1.0, 1.06], [0.95, 1.08], 10, 1.0),
    ],
)
def test_matching(audio_s: list[float], video_s: list[float], fps: float, expected: float) -> None:
    assert av_align_score(audio_s, video_s, fps) == expected


def test_a_clip_without_any_peak_has_no_score() -> None:
    assert math.isnan(av_align_score([], [], 10))
    assert math.isnan(av_align_score(np.array([]), np.array([]), 10))
    assert math.isnan(per_clip(shown(np.zeros((16, 32, 32, 3), np.uint8), np.zeros((1, 35_280), np.float32))))


def test_the_score_stays_between_zero_and_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        audio_s, video_s = (sorted(rng.uniform(0, 2, rng.integers(1, 12))) for _ in range(2))
        assert 0 <= av_align_score(audio_s, video_s, 8) <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 0], [0.1]),
        ([2, 1, 2], []),  # neither end is a peak
        ([0, 1, 1, 0], []),  # nor a plateau
        ([0, 0.1, 0], [0.1]),
        ([0, 0.0999, 0], []),
        ([0, 1, 0, 2, 0, 0.05, 0], [0.1, 0.3]),
        ([0, 1], []),
        ([], []),
    ],
)
def test_local_maxima(values: list[float], expected: list[float]) -> None:
    assert _peaks.local_maxima_times(values, 10) == pytest.approx(expected)


def test_onsets_of_a_click_train_are_where_the_published_code_hears_them() -> None:
    found = _peaks.audio_peak_times(clicks([1, 2, 3], 4, 22_050), 22_050)
    assert found == pytest.approx([1.022, 2.02, 3.019], abs=6e-4)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_onsets_do_not_depend_on_the_rate_of_the_file(rate: int) -> None:
    found = _peaks.audio_peak_times(clicks([1, 2, 3], 4, rate), rate)
    assert found == pytest.approx([1, 2, 3], abs=0.05)


def test_channels_are_averaged() -> None:
    left, right = clicks([1], 4, 22_050), clicks([3], 4, 22_050)
    assert _peaks.audio_peak_times(np.concatenate([left, right]), 22_050) == pytest.approx([1, 3], abs=0.05)
    assert _peaks.audio_peak_times(np.concatenate([left, -left]), 22_050) == []


@pytest.mark.parametrize("n_samples", [0, 1, 100, 2047, 22_050])
def test_silence_and_scraps_of_sound_have_no_onset(n_samples: int) -> None:
    assert _peaks.audio_peak_times(np.zeros((1, n_samples), np.float32), 22_050) == []


def test_sound_that_is_not_finite_is_refused() -> None:
    audio = clicks([0.5], 1, 22_050)
    audio[0, :7] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in 7 of 22050 samples"):
        _peaks.audio_peak_times(audio, 22_050)


def test_motion_is_the_mean_flow_of_each_step() -> None:
    curve = _peaks.motion(jolts([5], 10))
    assert len(curve) == 10
    assert np.argmax(curve) == 5
    assert np.count_nonzero(np.array(curve) > 1e-3) == 1
    first, second, *_ = _peaks.motion(jolts([1], 4))
    assert first == second > 0  # frame 0 repeats the first step


def test_motion_of_a_moving_picture_is_its_speed() -> None:
    rng = np.random.default_rng(1)
    wide = rng.integers(0, 256, (12, 40)).repeat(8, 0).repeat(8, 1).astype(np.uint8)[..., None].repeat(3, -1)
    curve = _peaks.motion([wide[:, 2 * i : 2 * i + 96] for i in range(5)])
    assert curve == pytest.approx([2.0] * 5, rel=0.15)


@pytest.mark.parametrize("n_frames", [0, 1, 2])
def test_too_few_frames_have_no_motion_peak(n_frames: int) -> None:
    assert _peaks.video_peak_times(jolts([1], n_frames), 10) == []
    assert len(_peaks.motion(jolts([1], n_frames))) == (n_frames if n_frames > 1 else 0)


def test_red_and_blue_are_told_apart() -> None:
    # the luma of red is 0.3, of blue 0.11: a swap of channels would change the flow found
    flat = jolts([2], 4)
    red, blue = flat * np.array([1, 0, 0], np.uint8), flat * np.array([0, 0, 1], np.uint8)
    assert _peaks.motion(red) != _peaks.motion(blue)
    assert _peaks.motion(red) == pytest.approx(
        _peaks.motion(np.round(red[..., :1] * 0.299).astype(np.uint8).repeat(3, -1)), rel=0.05
    )


def test_a_clip_whose_jolts_sound_scores_one_and_a_shifted_one_zero() -> None:
    times = [0.4, 1.0, 1.5, 2.2]
    video = jolts([round(t * 10) for t in times], 30)
    assert per_clip(shown(video, clicks(times, 3, 22_050))) == 1.0
    assert per_clip(shown(video, clicks([t + 0.25 for t in times], 3, 22_050))) == 0.0


def test_a_file_gives_the_score_of_its_signals(tmp_path: Path) -> None:
    times = [0.4, 1.0, 1.5, 2.2]
    video, audio = jolts([round(t * 10) for t in times], 30), clicks(times, 3, 44_100)
    encode(tmp_path / "clip.mp4", video, 10, audio, 44_100)
    assert av_align(tmp_path / "clip.mp4") == 1.0


def test_a_file_without_sound_is_an_error_and_not_a_score(tmp_path: Path) -> None:
    encode(tmp_path / "mute.mp4", jolts([2], 10), 10, None, 44_100)
    with pytest.raises(MediaError, match=r"mute\.mp4"):
        av_align(tmp_path / "mute.mp4")


GOLDEN = {
    "mmdiff_aist_51s.mp4": (None, 202, 165, 0.4392156862745098),
    "mmdiff_landscape_88s.mp4": (None, 73, 236, 0.17045454545454544),
    "nasa_13013_16s.mp4": (None, 67, 26, 0.12048192771084337),
    "opencast_black_40s.mp4": (None, 126, 1, 0.007936507936507936),
    "popcorn_test_64s.webm": (None, 171, 266, 0.15),
    "myrkur_gameplay_33s.mp4": (400, 35, 130, 0.1702127659574468),
    "robopianist_entertainer_29s.mp4": (40, 7, 10, 0.4166666666666667),
}
"""Clip to (first frames used, None for all; onsets; motion peaks; score) of av_align.py of guyyariv/TempoTokens at
bf0b1e3, with the sound extracted by ``ffmpeg -i CLIP -map 0:a:0 clip.wav``; librosa 0.11, OpenCV 5.0, FFmpeg 9.0."""


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_real_clips_score_as_the_published_code_scores_them(name: str, media_assets: Path) -> None:
    n_frames, n_onsets, n_motions, score = GOLDEN[name]
    path = media_assets / name
    if n_frames is None:
        assert av_align(path) == score
        return
    fps = media_native.native_fps(path)
    audio, rate = media_native.native_samples(path)
    audio_s = _peaks.audio_peak_times(audio[:, : round(n_frames / fps * rate)], rate)
    video_s = _peaks.video_peak_times(itertools.islice(media_native.native_frames(path), n_frames), fps)
    assert (len(audio_s), len(video_s)) == (n_onsets, n_motions)
    assert av_align_score(audio_s, video_s, fps) == score
