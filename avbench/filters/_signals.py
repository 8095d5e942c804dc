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

N_STILLS = 8
"""Pictures at the clip's own size, spread evenly, for what small frames cannot show."""

BAR_LUMA = 24
"""A row or column that never gets brighter than this is a bar (ffmpeg's cropdetect uses 24 of 255)."""


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
        stills: `N_STILLS` pictures at the clip's own size, uint8 (N, height, width, 3), from the middles of equal parts
            of the clip; a clip of fewer frames gives all of them.
        extra: What a caller asked for beside it in the same decode; None where it asked for nothing.
    """

    width: int
    height: int
    duration_s: float
    frames: np.ndarray
    fps: float
    audio: np.ndarray
    sample_rate_hz: int
    stills: np.ndarray
    extra: np.ndarray | None = None

    @classmethod
    def decode(cls, path: Path, extra: media.Grid | None = None) -> ClipSignals:
        """Decode the clip at ``path``.

        Args:
            path: The clip.
            extra: Pictures to take on the way that no filter sees; see `extra` of the class.

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
        picked = middles(info.n_frames)
        grids = [media.Grid(fps, size, "stretch"), *([extra] if extra else [])]
        (frames, *more), stills = media.decode_grids_and_stills(path, grids, picked)
        beside = more[0] if more else None
        return cls(info.width, info.height, duration_s, frames, fps, audio, rate, stills, beside)

    @cached_property
    def luma(self) -> np.ndarray:
        """Brightness, uint8 (T, h, w), 0 black to 255 white (Rec. 601 weights)."""
        # one frame at a time: a float copy of the whole clip would be four times its size
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.stack([np.rint(frame @ weights).astype(np.uint8) for frame in self.frames])

    @cached_property
    def picture_box(self) -> tuple[slice, slice]:
        """Rows and columns of ``luma`` inside the black bars; both empty for a clip that is black throughout."""
        brightest = self.luma.max(axis=0) > BAR_LUMA
        rows, columns = np.flatnonzero(brightest.any(axis=1)), np.flatnonzero(brightest.any(axis=0))
        if not rows.size:
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def middles(n_frames: int) -> list[int]:
    """Numbers of the frames in the middle of `N_STILLS` equal parts of a clip, each once."""
    return sorted({int((part + 0.5) * n_frames / N_STILLS) for part in range(N_STILLS)})
