"""mel: level, place in the spectrum and variation of a sound, by closed form and by direction."""

from __future__ import annotations

import numpy as np
import pytest

from avbench import features
from avbench.features._logmel import log_mel

RATE_HZ = 16_000
TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ


def row(sound: np.ndarray) -> np.ndarray:
    return features.load("mel").embed(sound[None].astype(np.float32)).values[0]


def test_silence_is_the_floor_of_the_logarithm() -> None:
    np.testing.assert_allclose(row(np.zeros(RATE_HZ)), [np.log(0.01)] * 16 + [0.0] * 16, atol=1e-6)


def test_twice_as_loud_adds_log_two_to_every_band() -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 2 * RATE_HZ)
    quiet, loud = row(noise / 2), row(noise)
    np.testing.assert_allclose((loud - quiet)[:16], np.log(2), atol=5e-3)
    np.testing.assert_allclose(loud[16:], quiet[16:], atol=5e-3)


def test_neighbouring_bands_are_averaged_in_fours() -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, RATE_HZ) * TIME_S[:RATE_HZ]
    over_time = log_mel(noise).mean(axis=0)
    np.testing.assert_allclose(row(noise)[:16], [over_time[k : k + 4].mean() for k in range(0, 64, 4)], rtol=1e-5)


def test_a_tone_stands_in_its_band() -> None:
    edges = 700 * np.expm1(np.linspace(*(1127 * np.log1p(np.array([125, 7500]) / 700)), 66) / 1127)
    for band in (2, 7, 13):
        hertz = edges[1 + 4 * band : 5 + 4 * band].mean()
        assert row(np.sin(2 * np.pi * hertz * TIME_S))[:16].argmax() == band


def test_a_pulsing_tone_varies_more_than_a_steady_one() -> None:
    tone = np.sin(2 * np.pi * 1000 * TIME_S)
    steady, pulsing = row(tone), row(tone * (np.sin(2 * np.pi * 2 * TIME_S) > 0))
    band = steady[:16].argmax()
    assert steady[16 + band] < 0.01
    assert pulsing[16 + band] > 1


def test_it_is_the_plain_mean_and_deviation_of_two_levels() -> None:
    """Half silence, half noise: with all spectra of a half alike the deviation is half their distance."""
    noise = np.random.default_rng(0).uniform(-1, 1, RATE_HZ)
    both = row(np.concatenate([np.zeros(RATE_HZ), noise]))
    silent, loud = row(np.zeros(RATE_HZ)), row(noise)
    np.testing.assert_allclose(both[:16], (silent + loud)[:16] / 2, atol=0.08)
    np.testing.assert_allclose(both[16:], np.hypot((loud - silent)[:16] / 2, loud[16:] / np.sqrt(2)), rtol=0.03)


def test_time_reversal_and_samples_beyond_the_last_spectrum_do_not_matter() -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 400 + 160 * 99)
    assert row(noise) == pytest.approx(row(noise[::-1]), abs=0.02)
    np.testing.assert_array_equal(row(noise), row(np.append(noise, np.ones(159))))
