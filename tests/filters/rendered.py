"""Signals and clips for filter tests: one that every filter keeps, and one per filter that is made to break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from avbench.features._base import Embedding
from avbench.filters import aesthetic, semantic
from avbench.filters._signals import ClipSignals, middles

FPS, RATE = 10, 16000
WIDTH, HEIGHT = 240, 180


def noise(seconds: float, level: float = 0.1, *, seed: int = 0) -> np.ndarray:
    """float32 (1, L) white noise with RMS ``level``."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((1, round(seconds * RATE)))).clip(-1, 1).astype(np.float32)


def moving(seconds: float, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 (T, H, W, 3): a bright square that wanders over a grey gradient."""
    count = round(seconds * FPS)
    video = np.zeros((count, height, width, 3), np.uint8)
    video += np.linspace(60, 120, width, dtype=np.uint8)[None, None, :, None]
    for t in range(count):
        x = (7 * t) % (width - 40)
        video[t, 60:100, x : x + 40] = (220, 180, 40)
    return video


def good() -> tuple[np.ndarray, np.ndarray]:
    """Picture and sound that every filter keeps."""
    return moving(4), noise(4)


def _silent_but_a_moment() -> np.ndarray:
    audio = noise(4) * 0
    audio[:, :3000] = noise(4)[:, :3000]
    return audio


def _pillar() -> np.ndarray:
    video = np.zeros((4 * FPS, HEIGHT, WIDTH, 3), np.uint8)
    video[:, :, 90:150] = moving(4)[:, :, :60] // 2 + 100
    return video


def _mostly_black() -> np.ndarray:
    video = moving(4)
    video[8:] = 3
    return video


def _shots() -> np.ndarray:
    video = moving(4)
    colours = [(230, 30, 30), (20, 30, 200), (240, 240, 240), (10, 120, 20), (250, 220, 0), (90, 0, 120)]
    for t in range(len(video)):
        video[t] = video[t] // 8 + np.array(colours[t // 7], np.uint8) // 8 * 7
    return video


def _blurred() -> np.ndarray:
    ramp = np.linspace(40, 200, WIDTH)[None, None, :, None] + np.arange(4 * FPS)[:, None, None, None]
    return np.broadcast_to(ramp, (4 * FPS, HEIGHT, WIDTH, 3)).astype(np.uint8)


def _nearly_still() -> np.ndarray:
    video = np.repeat(moving(0.1), 4 * FPS, axis=0)
    video[::2, 100:104, 100:104] += 20
    return video


def pulsing(seconds: float, rate_hz: float, *, rate: int = RATE) -> np.ndarray:
    """float32 (1, L): a tone of 440 Hz that swells and fades fully ``rate_hz`` times a second; steady for 0."""
    time_s = np.arange(round(seconds * rate)) / rate
    swell = 0.5 + 0.5 * np.cos(2 * np.pi * rate_hz * time_s)
    return (0.5 * swell * np.sin(2 * np.pi * 440 * time_s))[None].astype(np.float32)


def _unrelated() -> np.ndarray:
    # bursts of noise at times that the steady square knows nothing of
    audio = noise(4, 0.001)
    for start in (5000, 21000, 44000):
        audio[:, start : start + 2000] += noise(0.125, 0.3)
    return audio


OPTIONS: dict[str, dict[str, Any]] = {"semantic": {"prompts": ["white"]}}
"""What a filter must be told, having no default for it."""

STRICTER: dict[str, dict[str, Any]] = {
    "correspondence": {"min_correlation": 0.9},
    "semantic": {"prompts": ["green"]},
    "speech_music": {"max_depth": 0.3},
}
"""Thresholds with which a filter drops its clip of `BREAKING`, where its defaults keep everything."""

BREAKING = {
    "aesthetic": lambda: (moving(4) // 30, noise(4)),
    "black": lambda: (_mostly_black(), noise(4)),
    "blur": lambda: (_blurred(), noise(4)),
    "clipping": lambda: (moving(4), noise(4, 0.6)),
    "correspondence": lambda: (moving(4), _unrelated()),
    "cuts": lambda: (_shots(), noise(4)),
    "duration": lambda: (moving(1), noise(1)),
    "freeze": lambda: (np.repeat(moving(0.1), 40, axis=0), noise(4)),
    "has_audio": lambda: (moving(4), noise(4) * 0),
    "letterbox": lambda: (_pillar(), noise(4)),
    "loudness": lambda: (moving(4), noise(4, 0.0008)),
    "motion": lambda: (_nearly_still(), noise(4)),
    "phase": lambda: (moving(4), np.concatenate([noise(4), -noise(4)])),
    "resolution": lambda: (_pillar(), noise(4)),
    "semantic": lambda: (np.full_like(moving(4), 255) * np.array([1, 0, 0], np.uint8), noise(4)),
    "silence": lambda: (moving(4), _silent_but_a_moment()),
    "speech_music": lambda: (moving(4), pulsing(4, 4)),
}
"""Picture and sound that the filter of this name drops with its default thresholds, or with `STRICTER` ones."""


COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "white": (1, 1, 1)}


class ColourNetwork:
    """Stands in for CLIP: a picture is its mean colour, a prompt the colour it names, both of length 1."""

    def embed(self, batch: np.ndarray) -> Embedding:
        colours = batch.mean(axis=(2, 3)) + 1e-9
        colours /= np.linalg.norm(colours, axis=-1, keepdims=True)
        return Embedding(colours.mean(axis=1).astype(np.float32), np.arange(len(batch)))

    def embed_text(self, prompts: tuple[str, ...]) -> np.ndarray:
        rows = np.array([COLOURS[prompt] for prompt in prompts], np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def bright(pictures: torch.Tensor) -> torch.Tensor:
    """Stands in for CLIP's picture tower: brightness beside 1."""
    level = pictures.mean(dim=(1, 2, 3))
    return torch.stack([level, torch.ones_like(level)], dim=1)


def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters that need weights judge by colour and brightness: what is tested is the filter, not the network."""
    network = ColourNetwork()
    monkeypatch.setattr(semantic, "_network", lambda: network)
    monkeypatch.setattr(semantic, "_texts", network.embed_text)
    monkeypatch.setattr(aesthetic, "_networks", lambda: (bright, lambda rows: 7 + 5 * rows[:, :1]))


def signals(
    video: np.ndarray | None = None, audio: np.ndarray | None = None, *, fps: float = FPS, rate: int = RATE
) -> ClipSignals:
    """Signals without a file."""
    video = moving(1) if video is None else video
    audio = noise(1) if audio is None else audio
    height, width = video.shape[1:3]
    stills = video[middles(len(video))]
    return ClipSignals(width, height, len(video) / fps, video, float(fps), audio.astype(np.float32), rate, stills)
