"""The shard stage: same bytes on every run, kill or not; what the index says is where it says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avbench import media
from avbench.curate import _pack, _release, shard as stage
from avbench.curate.filter import filter_clips
from avbench.curate.shard import shard
from avbench.dataset import dataset_card, is_dataset, load_index
from avbench.errors import MediaError, UserError
from avbench.progress import Reporter
from avbench.recipe import DatasetRecipe
from avbench.workspace import Workspace, write_json
from tests.curate.clip_folder import CLIP_S, tree, write_segment_record, write_source

SOURCES = {"alpha": "band", "beta": "band", "gamma": "", "delta": "", "omega": ""}
ALL = [*SOURCES, "short"]
CARD = {"version": "1.2", "licence": "CC0-1.0"}


def recipe(**shard_options: Any) -> DatasetRecipe:
    return DatasetRecipe.model_validate(
        {
            "segment": {"clip_s": CLIP_S, "fps": 10, "sample_rate_hz": 8000},
            "filters": [{"name": "silence"}],
            "view": {"size": 16, "fps": 5, "sample_rate_hz": 4000},
            "shard": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1, "max_bytes": 200_000, **shard_options},
        }
    )


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """5 sources in 4 groups, 2 clips each, one of them silent; a sixth source that was too short."""
    ws = Workspace(tmp_path_factory.mktemp("filtered"))
    for source_id, group in SOURCES.items():
        write_source(ws, source_id, 2, group=group, silent=(1,) if source_id == "delta" else ())
    write_segment_record(ws, "short", "dropped", reason="2.1 s long, a clip needs 12 s")
    filter_clips(ws, ALL, recipe().filters)
    return ws


@pytest.fixture
def ws(filtered: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(filtered.root, tmp_path / "set")
    return Workspace(tmp_path / "set")


@pytest.fixture(scope="module")
def built(filtered: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The unbroken build that others are compared with."""
    folder = tmp_path_factory.mktemp("built") / "set"
    shutil.copytree(filtered.root, folder)
    shard(Workspace(folder), "toy", CARD, recipe())
    return Workspace(folder)


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar.getmembers()}


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def relicense(ws: Workspace, licence: str) -> None:
    """Change what every clip says without changing the size of anything."""
    for source_id in SOURCES:
        record = ws.record("segment", source_id)
        assert record is not None
        clips = [{**clip, "licence": licence} for clip in record["clips"]]
        ws.write_record("segment", source_id, {**record, "clips": clips})
    filter_clips(ws, ALL, recipe().filters)


