"""Several workers on a shared folder: each its part, nobody twice, never beside a command, the same bytes after."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from avbench.curate import _lease, _sites, status
from avbench.curate._lease import Holder
from avbench.curate.build import Build
from avbench.curate.worker import Share
from avbench.errors import UserError
from avbench.workspace import STAGES, Workspace, file_sha256
from tests.commands import avbench

RECIPE = """
[segment]
clip_s = 1
lead_s = 0
fps = 10
width = 32
height = 32
sample_rate_hz = 16000
channels = 1

[[filters]]
name = "silence"

[view]
size = 16
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("list")
    rows = [f"s{k},synthetic:kind=impacts&seed={k}&seconds=3&width=32&height=32" for k in range(5)]
    (made / "mine.csv").write_text("id,url\n" + "\n".join([*rows, f"gone,{made}/absent.mp4"]) + "\n")
    (made / "recipe.toml").write_text(RECIPE)
    return made


def opened(folder: Path, out: Path, **more: str) -> Build:
    return Build.open(str(folder / "mine.csv"), out=out, recipe=str(folder / "recipe.toml"), **more)  # type: ignore[arg-type]


def shards(out: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted((out / "shards").iterdir())}


def test_a_share_is_written_i_of_n() -> None:
    assert str(Share.parse(" 3/8 ")) == "3/8"
    for wrong in ("0/8", "9/8", "3", "a/b", "-1/2", "1/0"):
        with pytest.raises(UserError, match="must be i/n"):
            Share.parse(wrong)


def test_every_source_belongs_to_exactly_one_worker_whatever_else_is_in_the_list() -> None:
    ids = [f"source{n}" for n in range(500)]
    for count in (1, 2, 7):
        takers = [[k for k in range(1, count + 1) if Share(k, count).takes(one)] for one in ids]
        assert all(len(found) == 1 for found in takers)
        sizes = [sum(found == [k] for found in takers) for k in range(1, count + 1)]
        assert min(sizes) > 0.6 * len(ids) / count


@pytest.mark.slow
def test_workers_and_then_the_plain_command_end_with_the_bytes_of_one_command(folder: Path, tmp_path: Path) -> None:
    alone = opened(folder, tmp_path / "alone")
    with alone.lock():
        for name in STAGES:
            alone.stage(name, 1)
    shared = opened(folder, tmp_path / "shared")
    done = 0
    for number in (1, 2, 3):
        with shared.lock(Share(number, 3)):
            found = {summary.stage: summary for summary in shared.worker(Share(number, 3), 1)}
        assert not shared.workspace.kept.exists(), "tables are the plain command's"
        assert found["segment"].done == found["download"].done
        assert found["filter"].done == 3 * found["segment"].done
        done += found["download"].done
    assert done == 5
    with shared.lock():
        again = [shared.stage(name, 1) for name in STAGES]
    assert [summary.done for summary in again[:3]] == [0, 0, 0]
    assert [summary.already for summary in again[:3]] == [5, 5, 15]
    assert shards(tmp_path / "shared") == shards(tmp_path / "alone")


@pytest.mark.slow
def test_a_source_in_other_hands_is_left_to_them(folder: Path, tmp_path: Path) -> None:
    build = opened(folder, tmp_path)
    with _lease.hold(_lease.source_path(build.workspace, "s1"), "s1") as free:
        assert free
        summaries = build.worker(Share(1, 1), 1)
    assert summaries[0].done == 4
    assert summaries[0].notes == ["1 are in the hands of another worker and were left to it"]
    assert "no such file" in summaries[0].failed["gone"]
    assert build.worker(Share(1, 1), 1)[0].done == 1
    assert not list((tmp_path / "work" / "leases").iterdir())


def test_workers_share_a_folder_and_a_command_has_it_alone(folder: Path, tmp_path: Path) -> None:
    first, second, plain = (opened(folder, tmp_path) for _ in range(3))
    with first.lock(Share(1, 2)):
        with (
            pytest.raises(UserError, match=r"another avbench works in this folder \(worker 1/2 on .*process"),
            plain.lock(),
        ):
            pass
        # two workers are two processes: this one has another name for the second
        (me,) = _lease.running_folder(first.workspace).iterdir()
        other = me.rename(me.with_name("other-1.json"))
        with second.lock(Share(2, 2)):
            assert len(_lease.holders(_lease.running_folder(first.workspace))) == 2
        other.unlink()
    with plain.lock():
        pass


def test_a_worker_does_not_start_beside_a_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.curate.build._DOOR_S", 0.1)
    first, second = opened(folder, tmp_path), opened(folder, tmp_path)
    with first.lock(), pytest.raises(UserError, match=r"works in this folder \(build on"), second.lock(Share(1, 2)):
        pass


def test_workers_with_two_recipes_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("fps = 10", "fps = 5"))
    first = opened(folder, tmp_path / "out")
    second = Build.open(str(folder / "mine.csv"), out=tmp_path / "out", recipe=str(other))
    with first.lock(Share(1, 2)), pytest.raises(UserError, match="follow another recipe"), second.lock(Share(2, 2)):
        pass


