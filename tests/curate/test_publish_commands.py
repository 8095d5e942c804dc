"""The commands verify, publish and takedown: what they print, and exit code 2 with one sentence per fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from avbench.curate import _lease, tombstones
from avbench.curate.build import Build
from avbench.curate.filter import filter_clips
from avbench.curate.shard import shard
from avbench.curate.takedown import takedown
from avbench.dataset import dataset_card
from avbench.errors import UserError
from avbench.recipe import DatasetRecipe
from avbench.workspace import Workspace
from tests.commands import avbench
from tests.curate.clip_folder import CLIP_S, write_source

RECIPE = DatasetRecipe.model_validate(
    {
        "segment": {"clip_s": CLIP_S, "fps": 10, "sample_rate_hz": 8000},
        "view": {"size": 16, "fps": 5, "sample_rate_hz": 4000},
        "shard": {"max_bytes": 1},
    }
)
SOURCES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 3 recordings, 4 clips each, every clip in a tar of its own."""
    ws = Workspace(tmp_path_factory.mktemp("made") / "set")
    for source_id in SOURCES:
        write_source(ws, source_id, 4)
        record = ws.record("segment", source_id)
        assert record is not None
        clips = [{**clip, "verdict": "exact"} for clip in record["clips"]]
        ws.write_record("segment", source_id, {**record, "clips": clips})
    filter_clips(ws, SOURCES, RECIPE.filters)
    shard(ws, "toy", {"version": "1", "licence": "CC0-1.0"}, RECIPE)
    return ws.root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.slow
def test_verify_lists_ten_findings_and_counts_the_rest(root: Path) -> None:
    good = avbench("verify", "set", "--workers", "1", cwd=root.parent)
    assert (good.returncode, good.stderr) == (0, "")
    assert "12 shards, 12 clips, 12 clips read, 0 findings" in good.stdout
    assert dataset_card(root)["dataset_sha256"][:16] in good.stdout
    for path in (root / "shards").glob("*.tar"):
        path.unlink()
    bad = avbench("verify", "set", "--workers", "1", cwd=root.parent)
    assert bad.returncode == 2
    assert bad.stdout.count("wrong      ") == 10
    assert "... and 2 more" in bad.stdout
    assert "12 findings" in bad.stdout
    nowhere = avbench("verify", "nowhere", cwd=root.parent)
    assert (nowhere.returncode, nowhere.stderr.count("error: ")) == (2, 1)


@pytest.mark.slow
def test_publish_says_what_will_go_where_and_a_dry_run_needs_no_one_signed_in(root: Path) -> None:
    told = avbench("publish", "set", "--repo", "me/toy", "--dry-run", cwd=root.parent)
    assert told.returncode == 0, told.stderr
    assert "toy 1, 12 clips, the list, no media, to me/toy at https://huggingface.co" in told.stdout
    assert "clips whose licence is not allowed: CC0-1.0: 12" in told.stdout
    assert ".tar" not in told.stdout
    allowed = avbench("publish", "set", "--repo", "me/toy", "--dry-run", "--allow-licence", "CC0", cwd=root.parent)
    assert "toy 1, 12 clips, with media" in allowed.stdout
    assert "... and 6 more files" in allowed.stdout
    wrong = avbench("publish", "set", "--repo", "toy", cwd=root.parent)
    assert (wrong.returncode, wrong.stderr.strip()) == (2, "error: --repo 'toy': must be owner/name")


@pytest.mark.slow
def test_takedown_says_what_it_did_and_what_it_cannot_know(root: Path) -> None:
    done = avbench("takedown", "set", "beta_0002", "--reason", "asked", "--date", "2026-01-02", cwd=root.parent)
    assert done.returncode == 0, done.stderr
    assert "takedown   beta: 4 clips left the shards, 0 tars written anew, 4 deleted" in done.stdout
    assert "is version 1.0.1 now; publish it again" in done.stdout
    assert "avbench cache clear" in done.stdout
    (stone,) = tombstones.read(root)
    assert (stone.source_id, stone.date, stone.reason) == ("beta", "2026-01-02", "asked")
    again = avbench("takedown", "set", "nobody", cwd=root.parent)
    assert (again.returncode, again.stderr.count("error: ")) == (2, 1)


def test_a_build_leaves_out_what_was_taken_down(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("id,url\n" + "".join(f"{name},https://example.org/{name}\n" for name in SOURCES))
    (tmp_path / "set" / "work").mkdir(parents=True)
    takedown(tmp_path / "set", ["beta"], manifest=str(table))
    table.write_text("id,url\n" + "".join(f"{name},https://example.org/{name}\n" for name in SOURCES))
    build = Build.open(str(table), out=tmp_path / "set")
    assert [source.source_id for source in build.sources] == ["alpha", "gamma"]
    elsewhere = Build.open(str(table), out=tmp_path / "other")
    assert len(elsewhere.sources) == 3, "a tombstone is of one dataset"


def test_takedown_waits_for_nobody(root: Path) -> None:
    ws = Workspace(root)
    with (
        _lease.hold(_lease.running_folder(ws) / "other.json", "worker 1/2"),
        pytest.raises(UserError, match="workers of a build are busy"),
    ):
        takedown(root, ["alpha"])
    build = Build.open("demo", out=root)
    with build.lock(), pytest.raises(UserError, match="another avbench works in this folder"):
        takedown(root, ["alpha"])
    assert not (root / "tombstones.json").exists()
