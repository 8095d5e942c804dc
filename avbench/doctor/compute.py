"""What computes: torch with torchvision and torchaudio, and the GPU."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.doctor._check import Check

GIB = 2**30
LIBRARIES = ("torch", "torchvision", "torchaudio")
_PROBE = Path(__file__).with_name("_probe.py")
_PROBE_S = 180.0


@dataclass(frozen=True)
class Stack:
    """What a Python of its own found when it loaded torch and its companions.

    Attributes:
        versions: Of each library that could be loaded.
        errors: Why the others could not.
        threads: Threads torch would use; 0 where it was not asked.
        built_for: Version of CUDA torch is built for, or None.
        gpus: ``name``, ``bytes`` and ``error`` of each GPU torch sees.
        said: Warnings of torch while it looked for them.
    """

    versions: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    threads: int = 0
    built_for: str | None = None
    gpus: tuple[dict[str, Any], ...] = ()
    said: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """All three could be loaded."""
        return len(self.versions) == len(LIBRARIES)


def probe() -> Stack:
    """Load torch, torchvision and torchaudio in another process and ask torch for GPUs."""
    command = [sys.executable, "-P", str(_PROBE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_S, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as slow:
        code, err = -signal.SIGALRM, f"does not end within {_PROBE_S:g} s"
        out = slow.stdout.decode() if isinstance(slow.stdout, bytes) else slow.stdout or ""
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    versions = {line["library"]: line["version"] for line in lines if "version" in line}
    errors = {line["library"]: line["error"] for line in lines if "error" in line and "library" in line}
    if code:
        loading = next((line["loading"] for line in reversed(lines) if "loading" in line), "python")
        errors[loading] = _death(code, err)
    seen: dict[str, Any] = next((line for line in lines if "threads" in line), {})
    return Stack(
        versions,
        errors,
        seen.get("threads", 0),
        seen.get("built_for"),
        tuple(seen.get("gpus", ())),
        tuple(seen.get("said", ())),
    )


def _death(code: int, err: str) -> str:
    last = err.strip().splitlines()[-1:] or ["without a word"]
    if code < 0 and code != -signal.SIGALRM:
        return f"killed the interpreter ({signal.Signals(-code).name}): {last[0]}"
    return last[0]


def stack(found: Stack) -> list[Check]:
    """Whether the three libraries load together, and whether torch can use the GPU."""
    if found.errors.keys() & {*LIBRARIES, "python"}:
        said = "; ".join(f"{name}: {error}" for name, error in found.errors.items())
        return [Check("torch", False, f"{_pair()}: {said}", reinstall(), needed=True)]
    said = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return [Check("torch", True, said, needed=True), _gpu(found)]


def _pair() -> str:
    return ", ".join(f"{name} {_installed(name) or 'absent'}" for name in LIBRARIES)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def reinstall() -> str:
    """The command that brings the three libraries of one release line, as avbench's own requirements have them.

    torchaudio names no torch it belongs to since 2.11, its last release: a later torch is installed beside it without a
    word, and then it does not load.
    """
    try:
        lines = importlib.metadata.requires("avbench") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    wanted = [line for line in lines if re.match(r"torch(vision|audio)?\b", line) and "extra ==" not in line]
    names = " ".join(shlex.quote(line) for line in wanted) or "torch torchvision torchaudio"
    return f"pip install --force-reinstall {names}   (all three from one index)"


def _gpu(found: Stack) -> Check:
    bad = [f"{gpu['name']}: {gpu['error']}" for gpu in found.gpus if gpu["error"]]
    if "CUDA" in found.errors:
        bad.append(found.errors["CUDA"])
    driver, needs = _driver(), f"torch {found.versions['torch']} is built for CUDA {found.built_for}"
    if bad:
        remedy = "install the torch that its makers name for this GPU, or give --device cpu"
        return Check("gpu", False, f"{'; '.join(bad)}; {needs}", remedy)
    if found.gpus:
        names = ", ".join(f"{gpu['name']}, {gpu['bytes'] / GIB:.0f} GiB" for gpu in found.gpus)
        return Check("gpu", True, f"{names}; CUDA {found.built_for}" + (f", driver {driver}" if driver else ""))
    if not _card_seen(driver):
        remedy = "if there is a GPU: install NVIDIA's driver; in a container, start it with --gpus all"
        return Check("gpu", False, "none seen; everything runs on the CPU, the paper presets far too slowly", remedy)
    if found.built_for is None:
        remedy = reinstall()
        return Check("gpu", False, f"there is one, but torch {found.versions['torch']} is built without CUDA", remedy)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not re.match(r"\d|GPU-|MIG-", hidden):
        return Check("gpu", False, f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES")
    said = f" ({found.said[0]})" if found.said else ""
    remedy = f"install a driver made for CUDA {found.built_for}, or a torch for the CUDA that nvidia-smi shows"
    return Check("gpu", False, f"torch cannot use it, driver {driver or 'unknown'}; {needs}{said}", remedy)


def bfloat16(found: Stack) -> list[Check]:
    """Whether bfloat16, which most recipes train in, is fast where commands compute by default."""
    import torch

    from avbench.processor import has_bfloat16

    device = "cuda" if found.gpus and not any(gpu["error"] for gpu in found.gpus) else "cpu"
    where = "the GPU" if device == "cuda" else "the processor"
    if has_bfloat16(torch.device(device)):
        return [Check("bfloat16", True, f"computed by {where}")]
    remedy = "avbench train, sample and run-baseline take --no-bf16, which computes in float32"
    return [Check("bfloat16", False, f"no faster than float32: {where} does not compute in it", remedy)]


def _card_seen(driver: str) -> bool:
    return bool(driver) or Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def _driver() -> str:
    """Version of NVIDIA's driver, or empty."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
