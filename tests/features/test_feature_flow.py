"""flow: amount, direction, place and steadiness of a motion that is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avbench import features

AMOUNT, WAY, PLACE, STEPS = slice(0, 6), slice(6, 14), slice(14, 18), slice(18, 24)


def row(clip: np.ndarray) -> np.ndarray:
    """The 24 numbers without their logarithm."""
    return np.expm1(features.load("flow").embed(clip[None]).values[0].astype(np.float64))


def panning(dx: int, dy: int, frames: int = 6, side: int = 64) -> np.ndarray:
    """A texture that moves by (dx, dy) pixels each frame, x to the right and y down."""
    noise = np.random.default_rng(0).uniform(0, 1, (256, 256))
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2 * side / 64), None, 0, 255, cv2.NORM_MINMAX)
    moved = [np.roll(texture, (t * dy, t * dx), axis=(0, 1))[:side, :side] for t in range(frames)]
    return np.stack(moved)[..., None].repeat(3, axis=-1).astype(np.uint8)


def test_a_still_clip_is_all_zeros() -> None:
    assert not row(panning(0, 0)).any()


@pytest.mark.parametrize(
    ("dx", "dy", "sector"),
    [(1, 0, 0), (2, 0, 0), (2, -2, 1), (0, -2, 2), (-2, -2, 3), (-1, 0, 4), (-2, 2, 5), (0, 1, 6), (1, 1, 7)],
)
def test_a_pan_shows_its_speed_and_direction(dx: int, dy: int, sector: int) -> None:
    found = row(panning(dx, dy))
    speed = np.hypot(dx, dy)
    np.testing.assert_allclose(found[AMOUNT], speed, rtol=0.08)
    np.testing.assert_allclose(found[PLACE], speed, rtol=0.03)
    np.testing.assert_allclose(found[WAY], speed * np.eye(8)[sector], atol=0.02)
    mean, deviation, least, most, change, turning = found[STEPS]
    np.testing.assert_allclose([mean, least, most], speed, rtol=0.03)
    assert max(deviation, change, turning) < 0.05


def test_motion_in_one_quarter_is_found_there() -> None:
    clip = panning(0, 0)
    clip[:, 32:, :32] = panning(1, 0)[:, 32:, :32]
    place = row(clip)[PLACE]
    assert place.argmax() == 2
    assert place[2] > 5 * np.delete(place, 2).max()


def test_a_jerk_is_less_steady_than_a_pan() -> None:
    jerk = panning(1, 0, frames=10)[[0, 3, 3, 6, 6, 9]]
    mean, deviation, least, most, change, turning = row(jerk)[STEPS]
    assert (least, most) == (0, pytest.approx(3, rel=0.05))
    assert mean == pytest.approx(3 * 3 / 5, rel=0.05)
    assert deviation == pytest.approx(np.std([3, 0, 3, 0, 3]), rel=0.05)
    assert change == pytest.approx(3, rel=0.05)
    assert turning == pytest.approx(3, rel=0.05)


def test_turning_back_shows_although_the_speed_is_steady() -> None:
    back = panning(1, 0, frames=3)[[0, 1, 0, 1, 0]]
    _, deviation, _, _, _, turning = row(back)[STEPS]
    assert deviation < 0.05
    assert turning == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(row(back)[WAY][[0, 4]], 0.5, atol=0.03)


def test_the_size_of_the_picture_does_not_matter() -> None:
    small, large = row(panning(1, 0, side=64)), row(panning(2, 0, side=128))
    np.testing.assert_allclose(large, small, atol=0.06)


def test_the_number_of_threads_does_not_matter() -> None:
    clip = panning(3, 1)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = row(clip)
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(row(clip), one)
    finally:
        cv2.setNumThreads(before)
