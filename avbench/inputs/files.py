"""Clips that are files: a film with its sound inside, or with a sound file beside it, or sound alone."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media, media_native
from avbench.errors import MediaError
from avbench.inputs import tensors
from avbench.inputs._unchanged import while_unchanged
from avbench.inputs.card import NOTHING, Stated
from avbench.inputs.cutting import cut
from avbench.inputs.window import Ear, Frames, Look, Picture, Sound, Window
from avbench.protocol import Protocol
from avbench.workspace import file_sha256

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".ogv", ".gif")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")


class FilePicture(Picture):
    """The pictures of a film."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def native_fps(self) -> float:
        """What its container states."""
        try:
            return media_native.native_fps(self.path)
        except MediaError:
            return 0.0  # decoding says what is wrong with the file

    def frames(self) -> Frames:
        """By the time stamps of its packets."""
        info, starts_s = _timeline(self.path)
        if not info.has_video:
            raise MediaError(f"{self.path}: has no picture")
        return Frames(starts_s, info.video_end_s, info.fps, info.is_vfr)

    def read(self, look: Look, fps: float | None, start: int = 0, n_frames: int | None = None) -> NDArray[np.uint8]:
        """Decode; on a grid by the rule of `avbench.media.decode_video`."""
        start_s = start / fps if fps else (float(self.frames().starts_s[start]) if start else 0.0)
        return media.decode_video(
            self.path,
            fps=fps,
            size=(look.size, look.size),
            fit=look.fit,
            resize=look.resize,
            start_s=start_s,
            n_frames=n_frames,
        )

    def pick(self, look: Look, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Decode up to the last of them."""
        size = (look.size, look.size)
        return media.decode_video(self.path, size=size, fit=look.fit, resize=look.resize, picked=numbers)


class FileSound(Sound):
    """The sound of a film or of a sound file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def end_s(self) -> float:
        """By the time stamps of its packets."""
        info, _ = _timeline(self.path)
        if not info.has_audio:
            raise MediaError(f"{self.path}: has no sound")
        return info.audio_end_s

    def read(self, ear: Ear, start_s: float, n_samples: int | None) -> NDArray[np.float32]:
        """Decode and resample."""
        return media.decode_audio(
            self.path,
            sample_rate_hz=ear.sample_rate_hz,
            mono=ear.channel == "mean",
            start_s=start_s,
            n_samples=n_samples,
        )[:1]


def _timeline(path: Path) -> tuple[media.MediaInfo, NDArray[np.float64]]:
    """`avbench.media.timeline`; picture and sound of one file ask one after the other."""
    try:
        return _timeline_of(path)
    except OSError as error:
        raise MediaError(f"{path}: there is no such file") from error


_timeline_of = while_unchanged(4)(media.timeline)
"""Few: what one file is asked comes one after the other, and a film's times are megabytes."""


@dataclass(frozen=True)
class FileItem:
    """A clip that is a file.

    Attributes:
        path: Film, tensors, or sound alone.
        name: Its name in the folder it was found in; empty takes the file's.
        clip: Name of the clip in window ids: ``name`` without suffix where that is unambiguous; empty takes the stem.
        sound: A sound file beside it, which then counts instead of the sound inside.
        stated: What the folder says of it.
        row: Which clip of a ``.npy`` that holds many.
    """

    path: Path
    name: str = ""
    clip: str = ""
    sound: Path | None = None
    stated: Stated = NOTHING
    row: int | None = None

    @property
    def item_id(self) -> str:
        """Its name in the folder it was found in."""
        return self.name or self.path.name

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files it is made of."""
        return (self.path,) if self.sound is None else (self.path, self.sound)

    def content_sha256(self) -> str:
        """Digest of its files, and of what the folder says of tensors; equal for equal content under any name."""
        is_tensor = self.path.suffix.lower() in tensors.SUFFIXES
        facts = [tensors.facts(self.stated), str(self.row)] if is_tensor else []
        return joined_sha256([*(quick_sha256(path) for path in self.paths), *facts])

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Decode it into windows.

        Raises:
            MediaError: Unreadable, without what the protocol needs, or shorter than one window.
        """
        with_name = functools.partial(named, self.item_id, self.paths)
        try:
            picture, sound = self._open()
            yield from cut(picture, sound, protocol, self.clip or self.path.stem)
        except MediaError as error:
            raise with_name(error) from error

    def _open(self) -> tuple[Picture | None, Sound | None]:
        suffix = self.path.suffix.lower()
        if suffix in tensors.SUFFIXES:
            tensor_sound = self.sound if self.sound and self.sound.suffix.lower() == ".npy" else None
            picture, sound = tensors.open_file(self.path, self.stated, tensor_sound, self.row)
            return picture, FileSound(self.sound) if self.sound and not tensor_sound else sound
        if suffix in AUDIO_SUFFIXES:
            return None, FileSound(self.path)
        return FilePicture(self.path), FileSound(self.sound or self.path)


def named(item_id: str, paths: Sequence[Path], error: MediaError) -> MediaError:
    """The same error in one sentence that begins with the item's name and shows no folder of this machine."""
    reason = str(error)
    for path in paths:
        reason = reason.removeprefix(f"{path}: ").replace(str(path), path.name)
    return MediaError(f"{item_id}: {reason}")


def joined_sha256(parts: Sequence[str]) -> str:
    """One digest of several, and of plain facts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@while_unchanged(1 << 17)
def quick_sha256(path: Path) -> str:
    """Digest of a file, read once per process while its size and time stand still."""
    return file_sha256(path)
