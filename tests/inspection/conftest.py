"""A small dataset that went through the real stages: some clips dropped, one source left out, one not downloaded."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from avbench.curate.filter import filter_clips
from avbench.curate.shard import shard
from avbench.recipe import DatasetRecipe, FilterSpec, SegmentRecipe, ViewRecipe
from avbench.schema import Source
from avbench.workspace import Workspace, write_json
from tests.curate.clip_folder import CLIP_S, FPS, HEIGHT, RATE, WIDTH, write_segment_record, write_source

SOURCES = ["alpha", "beta", "gamma", "private", "short"]
RECIPE = DatasetRecipe(
    segment=SegmentRecipe(clip_s=CLIP_S, fps=FPS, width=WIDTH, height=HEIGHT, sample_rate_hz=RATE, channels=1),
    filters=(FilterSpec.model_validate({"name": "silence", "max_ratio": 0.5}), FilterSpec(name="loudness")),
    view=ViewRecipe(size=16, fps=5.0, sample_rate_hz=4000),
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished dataset called ``tiny``: alpha_0001 and beta_0000 are silent."""
    ws = Workspace(tmp_path_factory.mktemp("finished") / "tiny")
    for source_id, clips, silent in (("alpha", 2, (1,)), ("beta", 2, (0,)), ("gamma", 1, ())):
        write_source(ws, source_id, clips, silent=silent)
    for source_id in SOURCES:
        failed = {"status": "failed", "kind": "permanent", "error": "the video is private"}
        told = failed if source_id == "private" else {"status": "done", "kind": "", "error": ""}
        source = Source(source_id, f"https://example.org/{source_id}", title=f"About {source_id}")
        ws.write_record("download", source_id, {"source": asdict(source), **told})
    write_segment_record(ws, "private", "failed", reason="not downloaded: the video is private")
    write_segment_record(ws, "short", "dropped", reason="too short: 1.2 s")
    write_json(ws.root / "recipe.json", RECIPE.model_dump(mode="json"))
    filter_clips(ws, SOURCES, RECIPE.filters)
    shard(ws, "tiny", {"version": "1", "licence": "CC0-1.0"}, RECIPE)
    return ws.root


@pytest.fixture
def dataset(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(finished, tmp_path / "tiny"))
