"""What a long run must not gather: memory, open files, threads, processes, temporary files, shared memory, disk."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MARK = "AVBENCH_SOAK"
"""Every process that the soak starts inherits this variable, so one that is left is found whoever its parent is."""
_SETTLE_S = 20.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """The state of this process and of what it started, after a round.

    Attributes:
        rss_mib: Memory of this process.
        objects: Objects that Python's collector knows.
        blocks: Blocks of memory that Python's own objects take, those that the collector does not know included.
        native_mib: What the C library has handed out and not taken back. Memory that grows while this does not is
            kept by the library, or lies in pieces.
        fds: Open files of this process by what they are.
        threads: Threads of this process by name.
        processes: Command lines of processes that were started and still run, the server of the sources aside.
        zombies: Children that nobody has waited for.
        files: Files in the temporary folder and the home of the run, relative.
        shm: Entries of ``/dev/shm`` of the whole machine.
        disk_mib: What the run's folder holds.
        free_gib: Free space of the disk.
    """

    rss_mib: float
    objects: int
    blocks: int
    native_mib: float
    fds: dict[str, int]
    threads: dict[str, int]
    processes: list[str]
    zombies: int
    files: list[str]
    shm: list[str] = field(default_factory=list)
    disk_mib: float = 0.0
    free_gib: float = 0.0


def take(out: Path, *, known: set[str], server: int) -> Snapshot:
    """Wait until what was started has ended (or is one of ``known``), and look.

    Args:
        out: Folder of the run, with ``tmp`` and ``home`` inside.
        known: Command lines that stay for good.
        server: Process of the sources' server.
    """
    end = time.monotonic() + _SETTLE_S
    while set(running(server)) - known and time.monotonic() < end:
        time.sleep(0.2)
    gc.collect()
    inside = [path for name in ("tmp", "home") for path in (out / name).rglob("*") if path.is_file()]
    everything = [path for path in out.rglob("*") if path.is_file()]
    disk = os.statvfs(out)
    return Snapshot(
        rss_mib=round(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / _MIB, 2),
        objects=len(gc.get_objects()),
        blocks=sys.getallocatedblocks(),
        native_mib=round(_handed_out() / _MIB, 2),
        fds=_open_files(),
        threads=dict(sorted(Counter(_read(path / "comm") for path in Path("/proc/self/task").iterdir()).items())),
        processes=running(server),
        zombies=sum(_is_zombie(path) for path in _processes()),
        files=sorted(str(path.relative_to(out)) for path in inside),
        shm=sorted(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else [],
        disk_mib=round(sum(path.stat().st_size for path in everything) / _MIB, 2),
        free_gib=round(disk.f_bavail * disk.f_frsize / (1 << 30), 2),
    )


def running(server: int) -> list[str]:
    """Command lines of what the soak has started and what still runs, sorted."""
    token, found = f"{MARK}={os.environ[MARK]}".encode(), []
    for path in _processes():
        if int(path.name) in (os.getpid(), server):
            continue
        try:
            if token in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:  # it ended while we looked
            continue
    return sorted(re.sub(r"\d{2,}|=\d+", "#", line)[:160] for line in found if line)


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")),
        *((name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")),
    )


def _handed_out() -> int:
    """Bytes in use of the C library's heaps and of its mappings."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def _open_files() -> dict[str, int]:
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(re.sub(r":\[\d+\]", "", os.readlink(entry)))
        except OSError:  # the one by which the folder itself was listed
            continue
    return dict(sorted(Counter(names).items()))


def _processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


def _is_zombie(process: Path) -> bool:
    fields = _read(process / "stat").rpartition(")")[2].split()
    return fields[:2] == ["Z", str(os.getpid())]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
