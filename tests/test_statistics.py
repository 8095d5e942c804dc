"""Measured sides on disk: what is written comes back, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench import statistics
from avbench.errors import UserError
from avbench.features._base import Embedding
from avbench.protocol import Protocol
from avbench.sides import Side

RULES = Protocol(name="toy", metrics=("mel_fd", "flow_fd"), frames=16, fps=10, size=32, n=64, min_n=4)


def side(n: int = 5) -> Side:
    made = Side(
        [f"w{i}" for i in range(n)],
        [f"i{i}" for i in range(n)],
        [f"c{i // 2}" for i in range(n)],
        [0.0] * n,
        [10.0] * n,
        [""] * n,
    )
    made.distinct = n
    rows = np.random.default_rng(0).standard_normal((2 * n, 3)).astype(np.float32)
    made.embeddings["mel"] = Embedding(rows[:, ::-1], np.repeat(np.arange(n), 2))
    return made


def head(rules: Protocol = RULES) -> statistics.Header:
    return statistics.header(
        rules, {"name": "real", "version": "1", "sha256": "ab", "split": "test"}, {"i3d": "ff"}, {}
    )


def test_a_side_comes_back_whole(tmp_path: Path) -> None:
    path = statistics.save(tmp_path / "x.safetensors", {"reference": side(), "generated": side(3)}, head())
    sides, found = statistics.load(path)
    assert found == head()
    assert sides.keys() == {"reference", "generated"}
    assert sides["reference"].window_ids == side().window_ids
    assert sides["reference"].clusters == side().clusters
    values, groups = sides["reference"].rows("mel")
    assert values.tolist() == side().embeddings["mel"].values.tolist()
    assert groups == side().rows("mel")[1]


def test_the_same_side_gives_the_same_bytes(tmp_path: Path) -> None:
    one = statistics.save(tmp_path / "a.safetensors", {"reference": side()}, head())
    two = statistics.save(tmp_path / "b.safetensors", {"reference": side()}, head())
    assert one.read_bytes() == two.read_bytes()


def test_another_protocol_is_refused_and_the_fields_are_named(tmp_path: Path) -> None:
    other = RULES.model_copy(update={"frames": 32, "fps": 25.0, "description": "words do not count"})
    with pytest.raises(UserError, match=r"they differ in fps \(10\.0, 25\.0\) and frames \(16, 32\); build it again"):
        statistics.require(tmp_path / "x.safetensors", head(), other)
    statistics.require(tmp_path / "x.safetensors", head(), RULES.model_copy(update={"description": "new words"}))


@pytest.mark.parametrize("content", [b"", b"no tensors at all", b"\x10\x00\x00\x00\x00\x00\x00\x00{not json}......"])
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.safetensors: is no file of reference statistics .*avbench reference build"):
        statistics.load(path)


def test_weights_of_a_network_are_no_statistics(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no file of reference statistics"):
        statistics.load(tmp_path / "x.safetensors")


def test_rows_that_belong_to_no_window_are_refused(tmp_path: Path) -> None:
    broken = side()
    broken.embeddings["mel"] = broken.embeddings["mel"]._replace(owner=np.full(10, 99))
    path = statistics.save(tmp_path / "x.safetensors", {"reference": broken}, head())
    with pytest.raises(UserError, match="rows of mel do not fit the windows"):
        statistics.load(path)


def test_windows_taken_again_bring_their_rows() -> None:
    taken = side().take(np.array([4, 0, 4]))
    assert taken.window_ids == ["w4", "w0", "w4"]
    assert taken.distinct == 2
    assert taken.embeddings["mel"].owner.tolist() == [0, 0, 1, 1, 2, 2]
    source = side().embeddings["mel"].values
    assert taken.embeddings["mel"].values.tolist() == source[[8, 9, 0, 1, 8, 9]].tolist()