def test_a_lease_whose_holder_died_or_fell_silent_is_free(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for holder, age_s, free in (
        (Holder(platform.node(), dead.pid, "x", 0.0, "t"), 0, True),
        (Holder(platform.node(), os.getpid(), "x", 0.0, "t"), 0, False),
        (Holder("elsewhere", dead.pid, "x", 0.0, "t"), 0, False),
        (Holder("elsewhere", dead.pid, "x", 0.0, "t"), _lease.STALE_S + 1, True),
    ):
        path.write_text(json.dumps(asdict(holder)))
        os.utime(path, (time.time() - age_s,) * 2)
        with _lease.hold(path, "me") as taken:
            assert taken is free
        assert path.exists() is not free
        path.unlink(missing_ok=True)


def test_what_dead_holders_left_is_cleared_by_the_next_command(folder: Path, tmp_path: Path) -> None:
    build = opened(folder, tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [_lease.running_folder(build.workspace) / "x.json", _lease.source_path(build.workspace, "s1")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(asdict(Holder(platform.node(), dead.pid, "x", 0.0, "t"))))
    with build.lock():
        assert not any(path.exists() for path in left)


def test_a_living_holder_keeps_its_lease_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lease, "BEAT_S", 0.01)
    path = tmp_path / "s.json"
    with _lease.hold(path, "me"):
        os.utime(path, (1, 1))
        while path.stat().st_mtime == 1:
            time.sleep(0.01)


def record(ws: Workspace, stage: str, source_id: str, **values: object) -> None:
    ws.write_record(stage, source_id, {"source": {"source_id": source_id}, **values})


def test_status_tells_every_state_apart(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    for kind in ("permanent", "transient", "site"):
        record(ws, "download", kind, status="failed", kind=kind, error="x")
    record(ws, "download", "old", status="failed", error="x")
    for one in ("kept", "dropped", "silent", "broken", "cut"):
        record(ws, "download", one, status="done", kind="")
    record(ws, "segment", "dropped", status="dropped", clips=[])
    for one in ("kept", "silent", "broken"):
        record(ws, "segment", one, status="done", clips=[{}])
    keep, drop = ({"keep": keep} for keep in (True, False))
    record(ws, "filter", "kept", clips=[{"verdicts": [keep, drop], "error": ""}, {"verdicts": [keep], "error": ""}])
    record(ws, "filter", "silent", clips=[{"verdicts": [drop], "error": ""}])
    record(ws, "filter", "broken", clips=[{"verdicts": [], "error": "x"}])
    _sites.pause(ws, "x.org", 100, "busy")
    found = status.Survey(ws, (*(r["source"]["source_id"] for r in ws.records("download")), "new")).look()
    want = {"done": 1, "filtered": 2, "waiting": 2, "transient": 2, "site": 1, "permanent": 1, "failed": 1}
    assert found.states == want
    assert found.sources == sum(want.values())
    assert found.stages["filter"] == {"kept": 1, "dropped": 2, "failed": 1}
    assert found.stages["download"] == {"done": 5, "transient": 2, "site": 1, "permanent": 1}
    assert [pause.site for pause in found.pauses] == ["x.org"]
    assert found.pace["segment"].left == 1
    assert found.pace["segment"].eta_s > 0


def test_status_reads_a_record_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = Workspace(tmp_path)
    record(ws, "download", "a", status="done")
    survey = status.Survey(ws)
    assert survey.look().states["waiting"] == 1
    read: list[str] = []
    honest = status.read_json
    monkeypatch.setattr(status, "read_json", lambda path: (read.append(path.name), honest(path))[1])
    survey.look()
    assert "a.json" not in read
    record(ws, "segment", "a", status="dropped", clips=[])
    assert survey.look().states["filtered"] == 1
    assert "a.json" in read


def test_reset_takes_what_it_is_told_and_no_more(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    for kind in ("permanent", "transient", "site"):
        record(ws, "download", kind, status="failed", kind=kind, error="x")
    for stage in ("download", "segment", "filter"):
        record(ws, stage, "good", status="done")
    with pytest.raises(UserError, match="did you mean 'good'"):
        status.reset(ws, [], ["goood"])
    assert status.reset(ws, ["permanent", "site"]) == 2
    assert {r["source"]["source_id"] for r in ws.records("download")} == {"transient", "good"}
    assert status.reset(ws, [], ["good"]) == 1
    assert [ws.record(stage, "good") for stage in ("download", "segment", "filter")] == [None] * 3


@pytest.mark.slow
def test_the_commands(folder: Path, tmp_path: Path) -> None:
    base = [str(folder / "mine.csv"), "--out", str(tmp_path / "out")]
    recipe = ["--recipe", str(folder / "recipe.toml"), "--workers", "1"]
    assert avbench("status", cwd=tmp_path).returncode == 2
    built = avbench("build-dataset", *base, *recipe, "--worker", "1/1", cwd=tmp_path)
    assert built.returncode == 2, built.stderr
    shown = avbench("status", *base, "--watch", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "6 sources: 5 done, 1 permanent" in shown.stdout
    assert "running    nothing" in shown.stdout
    (told,) = json.loads(avbench("status", str(tmp_path / "out"), "--json", cwd=tmp_path).stdout)
    assert told["states"]["done"] == 5
    assert avbench("retry", *base, cwd=tmp_path).returncode == 2
    again = avbench("retry", *base, *recipe, "--source", "s1", cwd=tmp_path)
    assert "1 sources will be asked for again" in again.stdout
    assert "download   1 done, 4 already, 0 dropped, 1 failed" in again.stdout
