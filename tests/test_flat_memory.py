"""What a process repeats for a day must not add up: reading checkpoints and weights, files written anew."""

from __future__ import annotations

import gc
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avbench import checkpoint, weights
from avbench.inputs.files import quick_sha256
from avbench.inputs.shards import members

TENSORS, TIMES = 200, 5


def kept(work: Callable[[int], object]) -> int:
    """Blocks of memory that Python holds after `work` was done ``TIMES`` times more than before."""
    for turn in range(2):  # libraries load, caches fill
        work(turn)
    gc.collect()
    before = sys.getallocatedblocks()
    for turn in range(TIMES):
        work(2 + turn)
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.fixture
def many_tensors(tmp_path: Path) -> Path:
    """A checkpoint's file of many small tensors."""
    path = tmp_path / "step-00000001" / "ema.safetensors"
    path.parent.mkdir()
    save_file({f"layer.{number}": torch.full((3,), float(number)) for number in range(TENSORS)}, path)
    return path


def test_reading_a_checkpoint_again_keeps_nothing(many_tensors: Path) -> None:
    found = checkpoint.Checkpoint(many_tensors.parent, 1, {})
    assert found.weights("ema")["layer.7"].tolist() == [7.0, 7.0, 7.0]
    assert kept(lambda _: found.weights("ema")) < TIMES * TENSORS


def test_reading_published_weights_again_keeps_nothing(many_tensors: Path) -> None:
    assert len(weights.read_tensors(many_tensors)) == TENSORS
    assert kept(lambda _: weights.read_tensors(many_tensors)) < TIMES * TENSORS


def test_tensors_that_were_read_do_not_change_with_the_file(many_tensors: Path) -> None:
    tensors = checkpoint.load_tensors(many_tensors)
    many_tensors.write_bytes(bytes(many_tensors.stat().st_size))
    assert tensors["layer.9"].tolist() == [9.0, 9.0, 9.0]


def test_of_a_file_that_is_written_anew_only_the_last_digest_is_kept(tmp_path: Path) -> None:
    paths = [tmp_path / f"sample-{number}.npz" for number in range(100)]

    def rewrite(turn: int) -> list[str]:
        for path in paths:
            path.write_bytes(bytes([turn]))
            os.utime(path, ns=(turn * 10**9, turn * 10**9))
        return [quick_sha256(path) for path in paths]

    assert rewrite(0) != rewrite(1)
    assert kept(rewrite) < TIMES * len(paths)


def test_of_a_shard_that_is_written_anew_only_the_last_index_is_kept(tmp_path: Path) -> None:
    shard = tmp_path / "test-00000.tar"
    clip = tmp_path / "clip"

    def rewrite(turn: int) -> int:
        clip.write_bytes(bytes(turn))
        with tarfile.open(shard, "w") as archive:
            for number in range(200):
                archive.add(clip, f"clip-{number}.mp4")
        return members(shard)["clip-199"]["mp4"].size

    assert (rewrite(3), rewrite(5)) == (3, 5)
    assert kept(rewrite) < TIMES * 200
