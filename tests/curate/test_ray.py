"""Ray as an engine: a cluster of two nodes, one of them killed; the same bytes; one sentence for each mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from avbench.curate import _lease, _ray
from avbench.curate._lease import Holder
from avbench.curate.build import Build
from avbench.errors import EnvironmentFault, UserError
from avbench.progress import SILENT
from avbench.schema import Source
from avbench.workspace import STAGES, file_sha256
from tests.ray_cluster import TOKEN, descendants, environment, kill, two_nodes

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
SOURCES = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("list")
    rows = [f"s{k},synthetic:kind=impacts&seed={k}&seconds=3&width=32&height=32" for k in range(SOURCES)]
    (made / "mine.csv").write_text("id,url\n" + "\n".join([*rows, f"gone,{made}/absent.mp4"]) + "\n")
    (made / "recipe.toml").write_text(RECIPE)
    return made


def shards(out: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted((out / "shards").iterdir())}


def shards_of_a_local_build(folder: Path, out: Path) -> dict[str, str]:
    build = Build.open(str(folder / "mine.csv"), out=out, recipe=str(folder / "recipe.toml"))
    with build.lock():
        for name in STAGES:
            build.stage(name, 1)
    return shards(out)


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, str]:
    """The bytes of a build in one process."""
    return shards_of_a_local_build(folder, folder / "alone")


def start(folder: Path, out: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    code = "from avbench.cli import main; main()"
    arguments = ["build-dataset", str(folder / "mine.csv"), "--recipe", str(folder / "recipe.toml"), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--engine", "ray", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment() | variables,
    )


def until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def counted(said: str, stage: str) -> int:
    """Items of a stage that are done, now or before."""
    line = next(line for line in said.splitlines() if line.startswith(stage))
    return sum(int(number) for number in re.findall(r"(\d+) (?:done|already)", line))


@pytest.mark.slow
def test_a_node_that_is_killed_half_way_changes_no_byte(folder: Path, alone: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'avbench[ray]')")
    out = tmp_path / "out"
    # what a worker on a machine that died a moment ago leaves behind
    leases = out / "work" / "leases"
    leases.mkdir(parents=True)
    (leases / "s5.json").write_text(json.dumps(asdict(Holder("elsewhere", 1, "s5", time.time(), "t"))))

    def held_by(node: int) -> bool:
        own = descendants(node)
        return any((who := _lease.holder(path)) and who.pid in own for path in leases.glob("*.json"))

    ledger = out / "work" / "ledger" / "filter"
    with two_nodes(tmp_path) as cluster:
        build = start(folder, out, "--ray-address", cluster.address, **TOKEN)
        until(lambda: list(ledger.glob("[!.]*.json")) and held_by(cluster.second), build)
        before = len(list(ledger.glob("[!.]*.json")))
        kill(cluster.second)
        said, complaints = build.communicate()
    assert before < SOURCES, "the node was killed too late to matter"
    assert build.returncode == 2, said + complaints  # the source that is absent
    assert shards(out) == alone
    assert (counted(said, "download"), counted(said, "filter")) == (SOURCES, 3 * SOURCES)
    assert "another worker" not in said
    assert "2 nodes with 2 cores" in said + complaints
    assert not re.search(r"Traceback|raylet|gcs|rpc|INFO|WARN", complaints), complaints
    assert not list(leases.iterdir())
    assert not list(out.rglob(".tmp-*"))


@pytest.mark.slow
def test_ctrl_c_ends_a_build_over_ray_and_any_engine_goes_on(
    folder: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'avbench[ray]')")
    out = tmp_path / "out"
    interrupted = start(folder, out, "--workers", "1")
    ledger = out / "work" / "ledger" / "filter"
    until(lambda: list(ledger.glob("[!.]*.json")), interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, complaints = interrupted.communicate()
    assert interrupted.returncode == 130, complaints
    assert "run the same command again" in complaints
    assert len(list(ledger.glob("[!.]*.json"))) < SOURCES, "it was stopped too late to matter"
    assert shards_of_a_local_build(folder, out) == alone


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("ray://127.0.0.1:10001", "must be HOST:PORT"),
        ("somewhere", "must be HOST:PORT"),
        ("127.0.0.1:0", "nothing answers there"),
        ("127.0.0.1:99999", "nothing answers there"),
    ],
)
def test_an_address_without_a_cluster_is_one_sentence(address: str, complaint: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'avbench[ray]')")
    with pytest.raises(UserError, match=f"--ray-address {address}: {complaint}"), _ray.connected(address, 1, SILENT):
        pass


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'avbench\[ray\]'"), _ray.connected(None, 1, SILENT):
        pass


def test_a_node_that_does_not_see_the_folder_stops_the_build(tmp_path: Path) -> None:
    fault = _ray._one(lambda source: [], tmp_path / "work" / "mark", Source("s", "synthetic:"))
    assert isinstance(fault, EnvironmentFault)
    assert f"does not see {tmp_path}" in str(fault)


def test_a_fault_of_a_node_comes_back_with_its_name(tmp_path: Path) -> None:
    def broken(source: Source) -> list:
        raise EnvironmentFault("there is no ffmpeg")

    (tmp_path / "mark").touch()
    fault = _ray._one(broken, tmp_path / "mark", Source("s", "synthetic:"))
    assert str(fault) == f"{os.uname().nodename}: there is no ffmpeg"


def test_options_that_do_not_go_together_are_refused(folder: Path) -> None:
    from typer.testing import CliRunner

    from avbench.cli import app

    base = ["build-dataset", str(folder / "mine.csv")]
    for more, complaint in (
        (["--engine", "ray", "--worker", "1/2"], "leave --worker"),
        (["--ray-address", "auto"], "is for --engine ray"),
    ):
        error = CliRunner().invoke(app, [*base, *more]).exception
        assert isinstance(error, UserError)
        assert complaint in str(error)
