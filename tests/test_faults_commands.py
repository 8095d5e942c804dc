"""A few cells of the matrix of benchmarks/faults.py: real commands, killed and starved at random moments, and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import _soak_report as report
from benchmarks.faults import Cell, _tries, markdown

CELLS = ("train/kill -9, alone", "train/disk full")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_survive_what_happens_to_them(tmp_path: Path) -> None:
    only = [word for cell in CELLS for word in ("--only", cell)]
    command = [sys.executable, "-m", "benchmarks.faults", "--out", str(tmp_path / "faults"), "--rounds", "1", *only]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = {f"{c['command']}/{c['fault']}": c for c in json.loads((tmp_path / "faults" / "faults.json").read_text())}
    assert set(cells) == set(CELLS)
    for name, cell in cells.items():
        assert not cell["wrong"], f"{name}: {cell}"
        assert cell["skipped"] == "" or os.geteuid() != 0 or "mount" in cell["skipped"]


def test_the_table_counts_what_was_right_and_leaves_out_what_was_not_tried() -> None:
    cells = [
        Cell("train", "SIGTERM"),
        Cell("train", "SIGTERM", wrong="a traceback"),
        Cell("train", "disk full", skipped="needs root"),
        Cell("score", "SIGTERM"),
    ]
    assert markdown(cells).splitlines() == [
        "| command | SIGTERM | disk full |",
        "|---|---|---|",
        "| train | 1 of 2 | - |",
        "| score | 1 of 1 | - |",
    ]


def test_a_run_goes_on_with_the_tries_that_are_left() -> None:
    cells = [Cell("train", "SIGTERM"), Cell("train", "disk full", skipped="needs root"), Cell("score", "SIGTERM")]
    assert _tries(cells, "train", "SIGTERM", 3) == range(1, 3)
    assert not _tries(cells, "train", "SIGTERM", 1)
    assert not _tries(cells, "train", "disk full", 3)
    assert _tries(cells, "train", "Ctrl-C", 1) == range(1)


def a_round(number: int, rss_mib: float, **state: object) -> dict[str, object]:
    """One row of rounds.jsonl."""
    seen = {
        "rss_mib": rss_mib, "objects": 1000, "blocks": 3000, "native_mib": 200.0, "fds": {"/dev/null": 1},
        "threads": {"python": 2}, "processes": [], "zombies": 0, "files": [], "shm": [],
        "disk_mib": 1.0, "free_gib": 1.0,
    }  # fmt: skip
    results = {"dataset": "aa", "mmdiffusion weights": "bb"}
    return {
        "begun_s": 100.0 * number,
        "seconds": 100.0,
        "library": {"results": results},
        "commands": {"results": dict(results), "command_seconds": {}},
        "state": {**seen, **state},
    }


def test_a_soak_that_leaks_is_seen_and_one_that_does_not_is_flat() -> None:
    noise = (0.0, 3.0, -2.0, 1.0, -3.0)
    flat = report.summary([a_round(n, 800 + noise[n % 5]) for n in range(30)])
    low, high = flat["rss_slope_mib_per_round"][1:]
    assert low < 0 < high
    assert not any(flat["left"].values())
    assert flat["differs"] == []
    leaking = [a_round(n, 800 + 2 * n + noise[n % 5]) for n in range(30)]
    leaking[-1]["state"] |= {"fds": {"/dev/null": 1, "socket": 3}, "processes": ["python worker"], "files": ["tmp/a"]}  # type: ignore[operator]
    leaking[7]["commands"]["results"]["dataset"] = "other"  # type: ignore[index]
    found = report.summary(leaking)
    assert found["rss_slope_mib_per_round"][1] > 1.5
    assert found["left"]["open files"] == {"socket": 3}
    assert found["left"]["processes"] == ["python worker"]
    assert found["left"]["files"] == ["tmp/a"]
    assert found["differs"] == ["round 7, commands: dataset"]
    assert "other bytes than round 0 | round 7, commands: dataset" in report.markdown(found)


def test_shared_memory_of_others_is_no_leak() -> None:
    assert report.lasting([["a"], ["a", "b"], ["a"], ["a", "c"], ["a", "c"], ["a", "c"]]) == ["c"]
    assert report.lasting([["a"], ["a", "b"], ["a", "c"], ["a"]]) == []
