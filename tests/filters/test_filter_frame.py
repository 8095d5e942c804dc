"""Bars, motion and blur of rendered pictures whose answer is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from avbench import media
from avbench.filters import blur, letterbox, motion
from avbench.filters._signals import N_STILLS, ClipSignals, middles
from avbench.recipe import SegmentRecipe
from tests.filters.rendered import FPS, RATE, moving, noise, signals


def texture(seed: int = 0, *, height: int = 180, width: int = 320) -> np.ndarray:
    """uint8 (1, H, W, 3): noise at every scale."""
    rng = np.random.default_rng(seed)
    return rng.integers(30, 226, (1, height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "share"),
    [(160, 90, 0.0), (120, 90, 0.25), (50, 90, 0.6875), (160, 66, 0.267), (120, 68, 0.433)],
)
def test_bars_are_their_share_of_the_frame(width: int, height: int, share: float) -> None:
    video = np.zeros((4, 90, 160, 3), np.uint8)
    top, left = (90 - height) // 2, (160 - width) // 2
    video[:, top : top + height, left : left + width] = 120
    assert letterbox.Filter().measure(signals(video)) == pytest.approx(share, abs=0.001)


def test_bars_of_the_recording_and_bars_of_the_cutter_are_counted_once(tmp_path: Path) -> None:
    # a square recording with bars above and below of its own, cut into a 16:9 frame
    video = np.repeat(np.repeat(moving(3, width=160, height=80), 3, axis=0)[:90], 1, axis=0)
    square = np.zeros((len(video), 160, 160, 3), np.uint8)
    square[:, 40:120] = video
    media.encode(tmp_path / "square.mp4", square, 30, noise(3), RATE)
    recipe = SegmentRecipe(clip_s=2, lead_s=0, width=320, height=180, sample_rate_hz=RATE, channels=1)
    media.cut(tmp_path / "square.mp4", tmp_path / "clip.mp4", 0, recipe)
    value = letterbox.Filter().measure(ClipSignals.decode(tmp_path / "clip.mp4"))
    assert value == pytest.approx(1 - (90 * 180) / (180 * 320), abs=0.02)


def test_a_black_clip_is_all_bars_and_has_neither_motion_nor_detail() -> None:
    clip = signals(np.zeros((20, 90, 160, 3), np.uint8))
    assert letterbox.Filter().measure(clip) == 1
    assert motion.Filter().measure(clip) == 0
    assert blur.Filter().measure(clip) == 0


def test_motion_is_the_mean_change_of_brightness_per_step() -> None:
    levels = 100 + 3 * np.arange(20)  # 3 levels per frame at 10 fps: 6 per step of 0.2 s
    video = np.broadcast_to(levels[:, None, None, None], (20, 90, 160, 3)).astype(np.uint8)
    assert motion.Filter().measure(signals(video)) == pytest.approx(6)
    assert motion.Filter(step_s=0.1).measure(signals(video)) == pytest.approx(3)
    assert motion.Filter().measure(signals(video[::2], fps=5)) == pytest.approx(6), "does not depend on the frame rate"


def test_bars_and_flicker_of_single_pixels_do_not_count_as_motion() -> None:
    video = moving(3, width=160, height=90 + 20)[:, 20:]
    barred = np.zeros((len(video), 180, 160, 3), np.uint8)
    barred[:, 45:135] = video
    assert motion.Filter().measure(signals(barred)) == pytest.approx(motion.Filter().measure(signals(video)), rel=0.05)
    flicker = np.repeat(texture(height=90, width=160) // 2 + 60, 20, axis=0)
    flicker += np.random.default_rng(1).integers(0, 3, flicker.shape, np.uint8)
    assert motion.Filter().measure(signals(flicker)) < 0.5 < motion.Filter().measure(signals(video))


def test_detail_falls_with_every_octave_of_blur() -> None:
    sharp = np.repeat(texture(), 10, axis=0)
    values = [
        blur.Filter().measure(signals(np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in sharp])))
        for sigma in (0.5, 1, 2, 4)
    ]
    # at last only the rounding to grey levels is left
    assert values[0] > 10 * values[1] > 100 * values[2], values
    assert values[2] > values[3], values
    assert values[1] > blur.Filter().min_variance > values[3], values


def test_variance_of_the_laplacian_has_its_closed_form_on_a_checkerboard() -> None:
    # each pixel differs from its four neighbours by 100: the Laplacian is +-400 everywhere (borders reflect)
    board = 50 + 100 * (np.indices((90, 160)).sum(axis=0) % 2)
    video = np.broadcast_to(board[None, :, :, None], (10, 90, 160, 3)).astype(np.uint8)
    assert blur.Filter().measure(signals(video)) == pytest.approx(400**2)


def test_bars_neither_sharpen_nor_dilute_a_picture() -> None:
    picture = np.repeat(cv2.GaussianBlur(texture()[0], (0, 0), 3)[None], 10, axis=0)
    barred = np.zeros((10, 240, 320, 3), np.uint8)
    barred[:, 30:210] = picture
    assert blur.Filter().measure(signals(barred)) == pytest.approx(blur.Filter().measure(signals(picture)), rel=0.05)


def test_one_still_in_focus_does_not_save_a_blurred_clip() -> None:
    video = np.repeat(np.full((1, 180, 320, 3), 90, np.uint8), 40, axis=0)
    video[10:15] = texture()
    assert blur.Filter().measure(signals(video)) == 0


def test_stills_have_the_clips_own_size_and_come_with_the_one_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media.encode(tmp_path / "a.mp4", moving(4, width=320, height=180), FPS, noise(4), RATE)
    decoded = media.decode_video(tmp_path / "a.mp4", picked=middles(40))
    monkeypatch.setattr(media, "decode_video", None)
    clip = ClipSignals.decode(tmp_path / "a.mp4")
    assert clip.stills.shape == (N_STILLS, 180, 320, 3)
    np.testing.assert_array_equal(clip.stills, decoded)
    # the square of frame k is where it was drawn at time k / 10: the middle frames of eight equal parts
    bright = [int(np.argmax(still[80, :, 0] > 180)) for still in clip.stills]
    np.testing.assert_allclose(bright, [7 * k % 280 for k in (2, 7, 12, 17, 22, 27, 32, 37)], atol=2)


def test_a_clip_of_three_frames_has_three_stills() -> None:
    assert len(signals(moving(0.3)).stills) == 3
