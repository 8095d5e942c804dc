"""The small dataset that builds are broken off with: how its clips are cut, and recordings that need no network."""

from __future__ import annotations

from pathlib import Path

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


def source(seed: int, seconds: int = 5) -> str:
    """Address of a rendered recording, for a list of sources."""
    return f"synthetic:kind=impacts&seed={seed}&seconds={seconds}&width=96&height=64"


def render(path: Path, seed: int) -> None:
    """Write such a recording as a file."""
    from avbench.curate import synthetic

    query = source(seed).partition(":")[2]
    synthetic.render(dict(part.split("=") for part in query.split("&")), path)
