"""Onsets: clicks of known times, at any rate of the file, and sounds that have none."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.features._onsets import onset_times
from tests.events import clicks


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    onset_times(clicks([0.5], 1, 22_050), 22_050)


def test_onsets_of_a_click_train_are_where_the_published_code_hears_them() -> None:
    found = onset_times(clicks([1, 2, 3], 4, 22_050), 22_050)
    assert found == pytest.approx([1.022, 2.02, 3.019], abs=6e-4)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_onsets_do_not_depend_on_the_rate_of_the_file(rate: int) -> None:
    found = onset_times(clicks([1, 2, 3], 4, rate), rate)
    assert found == pytest.approx([1, 2, 3], abs=0.05)


def test_channels_are_averaged() -> None:
    left, right = clicks([1], 4, 22_050), clicks([3], 4, 22_050)
    assert onset_times(np.concatenate([left, right]), 22_050) == pytest.approx([1, 3], abs=0.05)
    assert onset_times(np.concatenate([left, -left]), 22_050) == []


@pytest.mark.parametrize("n_samples", [0, 1, 100, 2047, 22_050])
def test_silence_and_scraps_of_sound_have_no_onset(n_samples: int) -> None:
    assert onset_times(np.zeros((1, n_samples), np.float32), 22_050) == []


def test_sound_that_is_not_finite_is_refused() -> None:
    audio = clicks([0.5], 1, 22_050)
    audio[0, :7] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in 7 of 22050 samples"):
        onset_times(audio, 22_050)


def test_at_its_own_rate_a_sound_of_16_khz_has_more_onsets() -> None:
    found = onset_times(clicks([1, 2, 3], 4, 16_000), 16_000, None)
    assert found == pytest.approx([1.024, 2.016, 3.008, 3.04], abs=1e-6)