def test_the_card_tells_what_is_there_and_what_is_not(built: Workspace) -> None:
    card = dataset_card(built.root)
    assert (card["name"], card["version"], card["licence"], card["schema_version"]) == ("toy", "1.2", "CC0-1.0", 1)
    assert sum(split["clips"] for split in card["splits"].values()) == 9
    assert sum(split["sources"] for split in card["splits"].values()) == 5
    assert sum(split["hours"] for split in card["splits"].values()) == pytest.approx(9 * CLIP_S / 3600, abs=2e-6)
    assert card["dropped"] == {"clips: silence": 1, "sources: # s long, a clip needs # s": 1}
    assert card["failed"] == {}
    assert card["recipe"]["filters"] == [{"name": "silence", "level_dbfs": -50.0, "max_ratio": 0.9, "frame_s": 0.05}]
    for entry in card["shards"]:
        data = (built.shards / entry["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert card["index_sha256"] == hashlib.sha256((built.shards / "index.parquet").read_bytes()).hexdigest()
    assert sorted(card["files"]) == ["README.md", "croissant.json"]
    for name, digest in card["files"].items():
        assert hashlib.sha256((built.shards / name).read_bytes()).hexdigest() == digest
    listed = {"DATASET.json", "index.parquet", *card["files"], *(entry["file"] for entry in card["shards"])}
    assert {path.name for path in built.shards.iterdir()} == listed
    assert not (built.root / "work" / "views").exists()
    assert not (built.root / "work" / "shards.new").exists()


def test_the_index_has_the_columns_of_the_contract_and_one_sorted_row_per_clip(built: Workspace) -> None:
    index = load_index(built.root)
    expected = (
        "clip_id source_id group split start_s end_s clip_s fps width height sample_rate_hz channels verdict lag_s "
        "picture_psnr_db av_offset_s raw_av_offset_s licence title url sha256 "
        "bytes shard view_frames view_size view_fps view_samples view_sample_rate_hz video_offset audio_offset "
        "filter_silence"
    )
    assert list(index.columns) == expected.split()
    keys = list(zip(index["split"], index["clip_id"], strict=True))
    assert keys == sorted(keys)
    kept = pd.read_parquet(built.kept).set_index("clip_id")
    assert set(index["clip_id"]) == set(kept.index)
    for row in index.to_dict("records"):
        data = (built.clips / f"{row['clip_id']}.mp4").read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert row["filter_silence"] == kept.loc[row["clip_id"], "filter_silence"]
        assert row["licence"] == "CC0-1.0"
        assert row["end_s"] == row["start_s"] + CLIP_S
        assert row["group"] == (SOURCES[row["source_id"]] or row["source_id"])


def test_offsets_point_at_the_raw_arrays(built: Workspace) -> None:
    for row in load_index(built.root).to_dict("records"):
        tar, clip = built.shards / row["shard"], built.clips / f"{row['clip_id']}.mp4"
        shape = (row["view_frames"], row["view_size"], row["view_size"], 3)
        video = np.memmap(tar, np.uint8, "r", offset=row["video_offset"], shape=shape)
        audio = np.memmap(tar, np.float32, "r", offset=row["audio_offset"], shape=(row["view_samples"],))
        assert (shape, audio.shape) == ((10, 16, 16, 3), (8000,))
        np.testing.assert_array_equal(video, media.decode_video(clip, fps=5, size=(16, 16), n_frames=10))
        expected = media.decode_audio(clip, sample_rate_hz=4000, mono=True, n_samples=8000)
        np.testing.assert_array_equal(audio, expected[0])
        assert video[:, :2].max() == 0, "a 4:3 picture is letterboxed into the square"
        assert video[:, 2:14].max() > 100


@pytest.mark.slow
def test_webdataset_reads_the_tars(built: Workspace) -> None:
    import webdataset

    index = load_index(built.root)
    rows = index.set_index("clip_id")
    seen = []
    for shard_file in index["shard"].unique():
        # a plain path, not a url: webdataset would look for a scheme
        data = webdataset.WebDataset(str(built.shards / shard_file), shardshuffle=False, empty_check=False).decode()
        for sample in data:
            row = rows.loc[sample["__key__"]]
            seen.append(sample["__key__"])
            assert sample["video.npy"].shape == (10, 16, 16, 3)
            assert sample["audio.npy"].dtype == np.float32
            assert hashlib.sha256(sample["mp4"]).hexdigest() == row["sha256"]
            assert (sample["json"]["clip_id"], sample["json"]["split"]) == (sample["__key__"], row["split"])
            with tarfile.open(built.shards / shard_file) as tar:
                plain = tar.extractfile(f"{sample['__key__']}.video.npy")
                assert plain is not None
                np.testing.assert_array_equal(np.load(io.BytesIO(plain.read())), sample["video.npy"])
    assert sorted(seen) == sorted(index["clip_id"])


def test_tars_hold_no_time_and_no_owner_and_keep_samples_together(built: Workspace) -> None:
    for path in built.shards.glob("*.tar"):
        assert path.read_bytes()[257:263] == b"ustar\0"
        found = members(path)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in found.values()} == {(0, 0, 0, "", "", 0o644)}
        names = list(found)
        for start in range(0, len(names), 4):
            clip_id = names[start].split(".")[0]
            parts = ("mp4", "video.npy", "audio.npy", "json")
            assert names[start : start + 4] == [f"{clip_id}.{part}" for part in parts]


def test_shards_are_closed_before_the_limit(built: Workspace) -> None:
    sizes = [entry["bytes"] for entry in dataset_card(built.root)["shards"]]
    assert max(sizes) <= 200_000
    assert len(sizes) > 3, "the train split alone needs two"
    # a shard is closed only because the next clip would not fit
    first, second = (list(members(built.shards / f"train-0000{n}.tar").values()) for n in (0, 1))
    next_clip = second[4].offset if len(second) > 4 else second[-1].offset_data + second[-1].size
    assert first[-1].offset_data + first[-1].size + next_clip > 200_000 - tarfile.RECORDSIZE


def test_a_clip_larger_than_the_limit_has_a_shard_of_its_own(ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe(max_bytes=1))
    assert [entry["clips"] for entry in dataset_card(ws.root)["shards"]] == [1] * 9


def test_no_group_stands_in_two_splits_and_every_split_has_one(built: Workspace) -> None:
    index = load_index(built.root)
    assert (index.groupby("group")["split"].nunique() == 1).all()
    assert set(index["split"]) == {"train", "validation", "test"}
    assert index[index["group"] == "band"]["source_id"].nunique() == 2


def test_a_later_build_with_more_sources_leaves_every_source_where_it_was(built: Workspace, ws: Workspace) -> None:
    filter_clips(ws, ["alpha", "beta", "gamma", "delta"], recipe().filters)
    shard(ws, "toy", CARD, recipe())
    first = load_index(ws.root).set_index("clip_id")["split"].to_dict()
    filter_clips(ws, ALL, recipe().filters)
    shard(ws, "toy", CARD, recipe())
    later = load_index(ws.root).set_index("clip_id")["split"].to_dict()
    assert {clip_id: later[clip_id] for clip_id in first} == first
    assert len(later) == 9


def test_sources_found_alike_after_they_were_placed_apart_do_not_leak(ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe())
    split = load_index(ws.root).groupby("source_id")["split"].first()
    one, other = "gamma", next(name for name in ("delta", "omega") if split[name] != split["gamma"])
    write_json(ws.root / "work" / "groups.json", {one: one, other: one})
    summary = shard(ws, "toy", CARD, recipe())
    index = load_index(ws.root)
    (left_out,) = summary.dropped
    assert left_out in (one, other)
    assert set(index["source_id"]) == set(SOURCES) - {left_out}
    assert (index.groupby("group")["split"].nunique() == 1).all()
    (counted,) = (reason for reason in dataset_card(ws.root)["dropped"] if "its recording stands in" in reason)
    assert counted.startswith("sources: its recording stands in")
    again = tree(ws.shards)
    shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == again


def test_title_and_address_of_the_source_are_for_attribution_without_secrets_or_local_paths(ws: Workspace) -> None:
    for source_id, url in (("alpha", "https://user:pass@example.org/a"), ("beta", "/home/someone/b.mp4")):
        source = {"source_id": source_id, "url": url, "title": f"The {source_id}", "group": ""}
        ws.write_record("download", source_id, {"status": "done", "source": source})
    shard(ws, "toy", CARD, recipe())
    told = load_index(ws.root).groupby("source_id")[["title", "url"]].first()
    assert tuple(told.loc["alpha"]) == ("The alpha", "https://example.org/a")
    assert tuple(told.loc["beta"]) == ("The beta", "")
    assert tuple(told.loc["gamma"]) == ("", "")


def test_another_folder_gives_the_same_bytes(built: Workspace, ws: Workspace) -> None:
    summary = shard(ws, "toy", CARD, recipe())
    assert (summary.done, summary.already) == (9, 0)
    assert tree(ws.shards) == tree(built.shards)


def test_rerun_packs_nothing_and_leaves_the_files_alone(ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe())
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in ws.shards.iterdir()}
    summary = shard(ws, "toy", CARD, recipe())
    assert (summary.done, summary.already) == (0, 9)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in ws.shards.iterdir()} == before


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(built: Workspace, ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe(), workers=2)
    assert tree(ws.shards) == tree(built.shards)


