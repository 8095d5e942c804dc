"""Frames of a dataset: read from the view where it is large enough, decoded from the archive clips where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.curate.build import Build
from avbench.errors import UserError
from avbench.training.archive import ArchiveReader
from avbench.training.frames import FrameLoader
from tests.training.rendered_sets import write_dataset

RECIPE = """
[segment]
clip_s = 2.0
lead_s = 0.5
fps = 30
width = 96
height = 64
sample_rate_hz = 16000
channels = 1

[view]
size = 16

[shard]
train = 1.0
validation = 0.0
test = 0.0
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered sources through the ordinary stages; the view is smaller than what is asked for here."""
    folder = tmp_path_factory.mktemp("frames")
    query = "kind=impacts&seconds=5&width=96&height=64&bodies=2&seed="
    (folder / "sources.csv").write_text("id,url\n" + "".join(f"s{i},synthetic:{query}{i}\n" for i in (3, 8)))
    (folder / "recipe.toml").write_text(RECIPE)
    build = Build.open(str(folder / "sources.csv"), out=folder / "out", recipe=str(folder / "recipe.toml"))
    with build.lock():
        for stage in ("download", "segment", "filter", "shard"):
            assert not build.stage(stage, 1).failed
    return folder / "out"


def test_a_view_of_a_multiple_is_read_and_averaged(tmp_path: Path) -> None:
    loader = FrameLoader(write_dataset(tmp_path / "set"), "train", 4, seed=1)
    batch = loader.batch(0, 3)
    assert loader.source == "view"
    assert batch.video.shape == (3, 1, 3, 4, 4)
    assert batch.audio.shape == (3, 1, 0)
    levels = [10 * int(name[1]) + int(name.split("@")[1]) for name in batch.ids]
    assert batch.video[:, 0, 0, 0, 0].tolist() == levels
    assert len({name.split("@")[0] for name in batch.ids}) == 3


def test_a_dataset_of_smaller_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its clips are 8 x 8 px, the model learns from 16 px; build the dataset"):
        FrameLoader(write_dataset(tmp_path / "set"), "train", 16, seed=1)
    with pytest.raises(UserError, match="the split 'test' holds no clip"):
        FrameLoader(tmp_path / "set", "test", 4, seed=1)


@pytest.mark.slow
def test_frames_of_archive_clips_are_those_of_the_decoded_clip(root: Path) -> None:
    loader = FrameLoader(root, "train", 96, seed=1)
    assert loader.source == "archive"
    batch = loader.batch(3, 4)
    reader = ArchiveReader(root, "train")
    rows = {clip: row for row, clip in enumerate(reader.rows["clip_id"])}
    for frame, name in zip(batch.video[:, 0], batch.ids, strict=True):
        clip, number = name.split("@")
        whole, _ = reader.read(rows[clip], size=(96, 96))
        np.testing.assert_array_equal(frame.permute(1, 2, 0).numpy(), whole[int(number)])
    assert not batch.video[:, :, :, :16].any()  # letterboxed


@pytest.mark.slow
def test_a_frame_depends_on_its_number_in_the_run_alone(root: Path) -> None:
    whole = FrameLoader(root, "train", 48, seed=1).batch(1, 4)
    parts = [FrameLoader(root, "train", 48, seed=1).batch(1, 4, rank=rank, world=2) for rank in (0, 1)]
    assert whole.ids == parts[0].ids + parts[1].ids
    assert torch.equal(whole.video, torch.cat([part.video for part in parts]))
    assert FrameLoader(root, "train", 48, seed=2).batch(1, 4).ids != whole.ids
