"""Motion and sound that begin together measure higher than those of different clips."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from avbench.curate import synthetic
from avbench.filters._signals import ClipSignals
from avbench.filters.correspondence import Filter
from tests.filters.rendered import FPS, RATE, moving, noise, signals


@pytest.fixture(scope="module")
def impacts(tmp_path_factory: pytest.TempPathFactory) -> list[ClipSignals]:
    """Balls that bounce, each contact heard: half of them filmed in one piece, half with cuts."""
    folder = tmp_path_factory.mktemp("impacts")
    made = []
    for seed in range(6):
        kind = "cuts" if seed % 2 else "impacts"
        synthetic.render({"kind": kind, "seed": str(seed), "seconds": "10"}, folder / f"{seed}.mp4")
        made.append(ClipSignals.decode(folder / f"{seed}.mp4"))
    return made


@pytest.mark.slow
def test_impacts_in_sync_measure_higher_than_shuffled_pairs(impacts: list[ClipSignals]) -> None:
    own = np.array([Filter().measure(clip) for clip in impacts])
    shuffled = np.array(
        [
            Filter().measure(dataclasses.replace(clip, audio=other.audio))
            for clip in impacts
            for other in impacts
            if other is not clip
        ]
    )
    assert (own[:, None] > shuffled[None]).mean() > 0.95
    assert own.min() > np.median(shuffled) + 0.2


@pytest.mark.slow
def test_sound_that_comes_half_a_second_late_measures_lower(impacts: list[ClipSignals]) -> None:
    late = [dataclasses.replace(clip, audio=np.roll(clip.audio, clip.sample_rate_hz // 2, axis=1)) for clip in impacts]
    own, shifted = ([Filter().measure(clip) for clip in clips] for clips in (impacts, late))
    assert np.mean(own) > np.mean(shifted) + 0.2


def jumps(times_s: list[float], seconds: float = 6) -> np.ndarray:
    """A picture that changes at those times only."""
    video = np.repeat(moving(0.1), round(seconds * FPS), axis=0)
    for time_s in times_s:
        video[round(time_s * FPS) :, 80:130] ^= 128
    return video


def clicks(times_s: list[float], seconds: float = 6) -> np.ndarray:
    audio = np.zeros((1, round(seconds * RATE)), np.float32)
    for time_s in times_s:
        at = round(time_s * RATE)
        audio[:, at : at + 800] = noise(0.05, 0.3)
    return audio


TIMES_S = [0.85, 1.45, 2.65, 3.15, 4.75]


def test_changes_and_clicks_at_the_same_times_correlate_fully_within_the_lag_and_not_beyond() -> None:
    video = jumps([time_s + 0.05 for time_s in TIMES_S])
    assert Filter().measure(signals(video, clicks(TIMES_S))) > 0.9
    late = signals(video, clicks([time_s + 0.3 for time_s in TIMES_S]))
    assert Filter().measure(late) < 0.4
    assert Filter(max_lag_s=0.3).measure(late) > 0.9


def test_a_sound_counts_where_it_begins_not_while_it_lasts() -> None:
    audio = np.zeros((1, 6 * RATE), np.float32)
    audio[:, RATE : 5 * RATE] = noise(4, 0.3)
    assert Filter().measure(signals(jumps([1.05]), audio)) > 0.9


def test_a_still_picture_steady_sound_or_silence_is_no_evidence() -> None:
    video, audio = jumps(TIMES_S), clicks(TIMES_S)
    assert Filter().measure(signals(np.repeat(video[:1], 60, axis=0), audio)) == 0
    assert Filter().measure(signals(video, 0 * audio)) == 0
    assert Filter().measure(signals(video[:5], audio)) == 0, "under a second"


def test_it_only_records_unless_told() -> None:
    clip = signals(jumps(TIMES_S), noise(6))
    assert Filter().judge(clip).keep
    assert Filter(min_correlation=0.9).judge(clip).reason.endswith(", under 0.9")
