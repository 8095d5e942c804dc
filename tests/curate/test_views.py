"""Training views made by the filter stage are those of the shard stage, to the byte, and are never taken for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.curate import _views
from avbench.curate.filter import filter_clips
from avbench.curate.shard import shard
from avbench.errors import UserError
from avbench.recipe import DatasetRecipe, FilterSpec, ViewRecipe
from avbench.workspace import Workspace
from tests.curate.clip_folder import CLIP_S, tree, write_source

SOURCES = ["alpha", "beta", "delta"]
VIEW = ViewRecipe(size=16, fps=5, sample_rate_hz=4000)
RECIPE = DatasetRecipe.model_validate(
    {
        "segment": {"clip_s": CLIP_S, "fps": 10, "sample_rate_hz": 8000},
        "filters": [{"name": "silence"}],
        "view": VIEW.model_dump(),
        "shard": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1},
    }
)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Three sources of two clips, one clip of them silent; room on the disk."""
    monkeypatch.setattr(_views, "_SPARE_BYTES", 0)
    made = Workspace(tmp_path / "set")
    for source_id in SOURCES:
        write_source(made, source_id, 2, silent=(1,) if source_id == "delta" else ())
    return made


def views(ws: Workspace) -> dict[str, bytes]:
    return dict(tree(_views.folder(ws)))


def packed(ws: Workspace) -> dict[str, bytes]:
    shard(ws, "toy", {}, RECIPE)
    return dict(tree(ws.shards))


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Clips whose view was decoded by itself."""
    found: list[Path] = []
    real = media.decode_video

    def noted(path, **options):
        found.append(path)
        return real(path, **options)

    monkeypatch.setattr(media, "decode_video", noted)
    return found


def test_a_view_is_the_same_whichever_stage_makes_it(ws: Workspace, tmp_path: Path) -> None:
    filter_clips(ws, SOURCES, RECIPE.filters, view=VIEW)
    ahead = views(ws)
    assert len(ahead) == 5  # none of the silent clip
    view = _views.View.of(VIEW, CLIP_S)
    for name, data in ahead.items():
        clip = ws.clips / f"{name[: name.rindex('-')]}.mp4"
        _views.make(tmp_path / name, clip, view)
        assert (tmp_path / name).read_bytes() == data
        assert len(data) == view.video_bytes + view.audio_bytes


@pytest.mark.parametrize("fps", [10.0, 4.0, 2.5])
def test_pictures_taken_on_the_way_are_those_of_a_decode_of_their_own(ws: Workspace, fps: float) -> None:
    clip = ws.clips / "alpha_0000.mp4"
    grids = [media.Grid(5, (32, 24), "stretch"), media.Grid(fps, (16, 16)), media.Grid(7, (20, 8), "crop")]
    found, stills = media.decode_grids_and_stills(clip, grids, {3, 17})
    for grid, pictures in zip(grids, found, strict=True):
        np.testing.assert_array_equal(pictures, media.decode_video(clip, fps=grid.fps, size=grid.size, fit=grid.fit))
    np.testing.assert_array_equal(stills, media.decode_video(clip, picked={3, 17}))


def test_the_shards_are_the_same_and_nothing_is_decoded_twice(
    ws: Workspace, tmp_path: Path, decodes: list[Path]
) -> None:
    filter_clips(ws, SOURCES, RECIPE.filters)
    assert not views(ws)
    plain = packed(ws)
    assert len(decodes) == 5
    decodes.clear()

    other = Workspace(tmp_path / "other")
    for source_id in SOURCES:
        write_source(other, source_id, 2, silent=(1,) if source_id == "delta" else ())
    filter_clips(other, SOURCES, RECIPE.filters, view=VIEW)
    assert packed(other) == plain
    assert not decodes
    assert not _views.folder(other).exists()


def test_a_view_of_another_clip_or_recipe_is_not_taken(ws: Workspace, decodes: list[Path]) -> None:
    filter_clips(ws, SOURCES, RECIPE.filters, view=VIEW.model_copy(update={"size": 8}))
    before = views(ws)
    packed(ws)
    assert len(before) == len(decodes) == 5


def test_a_full_disk_leaves_the_views_to_the_shard_stage(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_views, "_SPARE_BYTES", 1e18)
    filter_clips(ws, SOURCES, RECIPE.filters, view=VIEW)
    assert not views(ws)


def test_a_clip_without_sound_is_judged_and_has_no_view_yet(ws: Workspace) -> None:
    media.encode(ws.clips / "alpha_0000.mp4", np.full((20, 48, 64, 3), 90, np.uint8), 10, None, 8000)
    summary = filter_clips(ws, SOURCES, [FilterSpec.model_validate({"name": "duration"})], view=VIEW)
    assert not summary.failed
    assert not [name for name in views(ws) if name.startswith("alpha_0000")]


def test_a_view_that_does_not_fit_the_clips_is_said_before_they_are_judged(ws: Workspace) -> None:
    with pytest.raises(UserError, match="choose another rate"):
        filter_clips(ws, SOURCES, RECIPE.filters, view=VIEW.model_copy(update={"fps": 3.3}))
    assert ws.record("filter", "alpha") is None
