"""A tiny finished dataset written by hand, so that training tests need no media."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avbench.curate._tar import npy_header
from avbench.workspace import file_sha256

FPS, RATE = 10.0, 16000


def write_dataset(root: Path, *, clips: int = 3, frames: int = 40, size: int = 8, split: str = "train") -> Path:
    """Frame t of clip c has grey level ``10 c + t``; the sample at time s of clip c has the value ``c + s / 100``."""
    made = []
    for c in range(clips):
        video = (
            np.zeros((frames, size, size, 3), np.uint8)
            + (10 * c + np.arange(frames, dtype=np.uint8))[:, None, None, None]
        )
        samples = round(frames / FPS * RATE)
        made.append((video, (c + np.arange(samples) / RATE / 100).astype(np.float32)))
    return write_clips(root, made, split=split)


def write_clips(
    root: Path,
    clips: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]],
    *,
    split: str = "train",
    sample_rate_hz: int = RATE,
) -> Path:
    """Clips of video uint8 (T, S, S, 3) at 10 fps and audio float32 (L,), each of its own source."""
    shards = root / "shards"
    shards.mkdir(parents=True)
    rows, data = [], bytearray()
    for c, (video, audio) in enumerate(clips):
        data += npy_header("u1", video.shape)
        video_offset = len(data)
        data += video.tobytes() + npy_header("<f4", audio.shape)
        audio_offset = len(data)
        data += audio.tobytes()
        rows.append(
            {
                "clip_id": f"c{c}_0000", "source_id": f"c{c}", "group": f"c{c}", "split": split, "start_s": 0.0,
                "clip_s": len(video) / FPS, "fps": 30.0, "width": 8, "height": 8, "sample_rate_hz": RATE,
                "channels": 1, "licence": "", "sha256": "", "bytes": 0, "shard": f"{split}-00000.tar",
                "view_frames": len(video), "view_size": video.shape[1], "view_fps": FPS, "view_samples": len(audio),
                "view_sample_rate_hz": sample_rate_hz, "video_offset": video_offset, "audio_offset": audio_offset,
            }
        )  # fmt: skip
    (shards / f"{split}-00000.tar").write_bytes(bytes(data))
    pd.DataFrame(rows).to_parquet(shards / "index.parquet")
    card = {
        "schema_version": 1, "name": "toy", "version": "1", "dataset_sha256": "0" * 64,
        "index_sha256": file_sha256(shards / "index.parquet"),
        "splits": {split: {"clips": len(rows), "sources": len(rows), "hours": 0.0}},
        "shards": [{"file": f"{split}-00000.tar", "bytes": len(data)}],
    }  # fmt: skip
    (shards / "DATASET.json").write_text(json.dumps(card))
    return root
