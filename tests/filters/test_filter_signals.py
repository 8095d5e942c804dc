"""One small decode of a clip, the same for all filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.errors import MediaError
from avbench.filters._signals import ClipSignals
from tests.filters.rendered import RATE, moving, noise, signals


def test_frames_are_small_and_slow_and_sound_is_whole(tmp_path: Path) -> None:
    video = np.repeat(moving(2, width=320, height=240), 3, axis=0)
    audio = noise(2)
    media.encode(tmp_path / "a.mp4", video, 30, audio, RATE, audio_codec="flac")
    got = ClipSignals.decode(tmp_path / "a.mp4")
    assert (got.width, got.height, got.fps, got.duration_s) == (320, 240, 10, 2.0)
    assert got.frames.shape == (20, 120, 160, 3)
    assert got.audio.shape == (1, 2 * RATE)
    np.testing.assert_allclose(got.audio, audio, atol=1e-4)
    # the square of frame k is where it was drawn at time k / 10
    bright = [int(np.argmax(frame[40, :, 0] > 180)) for frame in got.frames]
    np.testing.assert_allclose(bright, [(7 * k % 280) / 2 for k in range(20)], atol=2)


def test_a_small_slow_clip_is_not_blown_up(tmp_path: Path) -> None:
    media.encode(tmp_path / "a.mp4", moving(1, width=64, height=112)[:5], 5, noise(1), RATE)
    got = ClipSignals.decode(tmp_path / "a.mp4")
    assert (got.frames.shape, got.fps) == ((5, 112, 64, 3), 5)


def test_duration_is_what_both_streams_cover(tmp_path: Path) -> None:
    media.encode(tmp_path / "a.mp4", moving(2), 10, noise(1.5), RATE, audio_codec="flac")
    assert ClipSignals.decode(tmp_path / "a.mp4").duration_s == pytest.approx(1.5, abs=1e-3)


def test_a_clip_without_sound_has_empty_audio_and_without_picture_is_an_error(tmp_path: Path) -> None:
    media.encode(tmp_path / "mute.mp4", moving(1), 10, None, RATE)
    assert ClipSignals.decode(tmp_path / "mute.mp4").audio.shape == (0, 0)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"text.mp4"):
        ClipSignals.decode(tmp_path / "text.mp4")


def test_luma_is_rec_601() -> None:
    video = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]]], np.uint8)
    assert signals(video).luma.tolist() == [[[76, 150, 29, 255, 0]]]
