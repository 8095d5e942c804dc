"""motion, loudness and onset_rate: one known number per clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avbench import features
from avbench.errors import MediaError


def number(name: str, clip: np.ndarray) -> float:
    values = features.load(name).embed(clip[None]).values
    assert values.shape == (1, 1)
    return float(values[0, 0])


def panning(dx: float, frames: int = 5) -> np.ndarray:
    """A texture that moves to the right by dx pixels each frame: uint8 (T, 64, 64, 3)."""
    noise = np.random.default_rng(0).uniform(0, 1, (256, 256))
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    moved = [np.roll(texture, round(t * dx), axis=1)[:64, :64] for t in range(frames)]
    return np.stack(moved)[..., None].repeat(3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("speed", [1, 2, 3])
def test_a_pan_moves_as_fast_as_it_does(speed: int) -> None:
    assert number("motion", panning(speed)) == pytest.approx(speed, rel=0.05)


def test_a_still_clip_does_not_move_and_pauses_count() -> None:
    assert number("motion", panning(0)) == 0
    assert number("motion", panning(2)[[0, 0, 1, 1, 2]]) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("level", [-14, -23, -40])
def test_a_1_khz_tone_is_as_loud_as_the_standard_says(level: float) -> None:
    """BS.1770: a tone of 997 Hz in one channel at full scale is -3.01 LUFS."""
    time_s = np.arange(2 * 48_000) / 48_000
    tone = 10 ** (level / 20) * np.sin(2 * np.pi * 997 * time_s)
    assert number("loudness", tone.astype(np.float32)) == pytest.approx(level - 3.01, abs=0.02)


def test_silence_is_a_number_for_both_sound_features() -> None:
    assert number("loudness", np.zeros(48_000, np.float32)) == -70
    assert number("onset_rate", np.zeros(22_050, np.float32)) == 0


@pytest.mark.parametrize("count", [2, 4, 8])
def test_clicks_are_counted_per_second(count: int) -> None:
    sound = np.zeros(2 * 22_050, np.float32)
    rng = np.random.default_rng(0)
    for k in range(count):
        start = round((k + 0.5) * len(sound) / count)
        sound[start : start + 600] = rng.uniform(-1, 1, 600) * np.linspace(1, 0, 600)
    assert number("onset_rate", sound) == pytest.approx(count / 2)


def test_a_single_frame_and_less_than_a_block_are_refused() -> None:
    with pytest.raises(MediaError, match="1 frames is too short, it needs 2"):
        number("motion", panning(1, frames=1))
    with pytest.raises(MediaError, match=r"19199 samples is too short, it needs 19200 \(0.4 s at 48000 Hz\)"):
        number("loudness", np.zeros(19_199, np.float32))
