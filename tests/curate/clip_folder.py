"""A dataset folder as the segment stage leaves it: short clips on disk and one ledger record per source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from avbench import media
from avbench.schema import Clip
from avbench.workspace import Workspace

CLIP_S, FPS, RATE = 2.0, 10.0, 8000
WIDTH, HEIGHT = 64, 48


def content(seed: int, *, silent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (T, H, W, 3) and float32 (1, L) that differ for every seed."""
    rng = np.random.default_rng(seed)
    video = np.full((round(CLIP_S * FPS), HEIGHT, WIDTH, 3), rng.integers(40, 90), np.uint8)
    for t in range(len(video)):
        x, y = (5 * t + 11 * seed) % (WIDTH - 12), (3 * t + seed) % (HEIGHT - 12)
        video[t, y : y + 12, x : x + 12] = rng.integers(120, 255, 3)
    audio = 0.1 * rng.standard_normal((1, round(CLIP_S * RATE)))
    return video, (audio * (not silent)).astype(np.float32)


def write_clip(path: Path, seed: int, *, silent: bool = False) -> None:
    """Encode one clip."""
    video, audio = content(seed, silent=silent)
    media.encode(path, video, FPS, audio, RATE, audio_codec="flac")


def write_source(ws: Workspace, source_id: str, clips: int, *, group: str = "", silent: tuple[int, ...] = ()) -> None:
    """Clips and segment record of one source; the clips numbered in ``silent`` have no sound in them."""
    told = []
    for number in range(clips):
        clip_id = f"{source_id}_{number:04d}"
        seed = sum(map(ord, source_id)) * 7 + number
        write_clip(ws.clips / f"{clip_id}.mp4", seed, silent=number in silent)
        clip = Clip(
            clip_id, source_id, group, number * CLIP_S, CLIP_S, FPS, WIDTH, HEIGHT, RATE, 1, f"{clip_id}.mp4", "CC0-1.0"
        )
        told.append(asdict(clip))
    write_segment_record(ws, source_id, "done", clips=told)


def write_segment_record(
    ws: Workspace, source_id: str, status: str, *, reason: str = "", clips: list[dict[str, object]] | None = None
) -> None:
    """A record of the segment stage."""
    record = {"schema_version": 1, "source_id": source_id, "status": status, "clips": clips or [], "reason": reason}
    ws.write_record("segment", source_id, {**record, "params": f"segment {source_id}"})


def tree(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
