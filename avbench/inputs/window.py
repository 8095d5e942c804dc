"""A window to score, and what every kind of input gives to cut it from: a `Picture` and a `Sound`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avbench.media import Fit, Resize
from avbench.metrics._base import ClipSignals


@dataclass(frozen=True)
class Window:
    """One window to score.

    Attributes:
        window_id: ``<clip>@<start frame>``.
        cluster: Windows of one cluster are not independent (same source, same file).
        signals: Picture and sound at the protocol's rates; what the protocol's metrics do not need is empty.
        start_s: Where it begins in its clip, seconds.
        native_fps: Frame rate of the clip before it was brought to the protocol's; 0 where it states none.
        notes: What a reader of the per-clip table may want to know, such as ``silent``.
    """

    window_id: str
    cluster: str
    signals: ClipSignals
    start_s: float = 0.0
    native_fps: float = 0.0
    notes: tuple[str, ...] = ()


class Look(NamedTuple):
    """How pictures are brought to size.

    Attributes:
        size: Square size, pixels.
        fit: See `avbench.protocol.Protocol`.
        resize: See `avbench.protocol.Protocol`.
    """

    size: int
    fit: Fit
    resize: Resize


class Ear(NamedTuple):
    """How sound is brought to one channel and a rate.

    Attributes:
        sample_rate_hz: Rate.
        channel: See `avbench.protocol.Protocol`.
    """

    sample_rate_hz: int
    channel: Literal["mean", "first"]


class Frames(NamedTuple):
    """A clip's own frames in time.

    Attributes:
        starts_s: Time of each frame, float64 (T,), rising.
        end_s: End of the last frame.
        fps: Their average rate.
        is_vfr: The time between frames varies.
    """

    starts_s: NDArray[np.float64]
    end_s: float
    fps: float
    is_vfr: bool = False


class Picture(ABC):
    """The pictures of a clip."""

    @property
    @abstractmethod
    def native_fps(self) -> float:
        """The frame rate it states, or 0; cheap to find out."""

    @abstractmethod
    def frames(self) -> Frames:
        """When each of its own frames is shown."""

    @abstractmethod
    def read(self, look: Look, fps: float | None, start: int = 0, n_frames: int | None = None) -> NDArray[np.uint8]:
        """Pictures, uint8 (T, size, size, 3).

        Args:
            look: Size.
            fps: Grid to bring them to; None takes its own frames.
            start: First frame, on the grid or of its own.
            n_frames: How many; None takes all to the end.

        Raises:
            MediaError: Unreadable, or fewer than ``n_frames``.
        """

    @abstractmethod
    def pick(self, look: Look, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Some of its own frames, in rising order, uint8 (T, size, size, 3)."""


class Sound(ABC):
    """The sound of a clip, brought to one channel."""

    @abstractmethod
    def end_s(self) -> float:
        """Where it ends, seconds; cheap to find out."""

    @abstractmethod
    def read(self, ear: Ear, start_s: float, n_samples: int | None) -> NDArray[np.float32]:
        """Samples from ``start_s`` on, float32 (1, L); None takes all to the end.

        Raises:
            MediaError: Unreadable, or it ends more than one codec frame before ``n_samples`` are there.
        """
