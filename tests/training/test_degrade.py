"""The defects that super-resolution learns from: as likely and as strong as stated, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import torch

from avbench.training.degrade import QUALITY, degrade, shrink


def _generators(first: int, count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


def _pictures(count: int = 1, size: int = 32) -> torch.Tensor:
    """Soft coloured slopes: JPEG and interpolation change them little, so that what is added shows."""
    across = torch.linspace(60, 200, size)
    red, green = across.expand(size, size), across.expand(size, size).T
    return torch.stack([red, green, 0.5 * (red + green)]).round().to(torch.uint8).expand(count, 3, size, size)


def _difference(count: int) -> np.ndarray:
    """What is added to each of many small pictures, grey levels (N, 3, 8, 8)."""
    plain = shrink(_pictures()[0].permute(1, 2, 0).numpy(), 8).transpose(2, 0, 1)
    return (degrade(_pictures(count), 8, _generators(0, count)).numpy() + 1) * 127.5 - plain


def test_shrinking_is_cubic_without_a_filter() -> None:
    """At a quarter of the size a value depends on four of the large ones around its centre, and on no others."""
    line = np.zeros((16, 16, 3), np.float32)
    line[:, 6] = 1.0  # the second of the four taps of small column 1, whose centre lies at 5.5
    small = shrink(line, 4)
    tap = 1.25 * 0.5**3 - 2.25 * 0.5**2 + 1  # the kernel with a = -0.75, half a pixel away
    np.testing.assert_allclose(small[0, :, 0], [0, tap, 0, 0], atol=1e-6)


def test_half_of_the_pictures_get_noise_of_up_to_twenty_grey_levels_and_half_are_compressed() -> None:
    count = 2000
    found = _difference(count)
    unchanged = np.abs(found).max(axis=(1, 2, 3)) < 1e-3
    assert abs(unchanged.mean() - 0.25) < 0.04  # neither, sd 0.0097
    whole = np.abs(found - np.rint(found)).max(axis=(1, 2, 3)) < 1e-3
    assert abs(whole.mean() - 0.75) < 0.04  # all but those with noise and without JPEG
    noisy = found[~whole].std(axis=(1, 2, 3))
    assert noisy.max() < 23
    assert abs(noisy.mean() - 10) < 0.6  # mean of U(0, 20), sd 0.26


def test_noise_reaches_beyond_the_grey_levels_and_jpeg_ends_there() -> None:
    bright = torch.full((200, 3, 16, 16), 255, dtype=torch.uint8)
    small = degrade(bright, 8, _generators(0, 200))
    beyond = small.amax((1, 2, 3)) > 1
    whole = ((small + 1) * 127.5 - ((small + 1) * 127.5).round()).abs().amax((1, 2, 3)) < 1e-3
    assert beyond.any()
    assert not (beyond & whole).any()


def test_jpeg_keeps_red_red() -> None:
    red = torch.zeros(200, 3, 32, 32, dtype=torch.uint8)
    red[:, 0] = 200
    small = (degrade(red, 8, _generators(0, 200)) + 1) * 127.5
    mean = small.mean((2, 3))
    assert (mean[:, 0] - 200).abs().max() < 12
    assert mean[:, 1:].abs().max() < 12
    assert QUALITY == (20, 80)


def test_a_picture_depends_on_its_own_generator_alone() -> None:
    pictures = _pictures(6)
    whole = degrade(pictures, 8, _generators(10, 6))
    parts = torch.cat([degrade(pictures[:2], 8, _generators(10, 2)), degrade(pictures[2:], 8, _generators(12, 4))])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, degrade(pictures, 8, _generators(11, 6)))
