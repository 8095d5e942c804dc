"""Alignment within milliseconds: a largest matching, symmetric, indifferent to the frame rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from avbench.errors import UserError
from avbench.metrics import av_align_ms_score
from avbench.metrics._peaks import Peaks
from avbench.metrics.av_align_ms import matched_pairs, pair


@pytest.mark.parametrize(
    ("audio_s", "video_s", "expected"),
    [
        ([1.0], [1.0], 1.0),
        ([1.0, 1.06], [1.08, 1.17], 1 / 3),
        ([1.0, 1.07], [1.08, 1.16], 1.0),  # greedy by frames loses the second pair
        ([1.0, 1.05], [1.0], 0.5),
        ([1.1], [1.0], 1.0),  # the tolerance itself is allowed
        ([1.101], [1.0], 0.0),
        ([1.0], [], 0.0),
        ([], [1.0], 0.0),
    ],
)
def test_matching(audio_s: list[float], video_s: list[float], expected: float) -> None:
    assert av_align_ms_score(audio_s, video_s) == expected
    assert av_align_ms_score(video_s, audio_s) == expected


def test_no_peak_at_all_is_no_score() -> None:
    assert math.isnan(av_align_ms_score([], []))


def random_times(rng: np.random.Generator) -> list[float]:
    return sorted(rng.uniform(0, 2, rng.integers(1, 14)).tolist())


def test_the_matching_is_as_large_as_an_assignment_solver_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        audio_s, video_s = random_times(rng), random_times(rng)
        in_reach = np.abs(np.subtract.outer(audio_s, video_s)) <= 0.1
        rows, columns = linear_sum_assignment(in_reach, maximize=True)
        pairs = matched_pairs(audio_s, video_s)
        assert len(pairs) == in_reach[rows, columns].sum()
        assert all(abs(a - v) <= 0.1 + 1e-9 for a, v in pairs)
        assert len({a for a, _ in pairs}) == len({v for _, v in pairs}) == len(pairs)


def test_it_is_symmetric_and_grows_with_the_tolerance() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        audio_s, video_s = random_times(rng), random_times(rng)
        scores = [av_align_ms_score(audio_s, video_s, ms) for ms in (0, 20, 50, 100, 500, 3000)]
        assert scores == sorted(scores)
        assert scores == [av_align_ms_score(video_s, audio_s, ms) for ms in (0, 20, 50, 100, 500, 3000)]


def test_it_falls_as_the_sound_moves_away() -> None:
    video_s = [0.5, 1.1, 1.9, 2.4, 3.3]
    jitter_s = np.array([0.0, 0.03, -0.05, 0.06, -0.02])
    scores = [av_align_ms_score((video_s + jitter_s + offset_s).tolist(), video_s) for offset_s in (0, 0.06, 0.1, 0.2)]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0


def test_the_frame_rate_does_not_enter() -> None:
    sound, still = Peaks([1.0], [], 10, [], []), Peaks([], [1.08], 10, [], [])
    assert pair(sound, still) == pair(sound, still._replace(fps=60)) == 1
    assert pair(sound, still, tolerance_ms=50) == 0


@pytest.mark.parametrize("tolerance_ms", [-1.0, math.nan, math.inf])
def test_a_tolerance_that_is_no_time_is_refused(tolerance_ms: float) -> None:
    with pytest.raises(UserError, match="tolerance"):
        av_align_ms_score([1.0], [1.0], tolerance_ms)
