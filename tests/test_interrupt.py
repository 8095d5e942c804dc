"""Ctrl-C or kill -9 at any moment: the same command goes on, and ends with the bytes of an unbroken run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avbench.workspace import STAGES
from tests import small_set

pytestmark = pytest.mark.slow


def command(folder: Path, out: Path) -> list[str]:
    code = "from avbench.cli import main; main()"
    arguments = ["build-dataset", str(folder / "mine.csv"), "--recipe", str(folder / "recipe.toml"), "--workers", "2"]
    return [sys.executable, "-c", code, *arguments, "--out", str(out)]


def shards(out: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "shards").iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sources")
    rows = [f"s{k},{small_set.source(k, 7)}" for k in range(4)]
    (made / "mine.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
    (made / "recipe.toml").write_text(small_set.RECIPE)
    return made


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> dict[str, str]:
    subprocess.run(command(folder, folder / "whole"), check=True, capture_output=True)
    return shards(folder / "whole")


def progress(out: Path, stage: str) -> int:
    """Something that grows while a stage works: its finished items, and for shards what is being made of them."""
    if stage == "shard":
        return len([path for name in ("views", "shards.new") for path in (out / "work" / name).glob("*")])
    return len(list((out / "work" / "ledger" / stage).glob("[!.]*.json")))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_broken_build_ends_with_the_same_bytes(folder: Path, unbroken: dict[str, str], how: signal.Signals) -> None:
    out, broken = folder / how.name, 0
    for stage in STAGES:
        before = progress(out, stage)
        process = subprocess.Popen(
            command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        # not after a time, which a busy machine stretches, but when the stage is seen to work
        while process.poll() is None and progress(out, stage) <= before:
            time.sleep(0.002)
        # as a terminal does: the whole foreground group gets it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        _, err = process.communicate()
        broken += process.returncode != 0
        if how is signal.SIGINT and process.returncode != 0:  # 0: the work was done when the signal came
            assert process.returncode == 130, err
            assert err.strip().endswith("run the same command again to go on where it stopped")
            assert "Traceback" not in err
    assert broken, "no signal came before the end"
    done = subprocess.run(command(folder, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shards(out) == unbroken
    assert not [p for p in out.rglob("*") if p.name.startswith(".tmp-")], "nothing half-written is left"
