"""What filters look at: one decode of the finished clip, small, shared by all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from avbench import media
from avbench.errors import MediaError

FRAME_WIDTH = 160
"""Frames are at most this wide, pixels."""

FRAME_RATE_FPS = 10.0
"""Frames per second that filters see (the clip's own rate where that is lower)."""


@dataclass(frozen=True)
class ClipSignals:
    """A clip as filters see it. Costs about 0.8 MB of memory per second of clip (stereo, 48 kHz).

    Attributes:
        width: Picture width of the clip itself, pixels.
        height: Picture height of the clip itself, pixels.
        duration_s: What both streams cover: the shorter of picture and sound.
        frames: uint8 (T, h, w, 3) RGB, small.
        fps: Rate of ``frames``.
        audio: float32 (C, L) in [-1, 1] at the clip's rate; shape (0, 0) without a sound stream.
        sample_rate_hz: Rate of ``audio``; 0 without a sound stream.
    """

    width: int
    height: int
    duration_s: float
    frames: np.ndarray
    fps: float
    audio: np.ndarray
    sample_rate_hz: int

    @classmethod
    def decode(cls, path: Path) -> ClipSignals:
        """Decode the clip at ``path``.

        Raises:
            MediaError: The file cannot be read or has no picture.
        """
        info = media.probe(path)
        if not info.has_video:
            raise MediaError(f"{path}: has no picture")
        fps = min(FRAME_RATE_FPS, info.fps)
        duration_s = info.video_end_s - info.video_start_s
        audio, rate = np.zeros((0, 0), np.float32), 0
        if info.has_audio:
            audio, rate = media.decode_audio(path), info.sample_rate_hz
            duration_s = min(duration_s, audio.shape[1] / rate)
        scale = min(1.0, FRAME_WIDTH / info.width)
        size = (round(info.width * scale), max(1, round(info.height * scale)))
        frames = media.decode_video(path, fps=fps, size=size, fit="stretch")
        return cls(info.width, info.height, duration_s, frames, fps, audio, rate)

    @cached_property
    def luma(self) -> np.ndarray:
        """Brightness, uint8 (T, h, w), 0 black to 255 white (Rec. 601 weights)."""
        # one frame at a time: a float copy of the whole clip would be four times its size
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.stack([np.rint(frame @ weights).astype(np.uint8) for frame in self.frames])
