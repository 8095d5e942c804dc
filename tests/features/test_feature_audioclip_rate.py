"""AudioCLIP handed sound of another rate than its own, as JavisBench does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from avbench import features
from avbench.errors import UserError
from avbench.metrics._base import ClipSignals


def test_sound_reaches_the_network_at_the_rate_that_was_asked_for(
    seeded_state: Callable[[str], dict[str, Tensor]],
) -> None:
    weights = seeded_state("audioclip")
    own, javis = (features.load("audioclip", weights, input_rate_hz=rate) for rate in (44_100, 16_000))
    assert (own.sample_rate_hz, javis.sample_rate_hz) == (44_100, 16_000)
    assert own.settings != javis.settings
    sound = (0.1 * np.random.default_rng(0).standard_normal((1, 8_000))).astype(np.float32)
    clip = ClipSignals(np.zeros((1, 2, 2, 3), np.uint8), 10, sound, 16_000)
    as_they_are = own.embed(sound).values
    assert np.array_equal(features.embed_clips(javis, [clip]).values, as_they_are)
    assert not np.allclose(features.embed_clips(own, [clip]).values, as_they_are, atol=1e-3)


def test_a_rate_that_is_none_is_refused(seeded_state: Callable[[str], dict[str, Tensor]]) -> None:
    with pytest.raises(UserError, match="input_rate_hz is a rate"):
        features.load("audioclip", seeded_state("audioclip"), input_rate_hz=0)
