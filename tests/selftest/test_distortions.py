"""Each distortion: nothing at strength 0, and exactly what it says at others."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.metrics._base import ClipSignals
from avbench.selftest.distortions import DISTORTIONS, Distortion, Excerpt, seconds_needed

FPS, RATE, FRAMES = 10.0, 8000, 16
BY_NAME = {distortion.name: distortion for distortion in DISTORTIONS}


@pytest.fixture(scope="module")
def excerpt() -> Excerpt:
    """Frames that are told apart by their grey, mid-grey noise, and a sound whose samples count up."""
    seconds = seconds_needed(FRAMES / FPS)
    frames = round(seconds * FPS)
    rng = np.random.default_rng(0)
    video = (
        rng.integers(80, 90, (frames, 64, 80, 3)).astype(np.uint8)
        + np.arange(frames, dtype=np.uint8)[:, None, None, None]
    )
    audio = np.linspace(0.1, 0.9, round(seconds * RATE), dtype=np.float32)[None]
    return Excerpt(ClipSignals(video, FPS, audio, RATE), FRAMES)


def distorted(excerpt: Excerpt, name: str, strength: float, seed: int = 1) -> ClipSignals:
    return BY_NAME[name].apply(excerpt, strength, np.random.default_rng(seed))


def changed(excerpt: Excerpt, found: ClipSignals) -> tuple[np.ndarray, np.ndarray]:
    """Frames and samples that differ from the window's own."""
    clean = excerpt.window()
    return (found.video != clean.video).any(axis=(1, 2, 3)), (found.audio != clean.audio)[0]


