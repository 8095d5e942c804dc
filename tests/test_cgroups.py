"""What a container leaves of the processor is what is used; limits are real where a test may set them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avbench import cgroups, parallel

CPU = Path("/sys/fs/cgroup/cpu")


def test_a_real_limit_on_the_processor_is_what_workers_are_counted_by() -> None:
    group = CPU / f"avbench-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError:
        pytest.skip("this machine does not let us limit a program (or its control groups are of the newer kind)")
    code = (
        "import os, sys; from avbench import cgroups, parallel; open(sys.argv[1], 'w').write(str(os.getpid())); "
        "print(cgroups.quota_cores(), parallel.default_workers())"
    )
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                str(group / "cgroup.procs"),
            ],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        group.rmdir()
    assert done.stdout == "0.5 1\n"


@pytest.mark.parametrize(("quota", "workers"), [(None, 8), (2.5, 2), (0.3, 1), (16.0, 8)])
def test_workers_are_the_whole_cores_that_there_is_time_on(
    quota: float | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cgroups, "quota_cores", lambda: quota)
    assert parallel.default_workers() == workers
