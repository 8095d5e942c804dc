"""Integrated loudness against the closed form of a sine and the gating cases of EBU Tech 3341."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.features._lufs import GATE_LUFS, RATE_HZ, integrated_lufs
from avbench.filters.loudness import Filter
from tests.filters.rendered import signals


def sine(level_dbfs: float, seconds: float, *, channels: int = 2, rate: int = RATE_HZ, hz: float = 1000) -> np.ndarray:
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


@pytest.mark.parametrize("rate", [48000, 44100, 32000, 16000])
@pytest.mark.parametrize(("channels", "offset"), [(2, 0.0), (1, -10 * np.log10(2))])
def test_a_1_khz_sine_measures_its_peak_level_in_both_channels(rate: int, channels: int, offset: float) -> None:
    # EBU Tech 3341 case 1: a stereo 1 kHz sine of -23 dBFS peak measures -23.0 LUFS
    value = integrated_lufs(sine(-23, 5, channels=channels, rate=rate), rate)
    assert value == pytest.approx(-23 + offset, abs=0.1)


def test_low_frequencies_count_less() -> None:
    # second-order high-pass at 38.1 Hz with Q 0.5, |H| = r^2 / (1 + r^2), and the standard's constant
    r = 60 / 38.135
    expected = -23 + 20 * np.log10(r**2 / (1 + r**2)) - 0.691
    assert integrated_lufs(sine(-23, 5, hz=60), RATE_HZ) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "parts",
    [
        [(-36, 10), (-23, 60), (-36, 10)],
        [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
        [(-26, 20), (-20, 20.1), (-26, 20)],
    ],
    ids=["case 3", "case 4", "case 5"],
)
def test_gating_cases_of_ebu_tech_3341(parts: list[tuple[float, float]]) -> None:
    sound = np.concatenate([sine(level, seconds, channels=1) for level, seconds in parts], axis=1)
    assert integrated_lufs(np.repeat(sound, 2, axis=0), RATE_HZ) == pytest.approx(-23, abs=0.1)


def test_silence_does_not_lower_the_relative_gate() -> None:
    # -45 lies 12 below the mean of what is heard, so it does not count; were the silence averaged in, it would
    parts = [sine(-30, 10), sine(-75, 100), sine(-45, 10)]
    assert integrated_lufs(np.concatenate(parts, axis=1), RATE_HZ) == pytest.approx(-30, abs=0.1)


def test_full_scale_is_not_clipped_on_the_way() -> None:
    # the shelf lifts high frequencies by 4 dB; a filter that clips to full scale on the way measures 2 LU less
    assert integrated_lufs(sine(0, 2, hz=5000), RATE_HZ) == pytest.approx(4 - 0.691, abs=0.05)


@pytest.mark.parametrize("audio", [np.zeros((2, RATE_HZ)), sine(-80, 1), sine(-10, 0.3), np.zeros((0, 0))])
def test_nothing_above_the_absolute_gate_is_the_gate(audio: np.ndarray) -> None:
    assert integrated_lufs(audio, RATE_HZ) == GATE_LUFS


def test_threshold_divides() -> None:
    clip = signals(audio=sine(-40, 2), rate=RATE_HZ)
    assert Filter(min_lufs=-40.5).judge(clip).keep
    dropped = Filter(min_lufs=-39.5).judge(clip)
    assert not dropped.keep
    assert dropped.reason == "loudness -40.0 LUFS, under -39.5 LUFS"
