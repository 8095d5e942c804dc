"""Where a number comes from: the machine, the commit, the command and the time, as a result record keeps them."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench import confidential
from avbench.parallel import default_workers
from avbench.recipe import project_root

_BEHAVIOUR = ("avbench", "recipes", "manifests", "pyproject.toml")
"""Paths whose change changes what a run does; a new result or a new line in the docs does not."""


def environment(device: str | None = None) -> dict[str, Any]:
    """The machine and its software: the fields of `avbench.leaderboard.records.Environment`.

    Holds no host name, user name or address.

    Args:
        device: Device the run used (``"cpu"``, ``"cuda"``); None means the best one present.
    """
    import torch

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    gpu = f": {torch.cuda.get_device_name(chosen)}" if chosen.startswith("cuda") else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": chosen + gpu,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": default_workers(),
        "packages": _package_versions(),
    }


def _cpu_model() -> str:
    """Marketing name of the processor; its architecture where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    """Installed versions of what avbench depends on, by name; empty when avbench runs without being installed."""
    try:
        requirements = importlib.metadata.requires("avbench") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    versions = {}
    for name in sorted({re.split(r"[^A-Za-z0-9_.-]", r, maxsplit=1)[0] for r in requirements if "extra ==" not in r}):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def git_commit() -> str | None:
    """Commit of the avbench that is running, with ``+dirty`` when its code, recipes or manifests are changed.

    None when avbench does not run from its own git checkout, or git cannot tell.
    """
    root = project_root()
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *_BEHAVIOUR)
    if top is None or commit is None or changes is None or Path(top).resolve() != root:
        return None
    return commit + ("+dirty" if changes else "")


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command in ``root``, or None when it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def command_line() -> str:
    """The command this process was started with, quoted for a shell, without secrets and the folder of the program."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else shlex.quote(program.name)
    return " ".join([name, *(shlex.quote(confidential.repeatable(word)) for word in sys.argv[1:])])


def utc_now() -> str:
    """The time as a record stores it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
