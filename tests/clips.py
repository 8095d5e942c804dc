"""Small clips with sound for tests: bouncing squares whose bounces are heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 16000


def clip(
    seed: int, *, frames: int = 16, size: int = 32, fps: float = 10.0, loud: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (T, S, S, 3) of a square that jumps at random frames, and float32 (1, L) with a click at each jump."""
    rng = np.random.default_rng(seed)
    video = np.full((frames, size, size, 3), rng.integers(20, 90), np.uint8)
    samples = round(frames / fps * RATE)
    audio = (0.002 * rng.standard_normal(samples)).astype(np.float32)
    x, y = rng.integers(0, size - 10, 2)
    colour = rng.integers(120, 255, 3)
    for t in range(frames):
        if t % 5 == 2:
            x, y = rng.integers(0, size - 10, 2)
            at = round(t / fps * RATE)
            tail = np.exp(-np.arange(min(2000, samples - at)) / 300)
            audio[at : at + len(tail)] += (loud * tail * np.sin(np.arange(len(tail)) * 0.3)).astype(np.float32)
        video[t, y : y + 10, x : x + 10] = colour
    return video, audio[None]


def write_npz(path: Path, seed: int, **options: float) -> Path:
    video, audio = clip(seed, **options)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, video=video, audio=audio, fps=options.get("fps", 10.0), sample_rate_hz=RATE)
    return path


def write_mp4(path: Path, seed: int, **options: float) -> Path:
    from avbench import media

    video, audio = clip(seed, **options)  # type: ignore[arg-type]
    media.encode(path, video, options.get("fps", 10.0), audio, RATE)
    return path
