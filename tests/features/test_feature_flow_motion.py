"""Motion: the mean flow of pictures that move in known ways."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.features import _flow_motion
from avbench.features._flow_motion import motion
from tests.events import jolts


def test_motion_is_the_mean_flow_of_each_step() -> None:
    curve = motion(jolts([5], 10))
    assert len(curve) == 10
    assert np.argmax(curve) == 5
    assert np.count_nonzero(np.array(curve) > 1e-3) == 1
    first, second, *_ = motion(jolts([1], 4))
    assert first == second > 0  # frame 0 repeats the first step


def test_motion_of_a_moving_picture_is_its_speed() -> None:
    rng = np.random.default_rng(1)
    wide = rng.integers(0, 256, (12, 40)).repeat(8, 0).repeat(8, 1).astype(np.uint8)[..., None].repeat(3, -1)
    curve = motion([wide[:, 2 * i : 2 * i + 96] for i in range(5)])
    assert curve == pytest.approx([2.0] * 5, rel=0.15)


def test_equal_flow_has_equal_motion_wherever_it_lies_in_memory() -> None:
    rng = np.random.default_rng(3)
    held = []
    for shape in ((60, 80), (61, 83), (120, 160)):
        for flow in rng.standard_normal((6, *shape, 2)).astype(np.float32):
            found = set()
            for _ in range(30):
                held.append(np.empty(rng.integers(1, 100_000), np.uint8))  # what is allocated next lies elsewhere
                found.add(_flow_motion._mean_length(flow))
            assert len(found) == 1


@pytest.mark.parametrize("n_frames", [0, 1, 2])
def test_a_single_frame_has_no_motion(n_frames: int) -> None:
    assert len(motion(jolts([1], n_frames))) == (n_frames if n_frames > 1 else 0)


def test_red_and_blue_are_told_apart() -> None:
    # the luma of red is 0.3, of blue 0.11: a swap of channels would change the flow found
    flat = jolts([2], 4)
    red, blue = flat * np.array([1, 0, 0], np.uint8), flat * np.array([0, 0, 1], np.uint8)
    assert motion(red) != motion(blue)
    assert motion(red) == pytest.approx(motion(np.round(red[..., :1] * 0.299).astype(np.uint8).repeat(3, -1)), rel=0.05)
