"""Clips that are folders of numbered pictures, with a sound file inside or beside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.errors import MediaError
from avbench.inputs.cutting import cut
from avbench.inputs.files import FileSound, joined_sha256, named, quick_sha256
from avbench.inputs.window import Frames, Look, Picture, Window
from avbench.protocol import Protocol

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FPS_NAME = "fps.txt"

_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class StillsPicture(Picture):
    """Numbered pictures, read one at a time.

    Args:
        paths: In the order in which they are shown.
        fps: Their rate.
    """

    def __init__(self, paths: Sequence[Path], fps: float) -> None:
        self._paths, self._fps = paths, fps

    @property
    def native_fps(self) -> float:
        """As stated."""
        return self._fps

    def frames(self) -> Frames:
        """One after the other at their rate."""
        count = len(self._paths)
        return Frames(np.arange(count) / self._fps, count / self._fps, self._fps)

    def read(self, look: Look, fps: float | None, start: int = 0, n_frames: int | None = None) -> NDArray[np.uint8]:
        """Pictures brought to size, and onto a grid by the rule of `avbench.media.decode_video`."""
        count = len(self._paths)
        numbers = list(range(count)) if fps is None else media.frames_on_grid(count, self._fps, fps)
        return self.pick(look, numbers[start : None if n_frames is None else start + n_frames])

    def pick(self, look: Look, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Those pictures; one that is shown twice is read once."""
        found: dict[int, NDArray[np.uint8]] = {}
        shape: tuple[int, ...] = ()
        for number in dict.fromkeys(numbers):
            picture = _read(self._paths[number])
            if shape not in ((), picture.shape):
                raise MediaError(
                    f"{self._paths[number].name} is {picture.shape[1]} x {picture.shape[0]} pixels, the pictures "
                    f"before it are {shape[1]} x {shape[0]}"
                )
            shape = picture.shape
            size = (look.size, look.size)
            found[number] = media.fit_frames(picture[None], size, fit=look.fit, resize=look.resize)[0]
        if not found:
            return np.zeros((0, look.size, look.size, 3), np.uint8)
        return np.stack([found[number] for number in numbers])


@dataclass(frozen=True)
class FramesItem:
    """A clip that is a folder of pictures.

    Attributes:
        path: The folder.
        name: Its name in the folder it was found in.
        clip: Name of the clip in window ids.
        pictures: Its pictures in order.
        sound: Its sound file, or None.
        fps: Rate that ``fps.txt`` or ``samples.json`` states; 0 takes the protocol's.
    """

    path: Path
    name: str
    clip: str
    pictures: tuple[Path, ...]
    sound: Path | None = None
    fps: float = 0.0

    @property
    def item_id(self) -> str:
        """Its name in the folder it was found in."""
        return self.name

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files it is made of."""
        return self.pictures if self.sound is None else (*self.pictures, self.sound)

    def content_sha256(self) -> str:
        """Digest of its files in order and of its rate."""
        return joined_sha256([*(quick_sha256(path) for path in self.paths), f"frames {self.fps}"])

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Read it into windows.

        Raises:
            MediaError: A picture is missing or unreadable, there is no rate, or it is shorter than one window.
        """
        try:
            fps = self.fps or protocol.fps
            if not fps:
                raise MediaError(f"nothing states its frame rate; put it into {FPS_NAME} or samples.json")
            _check_numbers(self.pictures)
            sound = None if self.sound is None else FileSound(self.sound)
            yield from cut(StillsPicture(self.pictures, fps), sound, protocol, self.clip)
        except MediaError as error:
            raise named(self.item_id, self.paths, error) from error


def number(path: Path) -> int | None:
    """The number at the end of a picture's name, or None."""
    found = re.search(r"(\d+)$", path.stem)
    return int(found.group(1)) if found else None


def stated_fps(folder: Path) -> float:
    """What ``fps.txt`` in a folder states, or 0 where there is none.

    Raises:
        MediaError: It holds no rate.
    """
    path = folder / FPS_NAME
    if not path.is_file():
        return 0.0
    text = path.read_text(errors="replace").strip()
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps < 1e6:
        raise MediaError(f"{FPS_NAME} holds {text[:20]!r}, must be one positive number")
    return fps


def _check_numbers(pictures: Sequence[Path]) -> None:
    """Pictures without a gap: a missing one would make the clip run fast."""
    numbers = [number(path) or 0 for path in pictures]
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise MediaError(f"its pictures jump from {before} to {after}")


def _read(path: Path) -> NDArray[np.uint8]:
    """A picture as RGB, uint8 (H, W, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT:
                raise MediaError(f"{path.name} has grey levels of mode {image.mode}, only 8 bit are read")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path.name} is no readable picture ({str(error).replace(str(path), path.name)})") from error
