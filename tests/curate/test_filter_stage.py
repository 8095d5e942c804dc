"""The filter stage: verdicts, drops and failures are three different things, and a rerun ends with the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from avbench.curate import filter as stage
from avbench.curate.filter import filter_clips
from avbench.errors import EnvironmentFault, UserError
from avbench.recipe import FilterSpec
from avbench.workspace import Workspace
from tests.curate.clip_folder import tree, write_segment_record, write_source

SOURCES = ["alpha", "beta", "gone"]
SPECS = [
    FilterSpec(name="has_audio"),
    FilterSpec.model_validate({"name": "silence", "max_ratio": 0.5}),
    FilterSpec(name="freeze"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """alpha: 3 clips of which the second is silent; beta: 2 good clips; gone: dropped by the segment stage."""
    ws = Workspace(tmp_path_factory.mktemp("made"))
    write_source(ws, "alpha", 3, group="band", silent=(1,))
    write_source(ws, "beta", 2)
    write_segment_record(ws, "gone", "dropped", reason="2.1 s long, shorter than a clip")
    return ws


@pytest.fixture
def ws(made: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(made.root, tmp_path / "set")
    return Workspace(tmp_path / "set")


def outputs(ws: Workspace) -> dict[str, bytes]:
    return {name: data for name, data in tree(ws.root).items() if not name.startswith("work/clips")}


def test_kept_and_dropped_tables_tell_every_clip_once(ws: Workspace) -> None:
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, summary.already, summary.failed) == (5, 0, {})
    assert list(summary.dropped) == ["alpha_0001"]

    kept = pd.read_parquet(ws.kept)
    assert list(kept["clip_id"]) == ["alpha_0000", "alpha_0002", "beta_0000", "beta_0001"]
    assert list(kept.columns[-3:]) == ["filter_has_audio", "filter_silence", "filter_freeze"]
    assert list(kept["group"]) == ["band", "band", "", ""]
    assert (kept["filter_silence"] == 0).all()
    assert kept["filter_has_audio"].between(-20, 0).all()

    dropped = pd.read_parquet(ws.dropped)
    assert list(dropped.columns) == ["clip_id", "source_id", "filter", "value", "reason"]
    # the second filter judged although the first had dropped the clip
    assert list(dropped["filter"]) == ["has_audio", "silence"]
    assert list(dropped["value"]) == [-120.0, 1.0]
    assert dropped["reason"][1] == "silent for 100.0% of the clip, over 50%"


def test_the_ledger_keeps_the_values_of_kept_clips_too(ws: Workspace) -> None:
    filter_clips(ws, SOURCES, SPECS)
    record = ws.record("filter", "alpha")
    assert record is not None
    assert [len(entry["verdicts"]) for entry in record["clips"]] == [3, 3, 3]
    assert [[v["keep"] for v in entry["verdicts"]] for entry in record["clips"]][:2] == [
        [True] * 3,
        [False, False, True],
    ]
    assert ws.record("filter", "gone") is None


def test_rerun_judges_nothing_and_changes_no_byte(ws: Workspace) -> None:
    filter_clips(ws, SOURCES, SPECS)
    before = outputs(ws)
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, summary.already) == (0, 5)
    assert list(summary.dropped) == ["alpha_0001"], "a rerun tells the same drops"
    assert outputs(ws) == before


def test_another_threshold_judges_again(ws: Workspace) -> None:
    filter_clips(ws, SOURCES, SPECS)
    summary = filter_clips(ws, SOURCES, [FilterSpec.model_validate({"name": "silence", "max_ratio": 1.0})])
    assert (summary.done, summary.already, summary.dropped) == (5, 0, {})
    assert len(pd.read_parquet(ws.kept)) == 5


def test_clips_cut_anew_are_judged_again(ws: Workspace) -> None:
    filter_clips(ws, SOURCES, SPECS)
    record = ws.record("segment", "beta")
    assert record is not None
    ws.write_record("segment", "beta", {**record, "params": "another crf"})
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, summary.already) == (2, 3)


def test_a_clip_that_cannot_be_decoded_is_a_failure_and_is_tried_again(ws: Workspace) -> None:
    unbroken = Workspace(ws.root.with_name("unbroken"))
    shutil.copytree(ws.root, unbroken.root)
    filter_clips(unbroken, SOURCES, SPECS)

    file = ws.clips / "beta_0001.mp4"
    whole = file.read_bytes()
    file.write_bytes(b"no video")
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, list(summary.failed), list(summary.dropped)) == (4, ["beta_0001"], ["alpha_0001"])
    assert "beta_0001.mp4" in summary.failed["beta_0001"]
    assert "beta_0001" not in set(pd.read_parquet(ws.kept)["clip_id"]) | set(pd.read_parquet(ws.dropped)["clip_id"])

    file.write_bytes(whole)
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, summary.already, summary.failed) == (1, 4, {})
    assert outputs(ws) == outputs(unbroken)


def test_killed_in_the_middle_the_same_command_ends_with_the_same_bytes(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = Workspace(ws.root.with_name("unbroken"))
    shutil.copytree(ws.root, unbroken.root)
    filter_clips(unbroken, SOURCES, SPECS)

    judge = stage._judge_clip

    def killed(clip: dict[str, object], **options: object) -> object:
        if clip["clip_id"] == "beta_0001":
            raise KeyboardInterrupt
        return judge(clip, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_judge_clip", killed)
        with pytest.raises(KeyboardInterrupt):
            filter_clips(ws, SOURCES, SPECS)
    assert not ws.kept.exists()
    summary = filter_clips(ws, SOURCES, SPECS)
    assert (summary.done, summary.already) == (2, 3)
    assert outputs(ws) == outputs(unbroken)


def test_the_marker_is_absent_while_the_tables_are_not_whole(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    filter_clips(ws, SOURCES, SPECS)
    marker = ws.kept.with_name("filter.json")
    assert marker.exists()
    write = stage._write_parquet

    def full(path: Path, *rest: object) -> None:
        if path == ws.dropped:
            raise EnvironmentFault("disk full")
        write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "_write_parquet", full)
    with pytest.raises(EnvironmentFault):
        filter_clips(ws, SOURCES, SPECS[:1])
    assert not marker.exists()


def test_tables_are_about_the_asked_sources_alone(ws: Workspace) -> None:
    filter_clips(ws, SOURCES, SPECS)
    summary = filter_clips(ws, ["beta"], SPECS)
    assert (summary.already, summary.dropped) == (2, {})
    assert set(pd.read_parquet(ws.kept)["source_id"]) == {"beta"}
    assert len(pd.read_parquet(ws.dropped)) == 0


def test_no_filters_keep_everything_and_a_wrong_filter_stops_before_any_work(ws: Workspace) -> None:
    assert filter_clips(ws, SOURCES, []).done == 5
    assert len(pd.read_parquet(ws.kept)) == 5
    with pytest.raises(UserError, match="no filter called 'silense'"):
        filter_clips(ws, SOURCES, [FilterSpec(name="silense")])


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(ws: Workspace) -> None:
    other = Workspace(ws.root.with_name("other"))
    shutil.copytree(ws.root, other.root)
    filter_clips(ws, SOURCES, SPECS)
    filter_clips(other, SOURCES, SPECS, workers=2)
    assert outputs(ws) == outputs(other)
