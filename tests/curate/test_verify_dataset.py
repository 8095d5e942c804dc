"""`avbench verify`: a whole dataset has no finding, and each fault that is put into one is found and named."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from avbench.curate import _release
from avbench.curate._tar import TarWriter
from avbench.curate.filter import filter_clips
from avbench.curate.shard import shard
from avbench.curate.takedown import takedown
from avbench.curate.verify import verify
from avbench.errors import UserError
from avbench.recipe import DatasetRecipe, sha256
from avbench.workspace import Workspace, read_json, write_json
from tests.curate.clip_folder import CLIP_S, write_source

RECIPE = DatasetRecipe.model_validate(
    {
        "segment": {"clip_s": CLIP_S, "fps": 10, "sample_rate_hz": 8000},
        "filters": [{"name": "silence"}],
        "view": {"size": 16, "fps": 5, "sample_rate_hz": 4000},
        "shard": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1},
    }
)
SOURCES = ("alpha", "beta", "gamma", "delta")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """4 recordings, 2 clips each, said to have been read back and found exact."""
    ws = Workspace(tmp_path_factory.mktemp("made") / "set")
    for source_id in SOURCES:
        write_source(ws, source_id, 2)
        record = ws.record("segment", source_id)
        assert record is not None
        told = {"verdict": "exact", "lag_s": 0.0002, "av_offset_s": 0.0, "picture_psnr_db": 40.0}
        ws.write_record("segment", source_id, {**record, "clips": [{**clip, **told} for clip in record["clips"]]})
    filter_clips(ws, SOURCES, RECIPE.filters)
    shard(ws, "toy", {"version": "1", "licence": "CC0-1.0"}, RECIPE)
    return ws


@pytest.fixture
def ws(made: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(made.root, tmp_path / "set")
    return Workspace(tmp_path / "set")


def seal(ws: Workspace) -> None:
    """Make every digest fit what is there, so that only the fault below the digests can be found."""
    path = ws.shards / "DATASET.json"
    card = read_json(path)
    for entry in card["shards"]:
        data = (ws.shards / entry["file"]).read_bytes()
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    card["index_sha256"] = hashlib.sha256((ws.shards / "index.parquet").read_bytes()).hexdigest()
    card["dataset_sha256"] = _release.data_sha256(card["index_sha256"], card["shards"])
    card["recipe_sha256"] = sha256(card["recipe"])
    write_json(path, card)


def edit_index(ws: Workspace, change: Callable[[list[dict[str, Any]]], object]) -> None:
    table = parquet.read_table(ws.shards / "index.parquet")
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), ws.shards / "index.parquet")
    seal(ws)


def edit_tar(ws: Workspace, change: Callable[[list[tuple[str, bytes]]], object]) -> None:
    path = ws.shards / "train-00000.tar"
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(members)
    with TarWriter(path) as writer:
        for name, data in members:
            writer.add(name, data)
    seal(ws)


def the_finding(ws: Workspace, *, deep: bool = False) -> str:
    findings = verify(ws.root, deep=deep).findings
    assert findings
    return "\n".join(findings)


def test_a_whole_dataset_has_no_finding(made: Workspace) -> None:
    report = verify(made.root)
    assert report.findings == []
    assert report.checked == {"shards": 3, "clips": 8, "clips read": 8}
    deep = verify(made.root, deep=True)
    assert (deep.findings, deep.checked["clips decoded"]) == ([], 8)


@pytest.mark.slow
def test_two_workers_find_the_same_in_the_same_order(ws: Workspace) -> None:
    for path in ws.shards.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    alone = verify(ws.root).findings
    assert len(alone) == 3
    assert verify(ws.root, workers=2).findings == alone


def test_a_flipped_byte_and_a_lost_or_short_tar_are_found(ws: Workspace) -> None:
    train, test, validation = (ws.shards / f"{split}-00000.tar" for split in ("train", "test", "validation"))
    data = bytearray(train.read_bytes())
    data[len(data) // 2] ^= 1
    train.write_bytes(data)
    test.unlink()
    validation.write_bytes(validation.read_bytes()[:-512])
    findings = verify(ws.root).findings
    assert len(findings) == 3
    assert any(f.startswith("train-00000.tar: is damaged") for f in findings)
    assert "test-00000.tar: is not there" in findings
    assert any(f.startswith("validation-00000.tar: has ") for f in findings)


def test_files_beside_the_tars_are_checked(ws: Workspace) -> None:
    (ws.shards / "README.md").write_text("other words")
    (ws.shards / "croissant.json").unlink()
    (ws.shards / "train-00009.tar").write_bytes(b"left behind")
    assert verify(ws.root).findings == [
        "README.md: is not the one DATASET.json names (another sha256)",
        "croissant.json: is not there",
        "train-00009.tar: stands in shards/ but DATASET.json does not name it",
    ]


def test_another_index_or_none_ends_the_check(ws: Workspace) -> None:
    pd.DataFrame({"clip_id": []}).to_parquet(ws.shards / "index.parquet")
    assert verify(ws.root).findings == ["index.parquet: is not the one DATASET.json names (another sha256)"]
    (ws.shards / "index.parquet").unlink()
    assert verify(ws.root).findings == ["index.parquet: is not there"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("lag_s", 0.05, "its sound lags 50.000 ms, half a frame is 50.000 ms"),
        ("av_offset_s", -0.002, "sound and picture begin -2.000 ms apart"),
        ("verdict", "", "was not found exact when it was read back"),
        ("end_s", 99.0, "ends at 99.0 s"),
        ("view_frames", 9, "view_frames is 9, clip_s x view_fps is 10"),
        ("video_offset", 512, "video_offset is 512 in the index, the array begins at"),
        ("sha256", "0" * 64, "its mp4 has another sha256"),
        ("bytes", 5, "its mp4 has"),
        ("licence", "none", "its json and the index differ in licence"),
        ("split", "test", "the recording alpha stands in"),
        ("group", "delta", "the group delta stands in"),
        ("shard", "lost.tar", "names the shard lost.tar"),
        ("clip_id", "alpha_0001", "stands 2 times in the index"),
    ],
)
def test_a_wrong_value_in_the_index_is_found(ws: Workspace, column: str, value: object, said: str) -> None:
    edit_index(ws, lambda rows: next(row for row in rows if row["clip_id"] == "alpha_0000").update({column: value}))
    assert said in the_finding(ws)


def test_members_that_are_lost_moved_or_added_are_found(ws: Workspace) -> None:
    edit_tar(ws, lambda members: members.pop(1))
    assert "are not mp4, video.npy, audio.npy, json, side by side" in the_finding(ws)
    edit_tar(ws, lambda members: members.append(("stranger_0000.mp4", b"x")))
    assert "stranger_0000.mp4: lies in train-00000.tar after the last clip" in the_finding(ws)


def test_a_whole_clip_that_is_lost_is_found(ws: Workspace) -> None:
    edit_tar(ws, lambda members: members.__delitem__(slice(0, 4)))
    assert "is not in train-00000.tar" in the_finding(ws)


def test_deep_finds_a_view_that_belongs_to_another_clip(ws: Workspace) -> None:
    def exchange(members: list[tuple[str, bytes]]) -> None:
        first, other = members[1], members[5]
        members[1], members[5] = (first[0], other[1]), (other[0], first[1])

    edit_tar(ws, exchange)
    assert verify(ws.root).findings == [], "no digest is of the view alone"
    assert "the pictures of its training view are not those of its mp4" in the_finding(ws, deep=True)


def test_counts_and_recipe_in_the_card_are_checked(ws: Workspace) -> None:
    path = ws.shards / "DATASET.json"
    card = json.loads(path.read_text())
    card["splits"]["train"]["clips"] += 1
    card["recipe"]["view"]["size"] = 17
    card["shards"][0]["clips"] += 1
    path.write_text(json.dumps(card))
    findings = "\n".join(verify(ws.root).findings)
    for said in ("of train, the index has", "recipe_sha256", "clips of train-00000.tar"):
        assert said in findings


def test_a_split_that_moved_is_found(ws: Workspace) -> None:
    told = read_json(ws.root / "splits.json")
    told["sources"][0]["split"] = "test" if told["sources"][0]["split"] != "test" else "train"
    write_json(ws.root / "splits.json", told)
    assert "splits.json has it in" in the_finding(ws)


def test_a_recording_that_was_taken_down_is_found_wherever_it_is(ws: Workspace) -> None:
    old = ws.root.with_name("old")
    shutil.copytree(ws.root, old)
    takedown(ws.root, ["beta"])
    assert verify(ws.root).findings == []
    (ws.clips / "beta_0001.mp4").write_bytes(b"back")
    assert the_finding(ws) == "work/clips/beta_0001.mp4: is of a recording that was taken down; run the takedown again"
    (ws.clips / "beta_0001.mp4").unlink()
    shutil.rmtree(ws.shards)
    shutil.copytree(old / "shards", ws.shards)
    findings = the_finding(ws)
    assert "tells 0 removals of 1" in findings
    assert "the recording beta was taken down, but its clips are here" in findings


def test_what_is_no_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a finished dataset"):
        verify(tmp_path)
