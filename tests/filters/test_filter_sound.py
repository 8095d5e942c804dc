"""Silence ratio and peak, on sound whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.filters import has_audio, silence
from tests.filters.rendered import RATE, noise, signals


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_silent_share_is_the_share_that_was_silenced(share: float) -> None:
    audio = noise(2, 0.1)
    audio[:, : round(share * 2 * RATE)] = 0
    assert silence.Filter().judge(signals(audio=audio)).value == pytest.approx(share, abs=0.03)


def test_level_of_a_frame_is_its_rms_over_all_channels() -> None:
    square = np.tile([1.0, -1.0], RATE // 2)[None].astype(np.float32)
    at = silence.Filter(level_dbfs=-50)
    assert at.judge(signals(audio=square * 10 ** (-49.9 / 20))).value == 0
    assert at.judge(signals(audio=square * 10 ** (-50.1 / 20))).value == 1
    one_of_two = np.concatenate([square * 10 ** (-48 / 20), 0 * square])
    assert at.judge(signals(audio=one_of_two)).value == 1, "-48 dBFS in one of two channels is -51 dBFS in all"


def test_silence_is_dropped_only_beyond_the_threshold() -> None:
    audio = noise(2)
    audio[:, :RATE] = 0
    clip = signals(audio=audio)
    assert silence.Filter(max_ratio=0.5).judge(clip).keep
    dropped = silence.Filter(max_ratio=0.4).judge(clip)
    assert not dropped.keep
    assert dropped.reason == "silent for 50.0% of the clip, over 40%"


@pytest.mark.parametrize("audio", [np.zeros((0, 0)), np.zeros((1, 100)), np.zeros((2, RATE))])
def test_no_sound_is_all_silence_and_no_peak(audio: np.ndarray) -> None:
    clip = signals(audio=audio, rate=RATE if audio.size else 0)
    assert silence.Filter().judge(clip).value == 1
    verdict = has_audio.Filter().judge(clip)
    assert (verdict.value, verdict.keep) == (-120.0, False)


def test_peak_is_in_dbfs_and_a_last_bit_of_16_is_sound() -> None:
    audio = np.zeros((2, RATE))
    audio[1, 5] = -0.5
    assert has_audio.Filter().judge(signals(audio=audio)).value == pytest.approx(-6.02, abs=0.01)
    audio[1, 5] = 2**-15
    assert not has_audio.Filter().judge(signals(audio=audio)).keep
    audio[1, 5] = 2**-14
    assert has_audio.Filter().judge(signals(audio=audio)).keep
