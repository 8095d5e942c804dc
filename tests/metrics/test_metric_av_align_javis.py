"""JavisBench's AV-align: where it differs from the published one, case by case."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.features._onsets import onset_times
from avbench.metrics import av_align_javis_score
from avbench.metrics._base import ClipSignals
from avbench.metrics._peaks import Peaks
from avbench.metrics.av_align_javis import pair, per_clip
from tests.events import clicks, jolts


@pytest.mark.parametrize(
    ("audio_s", "video_s", "fps", "expected"),
    [
        ([1.0], [1.0], 10, 1 / (1 + 1e-6)),
        ([1.0, 1.05], [1.0], 10, 2 / (1 + 1e-6)),  # one peak serves both onsets
        ([0.95, 1.0, 1.02, 1.05, 1.07], [0.9, 1.0, 1.1], 10, 5 / (3 + 1e-6)),  # the 1.667 of the literature
        ([1.0], [1.0, 1.05], 10, 1 / (2 + 1e-6)),
        ([1.25], [1.0], 4, 0.0),  # exactly one frame away does not count
        ([1.0], [], 10, 0.0),
        ([], [1.0], 10, 0.0),
        ([], [], 10, 0.0),
    ],
)
def test_matching(audio_s: list[float], video_s: list[float], fps: float, expected: float) -> None:
    assert av_align_javis_score(audio_s, video_s, fps) == expected


def test_the_pair_takes_onsets_at_the_own_rate_and_peaks_of_any_height() -> None:
    sound = Peaks([5.0], [], 10, [0.1, 0.3], [])
    picture = Peaks([], [], 10, [], [0, 1e-9, 0, 2, 0])
    assert pair(sound, picture) == 2 / (2 + 1e-6)


def test_a_silent_still_clip_scores_zero() -> None:
    assert (
        per_clip(ClipSignals(np.zeros((16, 32, 32, 3), np.uint8), 10, np.zeros((1, 25_600), np.float32), 16_000)) == 0
    )


def test_a_16_khz_clip_scores_above_one() -> None:
    onset_times(clicks([0.5], 1, 22_050), 22_050)
    times = [0.4, 1.0, 1.6, 2.2]
    clip = ClipSignals(jolts([round(t * 10) for t in times], 30), 10, clicks(times, 3, 16_000), 16_000)
    assert per_clip(clip) > 1
