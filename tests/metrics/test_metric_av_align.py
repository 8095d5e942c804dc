"""AV-align: the matching rule case by case, peaks of signals with known events, golden scores of real clips."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench import media_native
from avbench.errors import MediaError
from avbench.features._flow_motion import motion
from avbench.features._onsets import onset_times
from avbench.media import encode
from avbench.metrics import _peaks, av_align, av_align_javis, av_align_javis_score, av_align_ms, av_align_score
from avbench.metrics._base import ClipSignals
from avbench.metrics.av_align import greedy_pairs, per_clip
from tests.events import clicks, jolts


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    onset_times(clicks([0.5], 1, 22_050), 22_050)


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


def test_the_pairs_are_those_the_score_counts() -> None:
    assert greedy_pairs([1.0, 2.0, 3.0], [2.05, 3.05, 9.0], 10) == [(2.0, 2.05), (3.0, 3.05)]
    assert greedy_pairs([1.0, 1.06], [0.95, 1.08], 10) == [(1.0, 0.95), (1.06, 1.08)]


def test_a_clip_without_any_peak_has_no_score() -> None:
    assert math.isnan(av_align_score([], [], 10))
    assert math.isnan(av_align_score(np.array([]), np.array([]), 10))
    assert math.isnan(per_clip(shown(np.zeros((16, 32, 32, 3), np.uint8), np.zeros((1, 35_280), np.float32))))


def test_the_score_stays_between_zero_and_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        audio_s, video_s = (sorted(rng.uniform(0, 2, rng.integers(1, 12))) for _ in range(2))
        assert 0 <= av_align_score(audio_s, video_s, 8) <= 1


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
    assert av_align_ms(tmp_path / "clip.mp4") == 1.0
    assert av_align_javis(tmp_path / "clip.mp4") > 0


def test_a_file_without_sound_is_an_error_and_not_a_score(tmp_path: Path) -> None:
    encode(tmp_path / "mute.mp4", jolts([2], 10), 10, None, 44_100)
    with pytest.raises(MediaError, match=r"mute\.mp4"):
        av_align(tmp_path / "mute.mp4")


GOLDEN = json.loads(Path(__file__).with_name("av_align_golden.json").read_text())["clips"]
"""What the public codes find in a window of every real clip; make_av_align_golden.py writes it."""


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_real_clips_score_as_the_public_codes_score_them(name: str, media_assets: Path) -> None:
    known = GOLDEN[name]
    first, last = known["first_frame"], known["first_frame"] + known["frames"]
    fps = media_native.native_fps(media_assets / name)
    audio, rate = media_native.native_samples(media_assets / name)
    audio = audio[:, round(first / fps * rate) : round(last / fps * rate)]
    curve = motion(itertools.islice(media_native.native_frames(media_assets / name), first, last))
    audio_s, own_s = onset_times(audio, rate), onset_times(audio, rate, None)
    video_s, every_s = _peaks.local_maxima_times(curve, fps, _peaks.MIN_FLOW_PX), _peaks.local_maxima_times(curve, fps)
    assert audio_s == pytest.approx(known["onsets_s"], abs=1e-6)
    assert video_s == pytest.approx(known["motion_peaks_s"], abs=1e-6)
    assert av_align_score(audio_s, video_s, fps) == known["score"]
    assert own_s == pytest.approx(known["javis_onsets_s"], abs=1e-6)
    assert len(every_s) == known["javis_motion_peaks"]
    assert av_align_javis_score(own_s, every_s, fps) == known["javis_score"]
