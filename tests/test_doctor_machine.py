"""What the doctor says about cores, memory and shared memory; limits and disks are real where tests may set them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench import cgroups
from avbench.doctor import machine


def found(threads: int) -> dict[str, tuple[str, str, str]]:
    return {check.name: (check.state, check.found, check.remedy) for check in machine.machine(threads)}


def test_more_threads_than_cores_are_a_warning() -> None:
    state, _, remedy = found(64 * len(os.sched_getaffinity(0)))["threads"]
    assert state == "warn"
    assert re.match(r"export OMP_NUM_THREADS=\d+", remedy)
    assert "threads" not in found(0), "torch could not be asked"


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups of the newer kind, in which this process is in ``/a/b``."""
    read = cgroups.read
    told = {Path("/proc/self/cgroup"): "0::/a/b", Path("/proc/meminfo"): f"MemAvailable: {2**24} kB"}
    monkeypatch.setattr(cgroups, "read", lambda path: told.get(path) or read(path))
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def test_without_a_limit_there_is_none(groups: Path) -> None:
    (groups / "a" / "cpu.max").write_text("max 100000\n")
    (groups / "a" / "memory.max").write_text("max\n")
    assert cgroups.quota_cores() is None
    assert found(8)["threads"][0] == "ok"
    assert found(8)["memory"][:2] == ("ok", "16.0 GiB free")


def test_a_container_with_less_than_the_machine_is_seen(groups: Path) -> None:
    (groups / "a" / "b" / "cpu.max").write_text("max 100000\n")
    (groups / "a" / "cpu.max").write_text("250000 100000\n")
    state, text, remedy = found(8)["threads"]
    assert state == "warn"
    assert text == "8 of torch on 8 cores, of which this container may use 2.5"
    assert remedy == "export OMP_NUM_THREADS=2"
    assert found(2)["threads"][0] == "ok", "as soon as the remedy was followed"


def test_a_limit_on_memory_counts_and_kept_files_do_not(groups: Path) -> None:
    (groups / "memory.max").write_text(f"{2**32}\n")
    (groups / "memory.current").write_text(f"{2**32 - 2**29}\n")
    assert found(1)["memory"][:2] == ("warn", "0.5 GiB free")
    (groups / "memory.stat").write_text(f"anon 5\ninactive_file {3 * 2**30}\n")
    assert found(1)["memory"][:2] == ("ok", "3.5 GiB free")


def test_the_older_kind_of_control_group_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {Path("/proc/self/cgroup"): "4:memory:/x\n1:cpu,cpuacct:/x"}
    read = cgroups.read
    monkeypatch.setattr(cgroups, "read", lambda path: told.get(path) or read(path))
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroups.quota_cores() == 4
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cgroups.quota_cores() is None
    (tmp_path / "memory" / "x").mkdir(parents=True)
    (tmp_path / "memory" / "x" / "memory.limit_in_bytes").write_text("3000\n")
    (tmp_path / "memory" / "x" / "memory.usage_in_bytes").write_text("1000\n")
    assert machine.free_bytes() == 2000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Shared memory of the size a container gets unless told otherwise."""
    folder = tmp_path / "shm"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_the_shared_memory_of_a_container_is_too_small(small_disk: Path) -> None:
    check = machine.shared(small_disk)
    assert check.state == "warn"
    assert "0.1 of 0.1 GiB free" in check.found
    assert "--shm-size=8g" in check.remedy
