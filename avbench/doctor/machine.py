"""What a machine or a container gives: cores for threads, memory, shared memory."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from avbench import cgroups, parallel
from avbench.doctor._check import Check

GIB = 2**30
DEMO_BYTES = 3 * GIB
"""Memory the demo takes at its peak, 2.7 GB, and some to spare."""

SHARED_BYTES = GIB
"""Workers of a ``DataLoader`` and the processes of a training on several GPUs hand batches over in ``/dev/shm``."""

_SHARED = Path("/dev/shm")


def machine(threads: int) -> list[Check]:
    """Threads, memory and shared memory.

    Args:
        threads: Threads torch would use; 0 where it could not be asked.
    """
    return [*([_threads(threads, cgroups.quota_cores())] if threads else []), memory(), shared(_SHARED)]


def _threads(threads: int, quota: float | None) -> Check:
    """More threads than cores wait for each other: a training step may take many times as long.

    A container's share of the processor is not seen by programs: they count the cores of the whole machine.
    """
    cores = len(os.sched_getaffinity(0))
    budget = parallel.default_workers()
    share = f", of which this container may use {quota:g}" if quota is not None and quota < cores else ""
    remedy = f"export OMP_NUM_THREADS={budget}"
    return Check("threads", threads <= budget, f"{threads} of torch on {cores} cores{share}", remedy)


def free_bytes() -> int:
    """Memory this process can still have: of the machine, and within each control group it is in."""
    free = [int(kib) * 1024 for kib in re.findall(r"^MemAvailable:\s+(\d+)", cgroups.read(Path("/proc/meminfo")), re.M)]
    for controller, names in (("", ("max", "current")), ("memory", ("limit_in_bytes", "usage_in_bytes"))):
        for group in cgroups.around(controller):
            limit, used = (cgroups.read(group / f"memory.{name}") for name in names)
            # what the kernel keeps of files it gives back before anything is killed
            kept = re.search(r"^(?:total_)?inactive_file (\d+)", cgroups.read(group / "memory.stat"), re.MULTILINE)
            if limit.isdigit() and used.isdigit():
                free.append(int(limit) - int(used) + (int(kept[1]) if kept else 0))
    return min(free, default=0)


def memory() -> Check:
    """Memory that is free now; beyond it the kernel ends programs, and all they say is ``Killed``."""
    free = free_bytes()
    remedy = "end other programs, or give the container more; the demo needs 2.7 GB"
    return Check("memory", free >= DEMO_BYTES, f"{free / GIB:.1f} GiB free", remedy)


def shared(folder: Path) -> Check:
    """Shared memory; a container gets 64 MB unless told otherwise, and what does not fit ends in a bus error.

    Args:
        folder: Where it is mounted.
    """
    try:
        disk = shutil.disk_usage(folder)
    except OSError as error:
        return Check("shared", False, f"{folder}: {error.strerror}", "mount -t tmpfs tmpfs /dev/shm")
    remedy = "start the container with --shm-size=8g or --ipc=host; elsewhere: mount -o remount,size=8G /dev/shm"
    found = f"{disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB free in {folder}"
    return Check("shared", disk.free >= SHARED_BYTES, f"{found}, for loader workers and several GPUs", remedy)