def test_there_are_ten_rising_strengths_of_each() -> None:
    for distortion in DISTORTIONS:
        assert len(distortion.strengths) == 10
        assert distortion.strengths[0] > 0
        assert np.all(np.diff(distortion.strengths) > 0)
    assert BY_NAME["offset"].strengths[-1] == 2.0


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_strength_zero_is_the_clip(distortion: Distortion, excerpt: Excerpt) -> None:
    found = distortion.apply(excerpt, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(found.video, excerpt.window().video)
    np.testing.assert_array_equal(found.audio, excerpt.window().audio)


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_shape_type_and_the_other_stream_stay(distortion: Distortion, excerpt: Excerpt) -> None:
    clean = excerpt.window()
    before = excerpt.signals.video.copy(), excerpt.signals.audio.copy()
    for strength in distortion.strengths:
        found = distortion.apply(excerpt, strength, np.random.default_rng(0))
        assert (found.video.shape, found.video.dtype) == (clean.video.shape, clean.video.dtype)
        assert (found.audio.shape, found.audio.dtype) == (clean.audio.shape, clean.audio.dtype)
        frames, samples = changed(excerpt, found)
        assert frames.any() == ("video" in distortion.acts_on)
        assert samples.any() == ("audio" in distortion.acts_on)
    np.testing.assert_array_equal(excerpt.signals.video, before[0], "the excerpt itself is not touched")
    np.testing.assert_array_equal(excerpt.signals.audio, before[1])


def test_noise_has_the_deviation_it_says(excerpt: Excerpt) -> None:
    added = distorted(excerpt, "noise", 8).video.astype(float) - excerpt.window().video
    assert added.std() == pytest.approx(np.hypot(8, np.sqrt(1 / 12)), rel=0.02)  # and the rounding to whole grey levels
    assert added.mean() == pytest.approx(0, abs=0.2)
    stronger = distorted(excerpt, "noise", 16).video.astype(float) - excerpt.window().video
    assert np.corrcoef(added.ravel(), stronger.ravel())[0, 1] > 0.99, "a stronger noise is more of the same noise"


def test_blur_keeps_a_flat_picture_and_spreads_a_point_by_its_deviation() -> None:
    video = np.full((FRAMES, 100, 100, 3), 20, np.uint8)
    video[3, 50, 50] = 255
    excerpt = Excerpt(ClipSignals(video, FPS, np.zeros((1, RATE * 4), np.float32), RATE), FRAMES)
    found = distorted(excerpt, "blur", 3).video
    np.testing.assert_array_equal(found[0], video[0])
    assert found[3, 50, 50, 0] == pytest.approx(20 + 235 / (2 * np.pi * 3**2), abs=1.5)  # 3 % of 100 px


def test_freeze_repeats_the_frame_before(excerpt: Excerpt) -> None:
    clean = excerpt.window().video
    found = distorted(excerpt, "freeze", 0.5).video
    np.testing.assert_array_equal(found[:8], clean[:8])
    assert all(np.array_equal(frame, clean[7]) for frame in found[8:])
    whole = distorted(excerpt, "freeze", 1.0).video
    assert all(np.array_equal(frame, clean[0]) for frame in whole)


def test_shuffle_moves_just_the_share_and_loses_no_frame(excerpt: Excerpt) -> None:
    clean = excerpt.window().video
    for share, moved in ((0.25, 4), (0.5, 8), (1.0, 16)):
        found = distorted(excerpt, "shuffle", share).video
        assert changed(excerpt, distorted(excerpt, "shuffle", share))[0].sum() == moved
        assert sorted(frame.tobytes() for frame in found) == sorted(frame.tobytes() for frame in clean)


def test_mute_silences_one_piece_of_the_share(excerpt: Excerpt) -> None:
    silent = distorted(excerpt, "mute", 0.3).audio[0] == 0
    assert silent.sum() == round(0.3 * excerpt.samples)
    assert (np.diff(silent.astype(int)) != 0).sum() <= 2, "one piece"
    assert (distorted(excerpt, "mute", 1.0).audio == 0).all()


def test_hiss_has_the_level_it_says(excerpt: Excerpt) -> None:
    added = distorted(excerpt, "hiss", 0.01).audio - excerpt.window().audio
    assert added.std() == pytest.approx(0.01, rel=0.03)
    assert np.abs(distorted(excerpt, "hiss", 0.256).audio).max() <= 1


def test_offset_hears_what_comes_later(excerpt: Excerpt) -> None:
    for seconds in (0.2, 1.0, 2.0):
        found, late = distorted(excerpt, "offset", seconds), round(seconds * RATE)
        np.testing.assert_array_equal(found.audio, excerpt.signals.audio[:, late : late + excerpt.samples])


def test_a_faster_picture_shows_the_frame_of_its_time(excerpt: Excerpt) -> None:
    double = distorted(excerpt, "faster-picture", 1.0)
    np.testing.assert_array_equal(double.video, excerpt.signals.video[: 2 * FRAMES : 2])
    half = distorted(excerpt, "faster-picture", 0.5).video
    np.testing.assert_array_equal(half, excerpt.signals.video[[k * 3 // 2 for k in range(FRAMES)]])


def test_faster_raises_the_pitch_and_keeps_sound_with_picture() -> None:
    frames, samples = round(3.6 * FPS), round(3.6 * RATE)
    t = np.arange(samples) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)[None]
    excerpt = Excerpt(ClipSignals(np.zeros((frames, 8, 8, 3), np.uint8), FPS, tone, RATE), FRAMES)
    for gain in (0.3, 0.5, 1.0):
        found = distorted(excerpt, "faster", gain).audio[0]
        expected = 0.5 * np.sin(2 * np.pi * 500 * (1 + gain) * np.arange(excerpt.samples) / RATE)
        np.testing.assert_allclose(found[1000:-1000], expected[1000:-1000], atol=2e-3)


def test_the_same_seed_gives_the_same_bytes(excerpt: Excerpt) -> None:
    for name in ("noise", "shuffle", "mute", "hiss"):
        strength = BY_NAME[name].strengths[4]
        one, two, other = (distorted(excerpt, name, strength, seed) for seed in (1, 1, 2))
        assert one.video.tobytes() + one.audio.tobytes() == two.video.tobytes() + two.audio.tobytes()
        assert one.video.tobytes() + one.audio.tobytes() != other.video.tobytes() + other.audio.tobytes()


def test_a_stream_that_is_not_there_stays_away(excerpt: Excerpt) -> None:
    whole = excerpt.signals
    deaf = Excerpt(ClipSignals(whole.video, FPS, np.zeros((1, 0), np.float32), RATE), FRAMES)
    blind = Excerpt(ClipSignals(np.zeros((0, 8, 8, 3), np.uint8), FPS, whole.audio, RATE), FRAMES)
    assert distorted(deaf, "faster", 0.5).video.shape == excerpt.window().video.shape
    assert distorted(blind, "faster", 0.5).audio.shape == excerpt.window().audio.shape
