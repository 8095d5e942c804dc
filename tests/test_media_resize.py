"""Pictures resized as torchvision resizes them, bit for bit."""

from __future__ import annotations

from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from torchvision.transforms import InterpolationMode

from avbench import media
from avbench._media_resize import TORCH_RESIZES
from avbench.errors import MediaError
from avbench.media import Resize


def pictures(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def by_torchvision(video: np.ndarray, size: list[int], resize: str) -> torch.Tensor:
    mode = InterpolationMode.BICUBIC if "bicubic" in resize else InterpolationMode.BILINEAR
    frames = torch.from_numpy(video).permute(0, 3, 1, 2)
    if resize.endswith("floor"):
        return tv.resize(frames.float(), size, mode, antialias=True).floor().to(torch.uint8)
    return tv.resize(frames, size, mode, antialias=not resize.endswith("plain"))


def as_array(video: torch.Tensor) -> np.ndarray:
    return video.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("resize", TORCH_RESIZES)
@pytest.mark.parametrize(("height", "width"), [(120, 160), (37, 29), (64, 200), (48, 48)])
def test_stretch_equals_torchvision(resize: Resize, height: int, width: int) -> None:
    video = pictures(height, width)
    found = media.fit_frames(video, (48, 48), fit="stretch", resize=resize)
    np.testing.assert_array_equal(found, as_array(by_torchvision(video, [48, 48], resize)))


@pytest.mark.parametrize("resize", TORCH_RESIZES)
@pytest.mark.parametrize(("height", "width"), [(120, 160), (161, 97), (64, 201)])
def test_crop_rounds_the_longer_side_up_and_cuts_the_odd_row_behind(resize: Resize, height: int, width: int) -> None:
    video, short = pictures(height, width, 1), min(height, width)
    scaled = by_torchvision(video, [-(-height * 48 // short), -(-width * 48 // short)], resize)
    top, left = (scaled.shape[2] - 48) // 2, (scaled.shape[3] - 48) // 2
    wanted = scaled[:, :, top : top + 48, left : left + 48]
    np.testing.assert_array_equal(media.fit_frames(video, (48, 48), fit="crop", resize=resize), as_array(wanted))


@pytest.mark.parametrize(("height", "width"), [(90, 160), (161, 97), (240, 320)])
def test_letterbox_equals_torchvision_with_black_around(height: int, width: int) -> None:
    video = pictures(height, width, 2)
    long = max(height, width)
    inner = by_torchvision(video, [height * 64 // long, width * 64 // long], "torch-bicubic")
    top, left = (64 - inner.shape[2]) // 2, (64 - inner.shape[3]) // 2
    wanted = tv.pad(inner, [left, top, 64 - inner.shape[3] - left, 64 - inner.shape[2] - top])
    np.testing.assert_array_equal(media.fit_frames(video, (64, 64), resize="torch-bicubic"), as_array(wanted))


def test_every_name_gives_another_picture() -> None:
    video = pictures(120, 160, 3)
    names = (*TORCH_RESIZES, "bicubic", "bilinear")
    assert len({media.fit_frames(video, (48, 48), resize=resize).tobytes() for resize in names}) == len(names)


def test_a_film_is_resized_as_its_frames_are(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=1)
    frames = media.decode_video(path)
    found = media.decode_video(path, size=(50, 50), fit="crop", resize="torch-bilinear")
    np.testing.assert_array_equal(found, media.fit_frames(frames, (50, 50), fit="crop", resize="torch-bilinear"))


def test_picked_frames_are_those_of_the_whole(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=2)
    found = media.decode_video(path, picked=[0, 7, 30, 59])
    assert [beacon.number(picture) for picture in found] == [0, 7, 30, 59]
    with pytest.raises(MediaError, match=r"a\.mp4: frame 60 is wanted, but only 60 can be decoded"):
        media.decode_video(path, picked=[3, 60])


@pytest.mark.parametrize(("fps", "grid"), [(30, 10), (10, 10), (10, 30), (25, 10), (24, 30)])
def test_numbers_on_a_grid_are_the_frames_that_are_shown(fps: int, grid: int, tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", beacon.Fraction(fps), seconds=2)
    shown = [beacon.number(picture) for picture in media.decode_video(path, fps=grid)]
    assert media.frames_on_grid(2 * fps, fps, grid) == shown
