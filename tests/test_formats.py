"""A damaged or hostile file of a dataset is one sentence that names file, place and value; a sound one passes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from avbench import formats
from avbench.errors import UserError
from avbench.schema import Clip
from avbench.workspace import Workspace

CLIP: dict[str, Any] = {
    "clip_id": "a_0000", "source_id": "a", "group": "", "start_s": 0.0, "clip_s": 2, "fps": 10.0, "width": 64,
    "height": 48, "sample_rate_hz": 16000, "channels": 1, "file": "a_0000.mp4", "lag_s": None,
}  # fmt: skip
RECORDS: dict[str, dict[str, Any]] = {
    "download": {"status": "done", "source": {"source_id": "a", "url": "x.mp4", "group": ""}, "params": "p",
                 "file": "a.mp4", "bytes": 5, "sha256": "", "error": "", "kind": "", "more": {"later": 1}},
    "segment": {"source_id": "a", "status": "done", "clips": [CLIP], "reason": "", "failed_clips": {}, "params": "p"},
    "filter": {"clips": [{"clip": CLIP, "error": "", "prints": {},
                          "verdicts": [{"filter": "silence", "keep": True, "value": 0.1, "reason": ""}]}],
               "params": "p"},
    "shard": {"file": "train-00000.tar", "params": "p", "bytes": 5, "sha256": "", "offsets": {"a_0000": [1, 2]},
              "failed": {}},
}  # fmt: skip
BAD: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("download", ("status",), "perhaps", "status = 'perhaps'"),
    ("download", ("bytes",), -1, "bytes = -1"),
    ("download", ("bytes",), "5", "bytes = '5'"),
    ("download", ("file",), "../../home/x.mp4", "file = '../../home/x.mp4'"),
    ("download", ("source",), [], "source"),
    ("download", ("source", "source_id"), "../x", "source.source_id = '../x'"),
    ("segment", ("clips", 0, "file"), "/etc/passwd", "clips.0.file = '/etc/passwd'"),
    ("segment", ("clips", 0, "clip_id"), "a/../b", "clips.0.clip_id"),
    ("segment", ("clips", 0, "clip_s"), 0, "clips.0.clip_s = 0"),
    ("segment", ("clips", 0, "fps"), float("inf"), "clips.0.fps = inf"),
    ("segment", ("clips",), {}, "clips"),
    ("filter", ("clips", 0, "verdicts", 0, "keep"), "yes", "clips.0.verdicts.0.keep = 'yes'"),
    ("filter", ("clips", 0, "verdicts", 0, "value"), float("nan"), "clips.0.verdicts.0.value = nan"),
    ("shard", ("offsets", "a_0000"), [1], "offsets.a_0000"),
    ("shard", ("file",), "a/b.tar", "file = 'a/b.tar'"),
]


def written(tmp_path: Path, stage: str, record: Any) -> Workspace:
    ws = Workspace(tmp_path)
    path = ws.record_path(stage, "a")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    return ws


@pytest.mark.parametrize("stage", RECORDS)
def test_a_sound_record_comes_back_as_it_is(stage: str, tmp_path: Path) -> None:
    ws = written(tmp_path, stage, RECORDS[stage])
    assert ws.record(stage, "a") == RECORDS[stage]
    assert ws.records(stage) == [RECORDS[stage]]


@pytest.mark.parametrize(("stage", "place", "value", "said"), BAD)
def test_a_damaged_record_is_named_with_place_and_value(
    stage: str, place: tuple[Any, ...], value: Any, said: str, tmp_path: Path
) -> None:
    record = json.loads(json.dumps(RECORDS[stage]))
    holder = record
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    ws = written(tmp_path, stage, record)
    for read in (lambda: ws.record(stage, "a"), lambda: ws.records(stage)):
        with pytest.raises(
            UserError, match=r"a\.json: damaged \(.*\); delete it and run the same command again"
        ) as caught:
            read()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", dataclasses.fields(Clip), ids=lambda field: field.name)
@pytest.mark.parametrize("stage", ["segment", "filter"])
def test_every_field_of_a_clip_is_held_to_its_type(stage: str, field: dataclasses.Field[Any], tmp_path: Path) -> None:
    record = json.loads(json.dumps(RECORDS[stage]))
    clip = record["clips"][0] if stage == "segment" else record["clips"][0]["clip"]
    clip[field.name] = ["neither text nor number"]
    with pytest.raises(UserError, match=rf"clips\.0\.(clip\.)?{field.name} = \['neither"):
        written(tmp_path, stage, record).record(stage, "a")
    del clip[field.name]
    if field.default is dataclasses.MISSING:
        with pytest.raises(UserError, match=rf"{field.name} = .*Field required"):
            written(tmp_path / "other", stage, record).record(stage, "a")
    else:  # a field that is younger than the file
        assert written(tmp_path / "other", stage, record).record(stage, "a") == record


@pytest.mark.parametrize("content", ["null", "[]", "3", '"x"', "{}"])
@pytest.mark.parametrize("stage", RECORDS)
def test_what_is_no_record_at_all_is_refused(stage: str, content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="damaged"):
        written(tmp_path, stage, json.loads(content)).record(stage, "a")


def table(path: Path, **columns: Any) -> Path:
    sound = {"name": ["a", "b"], "count": [1, 2], "seconds": [0.5, 1.5]}
    parquet.write_table(
        pa.table({key: value for key, value in {**sound, **columns}.items() if value is not None}), path
    )
    return path


def read(path: Path) -> pa.Table:
    return formats.check_table(path, ["name"], ["count"], ["seconds"])


def test_a_sound_table_comes_back_with_all_its_columns(tmp_path: Path) -> None:
    assert read(table(tmp_path / "t.parquet", extra=[None, "x"])).column_names == ["name", "count", "seconds", "extra"]
    assert len(read(table(tmp_path / "t.parquet", name=pa.array([], pa.string()), count=pa.array([], pa.int64()),
                          seconds=pa.array([], pa.float64())))) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": None}, "has no column name"),
        ({"name": [1, 2]}, "column name is int64"),
        ({"name": ["a", None]}, "column name has an empty cell"),
        ({"count": [1.0, 2.0]}, "column count is double"),
        ({"count": [-1, 2]}, "column count goes from -1 to 2"),
        ({"count": [1, 2**60]}, "column count goes from 1 to"),
        ({"seconds": [0.5, float("inf")]}, "column seconds holds what is no number"),
        ({"seconds": [0.5, float("nan")]}, "column seconds holds what is no number"),
        ({"seconds": ["0.5", "1"]}, "column seconds is"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_its_column(columns: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.parquet: damaged \(.*\); run the same command again") as caught:
        read(table(tmp_path / "t.parquet", **columns))
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + bytes(50) + b"PAR1"])
def test_what_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet: damaged"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("shard", "../../x.tar", "no name of a file"), ("view_size", 10**6, "1000000 pixels"), ("video_offset", -5, "-5")],
)
def test_an_index_leads_to_its_own_shards_alone(column: str, value: Any, said: str, tmp_path: Path) -> None:
    row: dict[str, Any] = dict.fromkeys(formats.INDEX_TEXTS, "x") | dict.fromkeys(formats.INDEX_WHOLE, 1)
    row |= dict.fromkeys(formats.INDEX_NUMBERS, 1.0)
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "index.parquet")
    formats.check_index(tmp_path / "index.parquet")
    parquet.write_table(pa.Table.from_pylist([row, {**row, column: value}]), tmp_path / "index.parquet")
    with pytest.raises(UserError, match="damaged") as caught:
        formats.check_index(tmp_path / "index.parquet")
    assert said in str(caught.value)
