"""One dataset from its manifest: the list is fetched when absent, mistakes come first, one process per folder."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from avbench import media
from avbench.curate.build import Build, sync
from avbench.curate.worker import Share
from avbench.dataset import dataset_card, load_index
from avbench.errors import UserError, WeightsMissing
from avbench.workspace import STAGES
from tests.clips import RATE, clip
from tests.commands import avbench
from tests.servers import HubServer

RECIPE = """
[segment]
clip_s = 4
lead_s = 1
fps = 10
width = 32
height = 32
sample_rate_hz = 16000
channels = 1

[view]
size = 32
"""
CARD = """
name = "set"
version = "1"
licence = "unknown"
description = "d"
source = "s"

[hub]
repo_id = "owner/name"

[hub.segment]
lead_s = 0.0
clip_s = 3.0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest whose list is on a hub: chunks of three videos, one of them too short."""
    repo = tmp_path / "repo"
    for number, name in enumerate(
        ("aB3_-xyZ901_chunk1", "aB3_-xyZ901_chunk2", "Zz0_-xyZ902_chunk1", "short000000_chunk1")
    ):
        video, audio = clip(number, frames=10 if "short" in name else 35)
        (repo / "train").mkdir(parents=True, exist_ok=True)
        media.encode(repo / "train" / f"{name}.mp4", video, 10, audio, RATE)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "card.toml").write_text(CARD)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.slow
def test_a_hub_dataset_is_listed_fetched_and_built_by_one_command(folder: Path) -> None:
    with HubServer({"owner/name": folder / "repo"}) as hub:
        command = ["build-dataset", "set", "--recipe", "recipe.toml", "--out", "out", "--workers", "1"]
        done = avbench(*command, cwd=folder, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 2, done.stderr
    assert "owner/name at c0ffee" in done.stdout
    assert "clips of 3 s from 0 s on" in done.stdout
    assert "too short" in done.stdout
    index = load_index(folder / "out")
    assert len(index) == 3
    assert index.groupby("group").size().to_dict() == {"Zz0_-xyZ902": 1, "aB3_-xyZ901": 2}
    assert dataset_card(folder / "out")["name"] == "set"


def test_another_route_keeps_the_pinned_commit_and_asks_for_videos(folder: Path) -> None:
    with HubServer({"owner/name": folder / "repo"}) as hub:
        assert "4 sources of 3 videos" in sync(str(folder / "set"), endpoint=hub.endpoint)
        hub.requests.clear()
        assert "3 sources" in sync(str(folder / "set"), route="web", endpoint=hub.endpoint)
        assert all("c0ffee" in request for request in hub.requests), "the second list is of the first one's commit"
    build = Build.open(str(folder / "set"), out=folder / "out", recipe=str(folder / "recipe.toml"))
    assert [source.url.split("=")[-1] for source in build.sources] == ["Zz0_-xyZ902", "aB3_-xyZ901", "short000000"]
    assert build.recipe.segment.clip_s == 4, "videos are cut as the recipe says"


def one_source(folder: Path) -> str:
    (folder / "mine.csv").write_text("id,url\na,synthetic:kind=impacts&seed=1&seconds=6&width=64&height=48\n")
    return str(folder / "mine.csv")


def test_a_route_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no routes to choose from"):
        Build.open(one_source(tmp_path), route="web")
    with pytest.raises(UserError, match="names no hub repository"):
        sync("demo")


def test_a_misspelt_threshold_is_found_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[filters]]\nname = "silence"\nmax_silence = 0.5\n')
    with pytest.raises(UserError, match="filter silence: unknown key 'max_silence'"):
        Build.open(one_source(tmp_path), out=tmp_path / "out", recipe=str(tmp_path / "r.toml"))
    assert not (tmp_path / "out").exists()


def test_absent_weights_of_a_filter_are_found_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "empty"))
    (tmp_path / "r.toml").write_text(RECIPE + '[[filters]]\nname = "aesthetic"\n')
    build = Build.open(one_source(tmp_path), recipe=str(tmp_path / "r.toml"), out=tmp_path / "out")
    with pytest.raises(WeightsMissing, match="are not on this machine"):
        build.check()
    assert not (tmp_path / "out").exists()


def test_a_description_says_what_will_happen_and_does_nothing(tmp_path: Path) -> None:
    build = Build.open(one_source(tmp_path), out=tmp_path / "out")
    text = "\n".join(build.describe(3))
    for word in ("1 sources", "clips of 34 s from 10 s on", "free", "3 workers", str(tmp_path / "out")):
        assert word in text
    assert not (tmp_path / "out").exists()


def test_a_second_process_in_the_folder_is_refused(tmp_path: Path) -> None:
    first = Build.open(one_source(tmp_path), out=tmp_path / "out")
    second = Build.open(one_source(tmp_path), out=tmp_path / "out")
    with first.lock():
        assert (tmp_path / "out" / "recipe.json").exists()
        with pytest.raises(UserError, match="another avbench works in this folder"), second.lock():
            pass
    with second.lock():
        pass


def test_what_a_killed_command_left_half_written_is_removed_by_the_next_one_alone(tmp_path: Path) -> None:
    build, half = Build.open(one_source(tmp_path), out=tmp_path / "out"), []
    for folder in ("work/raw", "work/ledger/download", "."):
        half.append(tmp_path / "out" / folder / ".tmp-77-a.json")
        half[-1].parent.mkdir(parents=True, exist_ok=True)
        half[-1].write_text("ha")
        half[-1].with_name("whole.json").write_text("{}")
    trainings = tmp_path / "out" / "latents" / ".tmp-78-b.npy"
    trainings.parent.mkdir()
    trainings.write_text("ha")
    with build.lock(Share(1, 2)):
        assert all(path.exists() for path in half), "it may be another worker's"
    with build.lock():
        assert not any(path.exists() for path in half)
        assert all(path.with_name("whole.json").exists() for path in half)
        assert trainings.exists(), "a training that encodes latents holds no lock of the build"


def test_a_build_waits_for_what_a_killed_one_had_just_started(tmp_path: Path) -> None:
    first = Build.open(one_source(tmp_path), out=tmp_path / "out")
    with ExitStack() as held:
        held.enter_context(first.lock())
        threading.Timer(0.2, held.pop_all().close).start()
        with Build.open(one_source(tmp_path), out=tmp_path / "out").lock():
            pass


def test_the_stages_are_those_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    build = Build.open(one_source(tmp_path), out=tmp_path / "out", recipe=str(tmp_path / "r.toml"))
    with build.lock():
        summaries = [build.stage(name, 1) for name in STAGES]
    assert [summary.stage for summary in summaries] == list(STAGES)
    assert [summary.done for summary in summaries] == [1, 1, 1, 1]
