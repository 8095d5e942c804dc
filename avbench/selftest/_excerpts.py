"""Clips and their distorted versions as items that the ordinary scoring pieces take."""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from avbench.inputs import Item, Window
from avbench.metrics._base import ClipSignals
from avbench.protocol import Protocol
from avbench.selftest.distortions import DISTORTIONS, Excerpt

CLEAN = "clean"
"""Name of the undistorted version."""

_BY_NAME = {distortion.name: distortion for distortion in DISTORTIONS}


@dataclass(frozen=True)
class Key:
    """Which version of which window; goes through scoring as the window's id.

    Attributes:
        version: A distortion, or `CLEAN`.
        step: Place of the strength in the distortion's ten, from 1; 0 for `CLEAN`.
        is_reference: The window belongs to the half that stays clean.
    """

    version: str
    step: int
    is_reference: bool

    @classmethod
    def read(cls, window_id: str) -> Key:
        """From a window id."""
        version, step, side, _ = window_id.split("|", 3)
        return cls(version, int(step), side == "reference")

    def window_id(self, name: str) -> str:
        """The id of window ``name`` in this version."""
        return f"{self.version}|{self.step}|{'reference' if self.is_reference else 'distorted'}|{name}"


@dataclass(frozen=True)
class Version:
    """One item in one version: all its windows clean, or every second window at ten strengths.

    Attributes:
        item: The clip.
        place: Its number in the set; windows of odd number (``place`` + window) are the ones that get distorted.
        version: A distortion, or `CLEAN`.
        excerpts: Most excerpts to take of the clip.
        frames: Frames of a window.
    """

    item: Item
    place: int
    version: str
    excerpts: int
    frames: int

    @property
    def item_id(self) -> str:
        """Name of the clip and of the version."""
        return f"{self.item.item_id} ({self.version})"

    def content_sha256(self) -> str:
        """Digest of the clip and the version."""
        return hashlib.sha256(f"{self.item.content_sha256()} {self.version} {self.excerpts}".encode()).hexdigest()

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """The windows, each with a `Key` as its id.

        Args:
            protocol: Its ``frames`` are those of an excerpt: the window and what follows it.

        Raises:
            MediaError: The clip cannot be decoded or is shorter than an excerpt.
        """
        # items are frozen dataclasses, though their interface does not say that they can be hashed
        found = _excerpts(self.item, protocol.model_dump_json(), self.excerpts)  # type: ignore[arg-type]
        for number, whole in enumerate(found):
            is_reference = (self.place + number) % 2 == 0
            excerpt = Excerpt(whole.signals, self.frames)
            if self.version == CLEAN:
                yield _named(whole, Key(CLEAN, 0, is_reference), excerpt.window())
            elif not is_reference:
                yield from self._distorted(whole, excerpt, protocol.seed)

    def _distorted(self, whole: Window, excerpt: Excerpt, seed: int) -> Iterator[Window]:
        distortion = _BY_NAME[self.version]
        for step, strength in enumerate(distortion.strengths, 1):
            rng = np.random.default_rng([seed, 7, zlib.crc32(whole.window_id.encode())])
            yield _named(whole, Key(self.version, step, False), distortion.apply(excerpt, strength, rng))


def _named(whole: Window, key: Key, signals: ClipSignals) -> Window:
    return replace(whole, window_id=key.window_id(whole.window_id), signals=signals)


@functools.lru_cache(maxsize=1)
def _excerpts(item: Item, protocol_json: str, count: int) -> list[Window]:
    """At most ``count`` excerpts of a clip, spread evenly over it; decoded once for all versions that follow."""
    windows = list(item.windows(Protocol.model_validate_json(protocol_json)))
    if len(windows) <= count:
        return windows
    return [windows[k] for k in np.linspace(0, len(windows) - 1, count).round().astype(int)]
