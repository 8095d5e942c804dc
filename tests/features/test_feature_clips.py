"""Decoded clips reach a feature at its rate, in mono, whatever their lengths."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from avbench import features
from avbench.errors import MediaError, UserError
from avbench.features import _clips


def clip(sound: np.ndarray, rate_hz: int, frames: int = 4) -> SimpleNamespace:
    video = np.random.default_rng(frames).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    return SimpleNamespace(video=video, fps=10.0, audio=sound.astype(np.float32), sample_rate_hz=rate_hz)


def tone(rate_hz: int, hertz: float = 1000, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_the_wave_and_its_place_in_time(rate_hz: int) -> None:
    made = _clips.to_rate(tone(rate_hz), rate_hz, 16_000)
    assert made.shape == (16_000,)
    inside = slice(400, -400)
    np.testing.assert_allclose(made[inside], tone(16_000)[inside], atol=2e-3)


def test_resampling_removes_what_the_lower_rate_cannot_carry() -> None:
    made = _clips.to_rate(tone(44_100, hertz=9_000), 44_100, 16_000)
    assert np.abs(made[400:-400]).max() < 1e-3


def test_the_same_rate_changes_nothing() -> None:
    sound = tone(16_000).astype(np.float32)
    np.testing.assert_array_equal(_clips.to_rate(sound, 16_000, 16_000), sound)


def test_channels_are_averaged() -> None:
    left, right = tone(16_000), tone(16_000, hertz=3000)
    mel = features.load("mel")
    both = features.embed_clips(mel, [clip(np.stack([left, right]), 16_000)]).values
    np.testing.assert_allclose(both, mel.embed(((left + right) / 2)[None].astype(np.float32)).values, atol=1e-4)


def test_clips_of_different_lengths_keep_their_order() -> None:
    mel, flow = features.load("mel"), features.load("flow")
    clips = [clip(tone(16_000, seconds=1 + k), 16_000, frames=4 + k) for k in range(3)]
    for feature in (mel, flow):
        values, owner = features.embed_clips(feature, clips)
        np.testing.assert_array_equal(owner, [0, 1, 2])
        for k in range(3):
            np.testing.assert_array_equal(values[k], features.embed_clips(feature, clips[k : k + 1]).values[0])


def test_a_frame_rate_the_feature_is_not_defined_at_is_refused() -> None:
    flow = features.load("flow")
    flow.fps = 25.0  # type: ignore[misc]
    with pytest.raises(UserError, match="flow is defined at 25 frames per second, not 10"):
        features.embed_clips(flow, [clip(tone(16_000), 16_000)])


def test_no_clips_and_short_clips_are_refused() -> None:
    with pytest.raises(UserError, match="no clips"):
        features.embed_clips(features.load("mel"), [])
    with pytest.raises(MediaError, match="2 frames is too short, it needs 3"):
        features.embed_clips(features.load("flow"), [clip(tone(16_000), 16_000, frames=2)])
