"""Limits of the control groups of this process: what a container or a scheduler gives and programs do not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def quota_cores() -> float | None:
    """Cores' worth of time that the control groups of this process leave it, or None where there is no limit."""
    told = [read(group / "cpu.max").split() for group in around("")]
    told += [[read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")] for group in around("cpu")]
    shares = [int(pair[0]) / int(pair[1]) for pair in told if len(pair) == 2 and all(map(str.isdigit, pair))]
    return min(shares, default=None)


def around(controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those around it; each may set a limit.

    Args:
        controller: Of the older kind of groups, which has a tree for each; empty for the newer kind.
    """
    for line in read(Path("/proc/self/cgroup")).splitlines():
        _, names, inside = line.split(":", 2)
        if controller in names.split(","):
            root = _ROOT / controller
            # in a container the path is often that of the machine, where its own group is mounted as the root
            own = root / inside.lstrip("/")
            yield from (group for group in (own, *own.parents) if group.is_relative_to(root))


def read(path: Path) -> str:
    """What a file of the system says; nothing where it is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
