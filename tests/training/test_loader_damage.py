"""A damaged shard ends in one sentence with its name and a way out, never in a signal and never in a batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.training.loader import WindowLoader, WindowSpec
from tests.training.rendered_sets import write_dataset

WINDOW = WindowSpec(frames=16, fps=10, size=8, samples=25600, sample_rate_hz=16000)
SHARD = "train-00000.tar"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "toy")


def cut_off(shard: Path) -> None:
    os.truncate(shard, shard.stat().st_size - 1)


def grown(shard: Path) -> None:
    with open(shard, "ab") as stream:
        stream.write(b"x")


def unnamed(shard: Path) -> None:
    card = shard.with_name("DATASET.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "shards": []}))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (cut_off, r"has \d+ bytes, DATASET.json says \d+"),
        (grown, r"has \d+ bytes, DATASET.json says \d+"),
        (Path.unlink, "is not there"),
        (unnamed, "does not name this shard"),
    ],
)
def test_a_shard_that_is_not_the_one_of_the_dataset_is_refused_at_the_start(
    root: Path, damage: Callable[[Path], None], word: str
) -> None:
    damage(root / "shards" / SHARD)
    with pytest.raises(UserError, match=rf"{SHARD}: .*{word}.*; copy it again .* build-dataset"):
        WindowLoader(root, "train", WINDOW, seed=0)


def test_a_shard_of_the_same_size_with_other_content_is_refused(root: Path) -> None:
    shard = root / "shards" / SHARD
    data = np.frombuffer(shard.read_bytes(), np.uint8)
    shard.write_bytes(np.roll(data, 1).tobytes())
    loader = WindowLoader(root, "train", WINDOW, seed=0)
    with pytest.raises(UserError, match=rf"{SHARD}: damaged: the picture of c\d_0000 does not begin where"):
        loader.batch(0, 1)


def test_a_shard_cut_off_while_it_is_read_is_an_error_and_no_signal(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=0)
    loader.batch(0, 3)
    os.truncate(root / "shards" / SHARD, 10_000)
    with pytest.raises(UserError, match=f"{SHARD}: has changed since it was opened"):
        loader.batch(1, 3)


def test_a_dataset_built_again_while_it_is_read_is_not_read_at_the_old_places(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=0)
    shard = root / "shards" / SHARD
    stat, data = shard.stat(), shard.read_bytes()
    os.replace(root / "shards", root / "before")
    shard.parent.mkdir()
    shard.write_bytes(data[::-1])
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(UserError, match="has changed"):
        loader.batch(0, 1)


def test_a_read_that_reaches_past_the_end_is_an_error(root: Path) -> None:
    loader = WindowLoader(root, "train", WINDOW, seed=0)
    with pytest.raises(UserError, match=rf"{SHARD}: damaged: it ends before byte"):
        loader._files.read(SHARD, ((root / "shards" / SHARD).stat().st_size - 5, np.empty(10, np.uint8)))