@pytest.mark.parametrize("samples_done", [0, 1, 4, 8])
def test_killed_while_packing_the_same_command_ends_with_the_same_bytes(
    built: Workspace, ws: Workspace, monkeypatch: pytest.MonkeyPatch, samples_done: int
) -> None:
    add, done = _pack._add, []

    def killed(*arguments: Any) -> list[int]:
        if len(done) == samples_done:
            raise KeyboardInterrupt
        done.append(1)
        return add(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_pack, "_add", killed)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    assert not is_dataset(ws.root)
    summary = shard(ws, "toy", CARD, recipe())
    assert summary.done + summary.already == 9
    assert (summary.already > 0) == (samples_done >= 4), "shards that were finished are not made again"
    assert tree(ws.shards) == tree(built.shards)


def test_killed_while_replacing_an_old_dataset_the_old_one_stays(
    built: Workspace, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(ws, "toy", CARD, recipe(seed=2))
    old = tree(ws.shards)
    (ws.root / "splits.json").unlink()  # another seed is another division of everything

    with monkeypatch.context() as patch:
        patch.setattr(_release, "swap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == old
    assert len(load_index(ws.root)) == 9
    summary = shard(ws, "toy", CARD, recipe())
    assert (summary.done, summary.already) == (0, 9)
    assert tree(ws.shards) == tree(built.shards)


def test_killed_between_the_two_renames_the_next_run_mends_it(
    built: Workspace, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(ws, "toy", CARD, recipe(seed=2))
    old = tree(ws.shards)
    (ws.root / "splits.json").unlink()  # another seed is another division of everything
    replace = os.replace

    def killed(source: Path, dest: Path) -> None:
        if dest == ws.shards:
            raise KeyboardInterrupt
        replace(source, dest)

    with monkeypatch.context() as patch:
        patch.setattr(_release.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    assert not ws.shards.exists()
    with monkeypatch.context() as patch:
        patch.setattr(stage._Build, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == old, "the old dataset is back at once, not only when the new one is made"
    shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == tree(built.shards)
    assert not (ws.root / "work" / "shards.old").exists()


def test_an_unfinished_shard_of_the_same_size_is_not_taken_for_the_new_one(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding makes tars of different content equally long, so a size alone proves nothing."""
    shard(ws, "toy", CARD, recipe())
    relicense(ws, "CC0-9.9")
    fresh = Workspace(ws.root.with_name("fresh"))
    shutil.copytree(ws.root / "work", fresh.root / "work")
    shutil.rmtree(fresh.root / "work" / "ledger" / "shard")
    shard(fresh, "toy", CARD, recipe())

    with monkeypatch.context() as patch:
        patch.setattr(_release, "swap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == tree(fresh.shards)
    assert set(load_index(ws.root)["licence"]) == {"CC0-9.9"}


def test_a_tar_that_its_record_does_not_describe_is_made_again(
    built: Workspace, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a shard of other content, as long as the first, was published and before its record was."""
    with monkeypatch.context() as patch:
        patch.setattr(_release, "swap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    relicense(ws, "CC0-9.9")
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "write_record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shard(ws, "toy", CARD, recipe())
    relicense(ws, "CC0-1.0")
    shard(ws, "toy", CARD, recipe())
    assert tree(ws.shards) == tree(built.shards)


def test_a_decode_that_failed_once_is_tried_again(
    built: Workspace, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = media.decode_video

    def flaky(path: Path, **options: Any) -> np.ndarray:
        if path.name == "alpha_0000.mp4":
            raise MediaError(f"{path}: damaged")
        return decode(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(media, "decode_video", flaky)
        assert shard(ws, "toy", CARD, recipe()).failed == {"alpha_0000": f"{ws.clips}/alpha_0000.mp4: damaged"}
    assert len(load_index(ws.root)) == 8
    assert shard(ws, "toy", CARD, recipe()).failed == {}
    assert tree(ws.shards) == tree(built.shards)


def test_a_new_version_in_the_card_changes_the_card_alone(ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe())
    before, inodes = tree(ws.shards), {path.name: path.stat().st_ino for path in ws.shards.glob("*.tar")}
    data = dataset_card(ws.root)["dataset_sha256"]
    summary = shard(ws, "toy", {**CARD, "version": "1.3"}, recipe())
    assert (summary.done, summary.already) == (0, 9)
    assert dataset_card(ws.root)["version"] == "1.3"
    assert dataset_card(ws.root)["dataset_sha256"] == data, "the hash names the data, not what is said about it"
    after = tree(ws.shards)
    assert {name for name in after if after[name] != before[name]} == {"DATASET.json", "README.md", "croissant.json"}
    assert {path.name: path.stat().st_ino for path in ws.shards.glob("*.tar")} == inodes, "linked, not written again"


def test_another_view_or_a_lost_tar_is_made_again(built: Workspace, ws: Workspace) -> None:
    small = recipe().model_copy(update={"view": recipe().view.model_copy(update={"size": 8})})
    shard(ws, "toy", CARD, small)
    assert set(load_index(ws.root)["view_size"]) == {8}
    shard(ws, "toy", CARD, recipe())
    lost = next(ws.shards.glob("test-*.tar"))
    lost.unlink()
    summary = shard(ws, "toy", CARD, recipe())
    assert (summary.done > 0, summary.done + summary.already) == (True, 9)
    assert tree(ws.shards) == tree(built.shards)


def test_fewer_clips_leave_no_shard_behind(ws: Workspace) -> None:
    shard(ws, "toy", CARD, recipe(max_bytes=1))
    shard(ws, "toy", CARD, recipe(max_bytes=10**9))
    assert len(list(ws.shards.glob("*.tar"))) == 3


def test_a_clip_that_cannot_be_packed_is_a_failure_and_the_others_are_packed(built: Workspace, ws: Workspace) -> None:
    gone, broken = ws.clips / "alpha_0000.mp4", ws.clips / "gamma_0001.mp4"
    kept_bytes = {path: path.read_bytes() for path in (gone, broken)}
    gone.unlink()
    broken.write_bytes(b"no video")
    summary = shard(ws, "toy", CARD, recipe())
    assert (summary.done, sorted(summary.failed)) == (7, ["alpha_0000", "gamma_0001"])
    card = dataset_card(ws.root)
    assert sorted(card["failed"]) == ["alpha_0000", "gamma_0001"]
    assert "work/clips/gamma_0001.mp4" in card["failed"]["gamma_0001"]
    assert str(ws.root) not in json.dumps(card), "a published file does not tell where it was made"
    assert len(load_index(ws.root)) == 7

    for path, data in kept_bytes.items():
        path.write_bytes(data)
    assert shard(ws, "toy", CARD, recipe()).failed == {}
    assert tree(ws.shards) == tree(built.shards)


def test_failures_of_earlier_stages_stand_in_the_card(ws: Workspace) -> None:
    ws.write_record("download", "omega", {"status": "failed", "error": "HTTP 404"})
    ws.write_record("segment", "gamma", {"status": "failed", "reason": "cut off", "clips": [], "params": ""})
    # a source of an earlier, larger list does not count
    ws.write_record("download", "stranger", {"status": "failed", "error": "HTTP 404"})
    shard(ws, "toy", CARD, recipe())
    assert dataset_card(ws.root)["failed"] == {"gamma": "cut off", "omega": "HTTP 404"}


def test_nothing_to_pack_says_why(ws: Workspace) -> None:
    quiet = DatasetRecipe.model_validate({**recipe().model_dump(), "filters": [{"name": "duration", "min_s": 60}]})
    filter_clips(ws, ALL, quiet.filters)
    with pytest.raises(UserError, match=r"no clip is left to pack \(10 clips: duration; 1 sources: # s long"):
        shard(ws, "toy", CARD, quiet)
    assert not is_dataset(ws.root)
    with pytest.raises(UserError, match="run `avbench filter` first"):
        shard(Workspace(ws.root / "empty"), "toy", CARD, recipe())


def test_a_view_that_does_not_fit_the_clip_is_refused(ws: Workspace) -> None:
    with pytest.raises(ValueError, match=r"clip_s x view.fps = 2 x 3.3 = 6.6 is not whole"):
        DatasetRecipe.model_validate({"segment": {"clip_s": 2}, "view": {"fps": 3.3}})
    other = recipe().model_copy(update={"view": recipe().view.model_copy(update={"fps": 3.3})})
    with pytest.raises(UserError, match=r"6\.6 is not whole; choose another rate"):
        shard(ws, "toy", CARD, other)


def test_a_split_that_stays_empty_is_a_warning(ws: Workspace) -> None:
    warnings = []

    class Heard(Reporter):
        def warn(self, message: str) -> None:
            warnings.append(message)

    filter_clips(ws, ["alpha", "beta"], recipe().filters)
    shard(ws, "toy", CARD, recipe(), reporter=Heard())
    assert warnings == [
        "no clips in validation and test: 1 source groups cannot fill every split, and a group is never divided"
    ]
    assert dataset_card(ws.root)["splits"]["test"] == {"clips": 0, "sources": 0, "hours": 0}


def test_an_id_too_long_for_a_tar_is_refused_by_name(ws: Workspace) -> None:
    kept = pd.read_parquet(ws.kept)
    kept.loc[0, "clip_id"] = "x" * 91
    kept.to_parquet(ws.kept)
    with pytest.raises(UserError, match="longer than the 90 characters a tar can name; shorten the id of the source"):
        shard(ws, "toy", CARD, recipe())


def test_reading_what_is_no_finished_dataset_is_a_user_error(built: Workspace, tmp_path: Path) -> None:
    assert not is_dataset(tmp_path)
    with pytest.raises(UserError, match=r"is not a finished dataset \(no shards/DATASET.json\); build it with"):
        load_index(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(built.shards, copy / "shards")
    pd.DataFrame({"clip_id": []}).to_parquet(copy / "shards" / "index.parquet")
    with pytest.raises(UserError, match=r"index.parquet: absent or not the one DATASET.json names"):
        load_index(copy)
    card = json.loads((copy / "shards" / "DATASET.json").read_text())
    (copy / "shards" / "DATASET.json").write_text(json.dumps({**card, "schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        dataset_card(copy)
