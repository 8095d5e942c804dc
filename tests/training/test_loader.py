"""The loader returns aligned windows, in an order that depends on the seed and the sample number alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.errors import UserError
from avbench.training.loader import WindowLoader, WindowSpec
from tests.training.rendered_sets import write_dataset

WINDOW = WindowSpec(frames=16, fps=10, size=8, samples=25600, sample_rate_hz=16000)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "toy")


def test_picture_and_sound_of_a_window_are_of_the_same_moment(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=3)
    batch = loader.batch(0, 8)
    assert batch.video.shape == (8, 16, 3, 8, 8)
    assert batch.video.dtype == torch.uint8
    assert batch.audio.shape == (8, 1, 25600)
    for video, audio, name in zip(batch.video, batch.audio, batch.ids, strict=True):
        clip, start = name.split("@")
        number = int(clip[1])
        assert video[0, 0, 0, 0] == 10 * number + int(start)
        assert audio[0, 0] == pytest.approx(number + int(start) / 10 / 100, abs=1e-6)


def test_every_clip_is_shown_once_per_epoch(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=3)
    for epoch in range(4):
        shown = Counter(loader.sample(g)[2].split("@")[0] for g in range(3 * epoch, 3 * epoch + 3))
        assert set(shown.values()) == {1}
        assert len(shown) == 3


def test_batches_do_not_depend_on_batch_size(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=3)
    large, small = loader.batch(0, 6), [loader.batch(i, 2) for i in range(3)]
    assert large.ids == tuple(name for b in small for name in b.ids)
    assert torch.equal(large.audio, torch.cat([b.audio for b in small]))
    assert loader.batch(0, 6).ids != WindowLoader(root, "train", WINDOW, seed=4).batch(0, 6).ids


def test_start_frames_cover_the_clip_to_its_last_window(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=3)
    starts = {int(loader.sample(g)[2].split("@")[1]) for g in range(400)}
    assert min(starts) == 0
    assert max(starts) == 40 - 16


def test_tiles_are_whole_windows_without_overlap(root: Path) -> None:
    tiles = WindowLoader(root, "train", WINDOW, seed=3).tiles()
    assert tiles == [(row, start) for row in range(3) for start in (0, 16)]


def test_a_larger_view_is_averaged_down(root: Path) -> None:
    half = WindowSpec(16, 10, 4, 25600, 16000)
    video, _ = WindowLoader(root, "train", half, seed=3).window_at(1, 5)
    assert video.shape == (16, 4, 4, 3)
    assert np.all(video[0] == 15)


@pytest.mark.parametrize(
    ("window", "word"),
    [
        (WindowSpec(16, 12, 8, 21333, 16000), "12 fps"),
        (WindowSpec(16, 10, 3, 25600, 16000), "view.size = 3"),
        (WindowSpec(16, 10, 8, 35280, 22050), "22050 Hz"),
        (WindowSpec(64, 10, 8, 102400, 16000), "64; take a shorter window"),
        (WindowSpec(16, 10, 8, 25000, 16000), "set samples = 25600"),
    ],
)
def test_a_view_that_does_not_suit_is_refused_with_the_way_out(root: Path, window: WindowSpec, word: str) -> None:
    with pytest.raises(UserError, match=word):
        WindowLoader(root, "train", window, seed=0)


def test_an_empty_split_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="'test' holds no clip"):
        WindowLoader(root, "test", WINDOW, seed=0)
