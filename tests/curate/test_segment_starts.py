"""When clips begin: the last clip shifted to the end, scenes that no clip crosses, and what is left out, counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from curate.test_segment_stage import add_source, recipe

from avbench import media
from avbench.curate import _scenes
from avbench.curate._starts import plan
from avbench.curate.segment import segment
from avbench.errors import UserError
from avbench.recipe import SegmentRecipe, parse
from avbench.workspace import Workspace


def times(rate: float, seconds: float) -> np.ndarray:
    return np.arange(round(seconds * rate)) / rate


@pytest.mark.parametrize("rate", [25, 30000 / 1001, 30, 59.94])
def test_the_last_clip_is_shifted_to_the_end(rate: float) -> None:
    grid = times(rate, 100)
    end_s = float(grid[-1] + 1 / rate)
    dropped = plan(grid, end_s, recipe(clip_s=34.0, lead_s=10.0))
    shifted = plan(grid, end_s, recipe(clip_s=34.0, lead_s=10.0, tail="shift"))
    assert len(dropped.starts_s) == 2
    assert shifted.starts_s[:2] == dropped.starts_s
    assert len(shifted.starts_s) == 3
    # it ends with the source, to the frame
    assert end_s - 1 / rate < shifted.starts_s[2] + 34 <= end_s + 0.011
    assert dropped.unused_s == pytest.approx(end_s - 10 - 68, abs=0.05)
    assert shifted.unused_s < 2 / rate


def test_a_rest_that_would_only_repeat_the_last_clip_gives_none() -> None:
    grid = times(30, 45)
    assert len(plan(grid, 45.0, recipe(clip_s=34.0, lead_s=10.0, tail="shift")).starts_s) == 1
    assert plan(grid, 43.9, recipe(clip_s=34.0, lead_s=10.0, tail="shift")).starts_s == ()


def test_a_stride_below_the_length_overlaps() -> None:
    starts = plan(times(30, 20), 20.0, recipe(clip_s=4.0, stride_s=3.0, lead_s=1.0)).starts_s
    assert starts == pytest.approx([1, 4, 7, 10, 13, 16])
    assert plan(times(30, 20), 20.0, recipe(clip_s=4.0, stride_s=3.0, lead_s=1.0)).unused_s == pytest.approx(0)


@pytest.mark.parametrize("tail", ["drop", "shift"])
def test_no_clip_holds_a_cut_and_short_scenes_are_counted(tail: str) -> None:
    cuts_s = np.array([0.5, 5.0, 6.0, 12.5, 19.0])
    found = plan(times(30, 20), 20.0, recipe(clip_s=2.0, lead_s=1.0, mode="scenes", tail=tail), cuts_s)
    borders = [1.0, *cuts_s[1:], 20.0]
    for start in found.starts_s:
        inside = [k for k in range(5) if borders[k] - 1e-9 <= start and start + 2.0 <= borders[k + 1] + 0.011]
        assert len(inside) == 1, start
    assert found.n_scenes == 5
    assert found.short_scenes_s == pytest.approx(1.0 + 1.0)
    assert found.longest_scene_s == pytest.approx(6.5)
    # 19 s after the lead: scenes of 4, 1, 6.5, 6.5 and 1 s hold 4 + 6 + 6 s of clips, or all of the long ones
    assert found.unused_s == pytest.approx({"drop": 3.0, "shift": 2.0}[tail], abs=1e-6)


def two_scenes(path: Path) -> Path:
    """Three seconds of one picture that moves a little, then three of another."""
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 255, (2, 6, 8, 3)).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    halves[1] //= 3
    frames = np.stack([np.roll(halves[int(k >= 80)], k // 8, axis=1) for k in range(180)])
    noise = rng.uniform(-0.2, 0.2, (1, 6 * 16_000)).astype(np.float32)
    media.encode(path, frames, 30, noise, 16_000, audio_codec="flac", crf=4)
    return path


@pytest.mark.parametrize("detector", ["content", "adaptive", "histogram", "hash"])
def test_each_detector_finds_the_cut(detector: str, tmp_path: Path) -> None:
    path = two_scenes(tmp_path / "a.mp4")
    found = _scenes.cuts(path, 30.0, recipe(mode="scenes", scene_detector=detector))
    assert found == pytest.approx([80 / 30], abs=1e-6)


def test_the_threshold_reaches_the_detector(tmp_path: Path) -> None:
    path = two_scenes(tmp_path / "a.mp4")
    assert len(_scenes.cuts(path, 30.0, recipe(mode="scenes", scene_threshold=250.0))) == 0


def test_clips_of_the_stage_lie_inside_scenes(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "set")
    add_source(ws, "a", two_scenes(tmp_path / "a.mp4"))
    settings = recipe(mode="scenes", lead_s=0.0)
    assert segment(ws, ["a"], settings).done == 1
    record = ws.record("segment", "a")
    assert record is not None
    starts = [clip["start_s"] for clip in record["clips"]]
    assert starts == pytest.approx([0, 1, 80 / 30, 80 / 30 + 1, 80 / 30 + 2])
    assert (record["scenes"], record["short_scenes_s"]) == (2, 0.0)
    assert record["unused_s"] == pytest.approx(1.0, abs=0.01)
    for clip in record["clips"]:
        pictures = media.decode_video(ws.clips / clip["file"]).mean(axis=(1, 2, 3))
        assert np.ptp(pictures) < 10
    dropped = segment(ws, ["a"], recipe(mode="scenes", lead_s=0.0, clip_s=4.0)).dropped
    assert dropped["a"] == "no scene of 4 s: 2 scenes after the lead of 0 s, the longest 3.333 s"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scene_detector": "content"}, "needs mode = 'scenes'"),
        ({"scene_threshold": 20.0}, "needs mode = 'scenes'"),
        ({"tail": "shift", "stride_s": 40.0}, "leaves gaps between clips of 34 s"),
        ({"tail": "keep"}, "segment.tail|tail = 'keep'"),
        ({"mode": "scenes", "scene_detector": "magic"}, "scene_detector = 'magic'"),
        ({"video_codec": "av1"}, "video_codec = 'av1'"),
        ({"audio_codec": "aac", "sample_rate_hz": 17_000}, "17000 is no rate of AAC"),
        ({"fps": 29.97}, "is not whole"),
        ({"overlap_s": 4.0}, "unknown key 'overlap_s'"),
    ],
)
def test_what_contradicts_itself_is_one_sentence(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(values, SegmentRecipe, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert "\n" not in str(caught.value)
