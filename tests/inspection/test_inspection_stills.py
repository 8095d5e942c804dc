"""The picture of a clip shows the clip: its frames in their order, its sound at its time."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench.curate._tar import TarWriter
from avbench.inspection import reading, stills
from avbench.inspection.reading import Judged
from avbench.inspection.stills import Still


def drawn(root: Path, out: Path, names: str | None = None) -> dict[str, Still]:
    clips: tuple[Judged, ...] = reading.read(str(root)).clips
    wanted = [(0, clip) for clip in clips if names is None or clip.clip.clip_id in names]
    return {name: still for (_, name), still in stills.draw([root], wanted, out).items()}


def test_sound_stands_where_it_sounds() -> None:
    sound = np.zeros((2, 8000), np.float32)
    sound[0, 4000:6000] = 0.5
    sound[1, 4000:6000] = -1.0
    picture = stills.waveform(sound, 80)
    assert picture.shape == (stills.WAVE_ROWS, 80)
    height = (picture > 0).sum(axis=0)
    middle = stills.WAVE_ROWS // 2
    assert (height[:40] == 2).all()  # silence is a thin line
    assert (height[41:59] >= middle * 1.5 - 1).all()
    assert (picture[-1, 41:59] > 0).all()
    assert (picture[: middle // 2 - 1] == 0).all()


def test_sound_shorter_than_the_picture_is_wide_is_drawn_too() -> None:
    assert stills.waveform(np.ones((1, 3), np.float32), 80).any(axis=0).all()


def test_frames_are_in_order_and_the_sheet_is_six_wide(dataset: Path, tmp_path: Path) -> None:
    still = drawn(dataset, tmp_path / "stills", "alpha_0000")["alpha_0000"]
    with Image.open(tmp_path / "stills" / still.frames) as sheet:
        pixels = np.asarray(sheet.convert("L"), np.int16)
    assert pixels.shape == (96, stills.FRAMES * 128)
    parts = np.split(pixels, stills.FRAMES, axis=1)
    assert all(np.abs(a - b).mean() > 1 for a, b in pairwise(parts))
    assert 0 < still.peak <= 1


def test_a_silent_clip_differs_from_a_loud_one(dataset: Path, tmp_path: Path) -> None:
    found = drawn(dataset, tmp_path / "stills", "alpha_0000 alpha_0001")
    loud, silent = (Image.open(tmp_path / "stills" / found[name].sound) for name in ("alpha_0000", "alpha_0001"))
    assert np.asarray(loud).mean() > 5 * np.asarray(silent).mean()
    assert found["alpha_0001"].peak < 1e-3


def test_kept_clips_come_from_the_shards_where_work_is_gone(dataset: Path, tmp_path: Path) -> None:
    before = drawn(dataset, tmp_path / "before", "alpha_0000")["alpha_0000"]
    shutil.rmtree(dataset / "work" / "clips")
    after = drawn(dataset, tmp_path / "after")
    for name in (before.frames, before.sound):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()
    assert after["alpha_0001"].problem.startswith("its picture is gone: neither work/clips nor the shards hold")


def test_a_damaged_clip_is_a_sentence_that_does_not_name_the_machine(dataset: Path, tmp_path: Path) -> None:
    (dataset / "work" / "clips" / "alpha_0001.mp4").write_bytes(b"no film")
    problem = drawn(dataset, tmp_path / "stills", "alpha_0001")["alpha_0001"].problem
    assert "alpha_0001.mp4" in problem
    assert str(tmp_path) not in problem


def test_pictures_of_an_earlier_page_are_removed_and_nothing_else(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "stills"
    first = drawn(dataset, out, "alpha_0000")["alpha_0000"]
    (out / "notes.txt").write_text("mine")
    second = drawn(dataset, out, "beta_0001")["beta_0001"]
    assert {path.name for path in out.iterdir()} == {second.frames, second.sound, "notes.txt"}
    assert first.frames not in {second.frames, second.sound}


@pytest.mark.parametrize("clip_id", ["../../escape", "a/b", "x" * 300])
def test_a_hostile_id_is_no_path(dataset: Path, tmp_path: Path, clip_id: str) -> None:
    (judged,) = [clip for clip in reading.read(str(dataset)).clips if clip.clip.clip_id == "alpha_0000"]
    hostile = Judged(judged.clip.__class__(**{**vars(judged.clip), "clip_id": clip_id}), judged.verdicts)
    (still,) = stills.draw([dataset], [(0, hostile)], tmp_path / "stills").values()
    assert not still.problem
    assert {path.parent for path in tmp_path.rglob("*.jpg")} == {tmp_path / "stills"}


def test_a_file_name_in_a_record_cannot_leave_the_dataset(dataset: Path, tmp_path: Path) -> None:
    (judged,) = [clip for clip in reading.read(str(dataset)).clips if clip.clip.clip_id == "alpha_0001"]
    shutil.copyfile(dataset / "work" / "clips" / "alpha_0000.mp4", tmp_path / "outside.mp4")
    clip = judged.clip.__class__(**{**vars(judged.clip), "file": "../../../outside.mp4"})
    (still,) = stills.draw([dataset], [(0, Judged(clip, {}))], tmp_path / "stills").values()
    assert still.problem


def test_a_shard_without_the_clip_is_a_sentence(dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(dataset / "work" / "clips")
    for tar in (dataset / "shards").glob("*.tar"):
        with TarWriter(tar) as empty:
            empty.add("other.json", b"{}")
    assert "picture is gone" in drawn(dataset, tmp_path / "stills", "alpha_0000")["alpha_0000"].problem
