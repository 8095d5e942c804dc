"""Training views on their way into a shard: what one holds, what its file is called, and how it is made.

The filter stage decodes every clip anyway and makes its view on the way. The shard stage takes a view that is there and
makes those that are not; both give the same bytes. A name stands for one clip and one kind of view, so that a file
which an earlier clip or recipe has left is never taken for another.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.errors import MediaError, UserError
from avbench.recipe import ViewRecipe, sha256
from avbench.workspace import Workspace, file_sha256, free_bytes, publish

_SPARE_BYTES = 20e9
"""Disk that views made ahead of the shard stage leave free."""


@dataclass(frozen=True)
class View:
    """Shape of the training view of one clip.

    Attributes:
        recipe: What it is made by.
        clip_s: Length of the clip, seconds.
        frames: Video frames.
        samples: Audio samples.
    """

    recipe: ViewRecipe
    clip_s: float
    frames: int
    samples: int

    @classmethod
    def of(cls, recipe: ViewRecipe, clip_s: float) -> View:
        """The view of a clip of ``clip_s`` seconds.

        Raises:
            UserError: The clip does not hold a whole number of view frames or samples.
        """
        try:
            frames, samples = recipe.counts(clip_s)
        except ValueError as error:
            raise UserError(f"{error}; choose another rate under [view] or another segment.clip_s") from error
        return cls(recipe, clip_s, frames, samples)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the video array, uint8."""
        return (self.frames, self.recipe.size, self.recipe.size, 3)

    @property
    def video_bytes(self) -> int:
        """Size of the raw video array."""
        return self.frames * self.recipe.size**2 * 3

    @property
    def audio_bytes(self) -> int:
        """Size of the raw float32 audio array."""
        return self.samples * 4

    def columns(self) -> dict[str, Any]:
        """The columns of the index that describe it."""
        return {
            "view_frames": self.frames,
            "view_size": self.recipe.size,
            "view_fps": self.recipe.fps,
            "view_samples": self.samples,
            "view_sample_rate_hz": self.recipe.sample_rate_hz,
        }

    @property
    def grid(self) -> media.Grid:
        """Its pictures."""
        return media.Grid(self.recipe.fps, (self.recipe.size, self.recipe.size))


def folder(ws: Workspace) -> Path:
    """Where views wait for their shard."""
    return ws.root / "work" / "views"


def clear(ws: Workspace) -> None:
    """Remove what is left of the views of shards that are no longer wanted."""
    shutil.rmtree(folder(ws), ignore_errors=True)


def name(clip_id: str, view: View, clip_sha256: str) -> str:
    """Name of a view's file: the same only for the same clip and the same view."""
    return f"{clip_id}-{sha256({**view.columns(), 'clip': clip_sha256})[:16]}.view"


def make(path: Path, clip: Path, view: View) -> None:
    """Decode the training view of a clip into one file: raw video, then raw audio. One that is there stays.

    Raises:
        MediaError: The clip cannot be decoded or is too short.
    """
    if not path.exists():
        video = media.decode_video(clip, fps=view.recipe.fps, size=view.grid.size, n_frames=view.frames)
        _write(path, clip, view, video)


def make_ahead(ws: Workspace, clip_id: str, clip: Path, view: View, video: NDArray[np.uint8]) -> None:
    """Write the view of a clip whose pictures are decoded already, so that the shard stage finds it.

    It is left to the shard stage where the disk is nearly full, and where the clip has too little picture or sound for
    it, which is an error there.

    Args:
        ws: Folder of the dataset.
        clip_id: Of the clip.
        clip: Its file.
        view: What to make.
        video: What `View.grid` shows of all of the clip.
    """
    if len(video) < view.frames or free_bytes(ws.root) < _SPARE_BYTES:
        return
    path = folder(ws) / name(clip_id, view, file_sha256(clip))
    with suppress(MediaError):
        if not path.exists():
            _write(path, clip, view, video[: view.frames])


def _write(path: Path, clip: Path, view: View, video: NDArray[np.uint8]) -> None:
    rate = view.recipe.sample_rate_hz
    sound = media.decode_audio(clip, sample_rate_hz=rate, mono=True, n_samples=view.samples)
    with publish(path) as temporary, open(temporary, "wb") as stream:
        stream.write(np.ascontiguousarray(video).data)
        stream.write(np.ascontiguousarray(sound[0], dtype="<f4").data)
