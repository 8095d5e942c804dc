"""Clipping, phase and the pace of speech, on sound whose answer is known; loudness beside ffmpeg's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.filters import clipping, loudness, phase, speech_music
from tests.filters.rendered import RATE, noise, pulsing, signals


def sine(gain: float, seconds: float = 2) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * 440.5 * np.arange(round(seconds * RATE)) / RATE))[None]


@pytest.mark.parametrize("gain", [1.1, 2.0, 10.0])
def test_share_at_full_scale_is_that_of_a_clipped_sine(gain: float) -> None:
    # |sin| exceeds 1 / gain for this share of the time
    expected = 1 - 2 / np.pi * np.arcsin(0.999 / gain)
    assert clipping.Filter().measure(signals(audio=sine(gain).clip(-1, 1))) == pytest.approx(expected, abs=0.005)


def test_loud_is_not_clipped() -> None:
    assert clipping.Filter().judge(signals(audio=sine(0.998))).value == 0
    normalised = noise(2)
    normalised /= np.abs(normalised).max()
    assert clipping.Filter().judge(signals(audio=normalised)).keep, "one sample at full scale is no fault"
    overdriven = noise(2, 0.6)
    assert clipping.Filter().judge(signals(audio=overdriven)).reason == (
        f"{np.mean(np.abs(overdriven) >= 0.999):.2%} of the samples are at full scale, over 1%"
    )


def test_correlation_of_the_channels() -> None:
    left, right = noise(2, seed=1), noise(2, seed=2)

    def value(*channels: np.ndarray) -> float:
        return phase.Filter().measure(signals(audio=np.concatenate(channels)))

    assert value(left, left) == pytest.approx(1)
    assert value(left, 0.3 * left) == pytest.approx(1), "a pan is in phase"
    assert value(left, -0.3 * left) == pytest.approx(-1)
    assert value(left, right) == pytest.approx(0, abs=0.02)
    assert value(left, -0.6 * left + 0.8 * right) == pytest.approx(-0.6, abs=0.02)
    assert value(left, 0 * left) == 0
    assert value(left) == 1, "one channel cannot cancel"
    assert value(0 * left, 0 * left) == 1


def test_inverted_stereo_is_dropped_and_a_quiet_side_signal_is_not() -> None:
    left, right = noise(2, seed=1), noise(2, seed=2)
    dropped = phase.Filter().judge(signals(audio=np.concatenate([left, -left])))
    assert dropped.reason == "the channels cancel each other, correlation -1.00, under -0.5"
    assert phase.Filter().judge(signals(audio=np.concatenate([left, right]))).keep


@pytest.mark.parametrize(("rate_hz", "depth"), [(4, 3**-0.5), (5, 3**-0.5), (0, 0), (0.5, 0), (10, 0)])
def test_depth_is_that_of_a_tone_that_swells_at_the_pace_of_syllables(rate_hz: float, depth: float) -> None:
    # (1 + cos) / 2 has a mean square of 3/8 and a swing of 1/8
    assert speech_music.Filter().measure(signals(audio=pulsing(8, rate_hz))) == pytest.approx(depth, abs=0.02)


def test_pauses_and_level_do_not_change_the_depth() -> None:
    speech = pulsing(8, 4)
    whole = speech_music.Filter().measure(signals(audio=speech))
    assert speech_music.Filter().measure(signals(audio=0.01 * speech)) == pytest.approx(whole, rel=1e-3)
    with_pause = np.concatenate([speech, 0 * speech], axis=1)
    assert speech_music.Filter().measure(signals(audio=with_pause)) == pytest.approx(whole, rel=0.05)


def test_it_only_records_unless_told() -> None:
    clip = signals(audio=pulsing(8, 4))
    assert speech_music.Filter().judge(clip).keep
    dropped = speech_music.Filter(max_depth=0.3).judge(clip)
    assert dropped.reason == f"pulses at the pace of speech, depth {dropped.value:.2f}, over 0.3"


RECORDINGS = ["popcorn_test_64s.webm", "mmdiff_landscape_88s.mp4", "robopianist_entertainer_29s.mp4"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_loudness_is_ffmpegs_to_a_tenth(name: str, media_assets: Path) -> None:
    # the same samples for both: ffmpeg's own decoding fills gaps in another way
    audio = media.decode_audio(media_assets / name, sample_rate_hz=48_000, n_samples=20 * 48_000)
    value = loudness.Filter().measure(signals(audio=audio, rate=48_000))
    raw = ["-f", "f32le", "-ar", "48000", "-ac", str(len(audio)), "-i", "-"]
    command = [media.ffmpeg_path(), "-hide_banner", "-nostats", *raw, "-af", "ebur128", "-f", "null", "-"]
    told = subprocess.run(command, input=audio.T.tobytes(), capture_output=True, check=True).stderr.decode()
    assert value == pytest.approx(float(re.findall(r"I:\s+(-?[\d.]+) LUFS", told)[-1]), abs=0.1)
