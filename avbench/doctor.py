"""Checks of this machine for `avbench doctor`: what works, what is missing, what to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avbench import catalogue, media, weights, workspace
from avbench.errors import UserError


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        ok: It works.
        found: What was found.
        remedy: What to type where it does not work.
        needed: The demo cannot run without it.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = False


def run() -> list[Check]:
    """All checks, in the order they are shown."""
    checks: list[Callable[[], list[Check]]] = [_python, _ffmpeg, _javascript, _torch, _disk, _weights, _network]
    return [check for group in checks for check in group()]


def _python() -> list[Check]:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return [Check("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer", needed=True)]


def _ffmpeg() -> list[Check]:
    try:
        path = media.ffmpeg_path()
    except UserError as error:
        return [
            Check("ffmpeg", False, str(error), "pip install imageio-ffmpeg, or apt-get install ffmpeg", needed=True)
        ]
    text = subprocess.run([path, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False).stdout
    encoders = {line.split()[1] for line in text.splitlines() if len(line.split()) > 2}
    lacking = [name for name in ("libx264", "aac", "flac") if name not in encoders]
    return [
        Check("ffmpeg", True, path, needed=True),
        Check(
            "codecs",
            not lacking,
            f"lacks {', '.join(lacking)}" if lacking else "libx264, aac, flac",
            "remove this ffmpeg from PATH, so that the one of imageio-ffmpeg is used",
            needed=True,
        ),
    ]


def _javascript() -> list[Check]:
    runtime = next((path for path in map(shutil.which, ("deno", "node", "bun", "qjs")) if path), None)
    found = runtime or "no JavaScript runtime on PATH; yt-dlp needs one for YouTube (nothing else does)"
    return [Check("javascript", runtime is not None, found, 'pip install "yt-dlp[default,deno]"')]


def _torch() -> list[Check]:
    import torch

    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return [
            Check("torch", True, f"{version}, {torch.get_num_threads()} CPU threads", needed=True),
            Check(
                "gpu", False, "no CUDA device; everything runs on the CPU, the paper presets too slowly to be useful"
            ),
        ]
    card = torch.cuda.get_device_properties(0)
    return [
        Check("torch", True, version, needed=True),
        Check("gpu", True, f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"),
    ]


def _disk() -> list[Check]:
    free = workspace.free_bytes(Path.cwd()) / 1e9
    remedy = "free some space, or work in another folder"
    return [Check("disk", free > 2, f"{free:.0f} GB free in {Path.cwd()}", remedy, needed=True)]


def _weights() -> list[Check]:
    return [
        Check(
            weight.name,
            weights.is_present(weight),
            catalogue.describe(weight),
            f"avbench weights fetch {weight.name}   (for the metrics that need it)",
        )
        for weight in catalogue.weights_named("all")
    ]


def _network() -> list[Check]:
    """One short HEAD request to the hub's address, or the one HF_ENDPOINT names."""
    import urllib.error
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=3).close()
    except urllib.error.HTTPError as error:
        return [Check("network", True, f"{endpoint} answers ({error.code})")]
    except (OSError, ValueError) as error:
        remedy = "concerts, gaming and weights need it, the demo does not; behind a proxy set HTTPS_PROXY"
        return [Check("network", False, f"{endpoint} is not reachable ({error})", remedy)]
    return [Check("network", True, f"{endpoint} answers")]
