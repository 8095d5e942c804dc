"""Clips of a dataset are read from the dataset as it is now, also by a process that has read an earlier one there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from avbench import inputs
from avbench.errors import UserError
from avbench.inputs.datasets import DatasetItem, dataset_items
from avbench.protocol import Protocol, load
from tests.training.rendered_sets import write_dataset


@pytest.fixture
def rules() -> Protocol:
    return load("demo-v1").model_copy(update={"size": 8})


def values(items: list[DatasetItem], rules: Protocol) -> list[float]:
    return [float(window.signals.video.mean()) for item in items for window in item.windows(rules)]


def test_a_dataset_that_was_built_again_with_the_same_bytes_is_read(tmp_path: Path, rules: Protocol) -> None:
    root = write_dataset(tmp_path / "data")
    before = values(dataset_items(root, rules, "all")[0], rules)
    shutil.rmtree(root)
    write_dataset(root)
    for path in (root / "shards").iterdir():  # not in the same tick of the clock
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10_000_000))
    assert values(dataset_items(root, rules, "all")[0], rules) == before


def test_a_dataset_that_is_gone_is_named(tmp_path: Path, rules: Protocol) -> None:
    root = write_dataset(tmp_path / "data")
    items, _ = dataset_items(root, rules, "all")
    shutil.rmtree(root)
    with pytest.raises(UserError, match="data: the dataset was taken away while its clips were measured"):
        values(items, rules)


def test_what_stages_left_is_no_folder_of_clips_when_the_shards_are_gone(tmp_path: Path, rules: Protocol) -> None:
    """Whole clips that are not of the dataset, since filters dropped them, would give a score."""
    root = write_dataset(tmp_path / "data")
    (root / "work" / "ledger" / "segment").mkdir(parents=True)
    (root / "work" / "clips").mkdir()
    for name in ("one", "two"):
        (root / "work" / "clips" / f"{name}.mp4").touch()
    assert len(inputs.reference(root, rules.model_copy(update={"reference_split": "all"}))[0]) > 2
    (root / "shards").rename(tmp_path / "elsewhere")
    for side in (inputs.reference, inputs.outputs):
        with pytest.raises(UserError, match=r"data: is a dataset without its shards .* copy it again"):
            side(root, rules)
