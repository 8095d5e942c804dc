"""Still, black, cut and small pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.filters import black, cuts, duration, freeze, resolution
from tests.filters.rendered import FPS, moving, signals


def still(seconds: float, level: int = 128) -> np.ndarray:
    rng = np.random.default_rng(level)
    picture = rng.integers(level - 40, level + 40, (1, 90, 160, 3)).astype(np.uint8)
    return np.repeat(picture, round(seconds * FPS), axis=0)


def test_frozen_share_counts_only_stretches_of_two_seconds() -> None:
    live = moving(1, width=160, height=120)[:, :90]
    assert freeze.Filter().judge(signals(np.concatenate([live, still(3)]))).value == pytest.approx(0.75)
    assert freeze.Filter().judge(signals(np.concatenate([live, still(1.9)]))).value == 0
    assert freeze.Filter().judge(signals(np.concatenate([live, still(2), live, still(4, 90)]))).value == pytest.approx(
        0.75
    )
    assert freeze.Filter().judge(signals(live)).value == 0


def test_a_slow_change_is_not_a_freeze() -> None:
    # each step is below the noise, but not the way from the first frame of the stretch
    ramp = np.linspace(0, 60, 100)[:, None, None, None] + np.zeros((1, 20, 20, 3))
    assert freeze.Filter(noise=0.01).judge(signals(ramp.astype(np.uint8))).value == 0


def test_noise_of_the_codec_is_tolerated_and_motion_is_not() -> None:
    video = still(3).astype(np.int16)
    video[1::2, ::8, ::8] += 8
    assert freeze.Filter().judge(signals(video.astype(np.uint8))).value == 1
    video[1::2, ::2, ::2] += 8
    assert freeze.Filter().judge(signals(video.astype(np.uint8))).value == 0


def test_black_needs_dark_pixels_nearly_everywhere() -> None:
    video = np.full((10, 100, 100, 3), 200, np.uint8)
    video[:4] = 25
    assert black.Filter().judge(signals(video)).value == pytest.approx(0.4)
    video[:4] = 26
    assert black.Filter().judge(signals(video)).value == 0
    video[:4] = 0
    video[:4, :3] = 200
    assert black.Filter().judge(signals(video)).value == 0, "3 % of the pixels are bright"
    assert (
        black.Filter(frame_ratio=0.9, max_ratio=0.3).judge(signals(video)).reason
        == "black for 40.0% of the clip, over 30%"
    )


def test_cuts_are_counted_per_minute() -> None:
    clip = signals(np.concatenate([still(2, level) for level in (50, 200, 60, 210, 90)]))
    assert cuts.Filter().judge(clip).value == pytest.approx(4 * 60 / 10)
    assert cuts.Filter().judge(signals(moving(5))).value == 0
    assert cuts.Filter(max_per_minute=20).judge(clip).reason == "24.0 cuts per minute, over 20"


def test_flashes_faster_than_a_shot_are_merged() -> None:
    # a strobe light: bright and dark by turns at 5 Hz between two calm halves
    strobe = np.concatenate([still(0.1, 60 if k % 2 else 200) for k in range(20)])
    value = cuts.Filter().judge(signals(np.concatenate([still(4, 60), strobe, still(4, 60)]))).value
    assert 0 < value <= 2 * 60 / 10


def test_size_is_that_of_the_picture_inside_its_bars() -> None:
    whole = signals(moving(1))
    assert resolution.Filter().judge(whole).value == 180
    barred = np.zeros((5, 90, 160, 3), np.uint8)
    barred[:, :, 55:105] = 150
    verdict = resolution.Filter(min_px=100).judge(signals(barred))
    assert verdict.value == 50
    assert verdict.reason == "picture is 50 px on its shorter side, under 100 px"
    barred[2, 10, 0] = 255
    assert resolution.Filter().judge(signals(barred)).value == 90, "one bright moment shows that it is no bar"
    assert resolution.Filter().judge(signals(barred * 0)).value == 0


def test_duration_has_two_limits() -> None:
    clip = signals(moving(3))
    assert duration.Filter(min_s=3, max_s=3).judge(clip).keep
    assert duration.Filter(min_s=3.5).judge(clip).reason == "3.000 s long, under 3.5 s"
    assert duration.Filter(max_s=2.5).judge(clip).reason == "3.000 s long, over 2.5 s"
