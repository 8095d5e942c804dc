"""What the page knows of a dataset comes from its ledger, from its tables, or from its index alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from avbench.errors import UserError
from avbench.inspection import reading
from avbench.workspace import Workspace, read_json, write_json


def states(found: reading.Inspected) -> dict[str, list[str]]:
    return {state.state: [source for source, _, _ in state.sources] for state in found.sources}


def test_every_clip_has_every_verdict_and_every_source_a_state(dataset: Path) -> None:
    found = reading.read(str(dataset))
    assert found.name == "tiny"
    assert [judged.clip.clip_id for judged in found.clips] == [
        "alpha_0000", "alpha_0001", "beta_0000", "beta_0001", "gamma_0000",
    ]  # fmt: skip
    assert all(set(judged.verdicts) == {"silence", "loudness"} for judged in found.clips)
    assert [judged.clip.clip_id for judged in found.clips if judged.drops] == ["alpha_0001", "beta_0000"]
    assert found.clips[0].title == "About alpha"
    assert states(found) == {
        "finished": ["alpha", "beta", "gamma"],
        "download failed, permanent": ["private"],
        "left out": ["short"],
    }
    assert not found.only_kept


def test_thresholds_are_those_of_the_recipe_beside_the_dataset(dataset: Path) -> None:
    silence, loudness = reading.read(str(dataset)).filters
    assert (silence.name, silence.bounds) == ("silence", (None, 0.5))
    assert (loudness.name, loudness.bounds[1]) == ("loudness", None)
    assert silence.about.startswith("Drops clips that are silent")


def test_a_published_dataset_has_kept_clips_only(dataset: Path) -> None:
    shutil.rmtree(dataset / "work")
    (dataset / "recipe.json").unlink()
    found = reading.read(str(dataset))
    assert found.only_kept
    assert [judged.clip.clip_id for judged in found.clips] == ["alpha_0000", "beta_0001", "gamma_0000"]
    assert all(judged.is_kept and judged.shard for judged in found.clips)
    assert found.filters[0].bounds == (None, 0.5)
    assert found.told


def test_a_drop_that_only_the_table_tells_counts(dataset: Path) -> None:
    ws = Workspace(dataset)
    rows = parquet.read_table(ws.dropped)
    told = {"clip_id": "gamma_0000", "source_id": "gamma", "filter": "again", "value": 0.97, "reason": "as alpha_0000"}
    parquet.write_table(pa.concat_tables([rows, pa.Table.from_pylist([told], schema=rows.schema)]), ws.dropped)
    found = reading.read(str(dataset))
    gamma = found.clips[-1]
    assert [(verdict.filter, verdict.value, verdict.reason) for verdict in gamma.drops] == [
        ("again", 0.97, "as alpha_0000")
    ]
    assert not gamma.is_kept
    again = found.filters[-1]
    assert again.name == "again"
    assert "there is no filter called 'again'" in again.problem


def test_a_clip_that_could_not_be_judged_is_neither_kept_nor_dropped(dataset: Path) -> None:
    path = Workspace(dataset).record_path("filter", "gamma")
    record = read_json(path)
    record["clips"][0] |= {"verdicts": [], "error": "gamma_0000.mp4: cut off"}
    write_json(path, record)
    gamma = reading.read(str(dataset)).clips[-1]
    assert not gamma.is_kept
    assert not gamma.drops
    assert reading.read(str(dataset)).failed == {"gamma_0000": "gamma_0000.mp4: cut off"}


def test_a_filter_that_the_recipe_no_longer_names_has_no_threshold(dataset: Path) -> None:
    recipe = read_json(dataset / "recipe.json")
    recipe["filters"] = [{"name": "silence", "max_ratio": 0.5}]
    write_json(dataset / "recipe.json", recipe)
    loudness = reading.read(str(dataset)).filters[1]
    assert loudness.bounds == (None, None)
    assert "its threshold is not known" in loudness.problem


def test_records_of_another_version_are_read_as_far_as_they_are_known(dataset: Path) -> None:
    path = Workspace(dataset).record_path("filter", "alpha")
    record = read_json(path)
    for entry in record["clips"]:
        entry["clip"]["colour"] = "blue"
        entry["prints"] = [1, 2, 3]
        del entry["clip"]["lag_s"]
    path.write_text(json.dumps(record))
    assert reading.read(str(dataset)).clips[0].clip.lag_s is None


def test_what_is_no_dataset_or_not_filtered_is_one_sentence(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: is no dataset .* build it with `avbench build-dataset nowhere`"):
        reading.read(str(tmp_path / "nowhere"))
    shutil.rmtree(dataset / "shards")
    assert reading.read(str(dataset)).splits == {}
    (dataset / "work" / "filter.json").unlink()
    with pytest.raises(UserError, match=r"its clips are not filtered yet; run `avbench filter` first"):
        reading.read(str(dataset))
