"""Ctrl-C or kill -9 at any moment: the same command goes on, and ends with the bytes of an unbroken run."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = """
[segment]
clip_s = 2
lead_s = 0
fps = 20
width = 96
height = 64
sample_rate_hz = 16000
channels = 1

[[filters]]
name = "silence"

[view]
size = 32
"""


def command(folder: Path, out: Path) -> list[str]:
    code = "from avbench.cli import main; main()"
    arguments = ["build-dataset", str(folder / "mine.csv"), "--recipe", str(folder / "recipe.toml"), "--workers", "2"]
    return [sys.executable, "-c", code, *arguments, "--out", str(out)]


def shards(out: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "shards").iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sources")
    rows = [f"s{k},synthetic:kind=impacts&seed={k}&seconds=7&width=96&height=64" for k in range(4)]
    (made / "mine.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
    (made / "recipe.toml").write_text(RECIPE)
    return made


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> tuple[dict[str, str], float]:
    begun = time.monotonic()
    subprocess.run(command(folder, folder / "whole"), check=True, capture_output=True)
    return shards(folder / "whole"), time.monotonic() - begun


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_broken_build_ends_with_the_same_bytes(
    folder: Path, unbroken: tuple[dict[str, str], float], how: signal.Signals
) -> None:
    want, seconds = unbroken
    rng, out = random.Random(how), folder / how.name
    for part in (0.35, 0.6, 0.8):
        process = subprocess.Popen(
            command(folder, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _, err = process.communicate(timeout=seconds * part * rng.uniform(0.8, 1.2))
        except subprocess.TimeoutExpired:
            # as a terminal does: the whole foreground group gets it
            os.killpg(process.pid, how)
            _, err = process.communicate(timeout=60)
            if how is signal.SIGINT and process.returncode != 0:  # 0: the work was done when the signal came
                assert process.returncode == 130
                assert err.strip().endswith("run the same command again to go on where it stopped")
                assert "Traceback" not in err
    done = subprocess.run(command(folder, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shards(out) == want
    assert not [p for p in out.rglob("*") if p.name.startswith(".tmp-")], "nothing half-written is left"
