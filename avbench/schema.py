"""The vocabulary every stage shares: sources, clips, verdicts, outcomes, batches and scores.

Units are in the names. Time is in seconds, half-open ``[start_s, end_s)``, on the frame grid. Errors, drops and scores
are three different things and have three different types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from avbench.errors import UserError

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
"""Version of every file avbench writes (index, ledger, DATASET.json, result record)."""

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What an id may look like. No dot and no slash: ids are file names and WebDataset keys."""

T = TypeVar("T")


def check_id(value: str, what: str) -> str:
    """Return ``value`` if it is a safe id, else raise.

    Args:
        value: The id to check.
        what: Where it stands, for the message (``"sources.csv row 3"``).

    Raises:
        UserError: The id is empty, too long, or holds a character that could leave the work folder.
    """
    if not ID_PATTERN.fullmatch(value):
        raise UserError(f"{what}: the id {value!r} is not allowed; use 1 to 100 letters, digits, '_' or '-'")
    return value


@dataclass(frozen=True)
class Source:
    """One recording to take clips from: a row of a manifest.

    Attributes:
        source_id: Unique safe name, see `ID_PATTERN`.
        url: http(s) address that yt-dlp or a plain GET can read, ``hf://`` file of a hub dataset, or a local path.
        group: Sources of one group (one performance, one channel) never stand in two splits.
        title: Human title, or empty.
        licence: Licence of the recording as the manifest states it, or empty.
        sha256: Expected digest of the file, or empty when the manifest does not pin it.
        size_bytes: Expected size, or 0 when unknown.
    """

    source_id: str
    url: str
    group: str = ""
    title: str = ""
    licence: str = ""
    sha256: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class Clip:
    """One finished clip on disk.

    Attributes:
        clip_id: ``<source_id>_<number>``, also the WebDataset key.
        source_id: Where it was cut from.
        group: Split group of its source.
        start_s: Time of its first frame in the source, seconds.
        clip_s: Length, seconds; ``n_frames = clip_s * fps`` and ``n_samples = clip_s * sample_rate_hz`` exactly.
        fps: Frames per second of the grid.
        width: Pixels.
        height: Pixels.
        sample_rate_hz: Audio rate.
        channels: Audio channels.
        file: Name of the file below ``work/clips``.
        licence: Licence of the source.
        verdict: What reading it back found: ``exact``, or ``exact, sound not compared`` where the source is silent.
        lag_s: By how much its sound comes later than the source's, seconds, by cross-correlation; None where the sound
            is silent or has no structure to compare.
        picture_psnr_db: First picture against the source's picture at ``start_s``.
        av_offset_s: Start of sound minus start of picture as a reader sees it that honours edit lists.
        raw_av_offset_s: The same for a reader that ignores edit lists.
    """

    clip_id: str
    source_id: str
    group: str
    start_s: float
    clip_s: float
    fps: float
    width: int
    height: int
    sample_rate_hz: int
    channels: int
    file: str
    licence: str = ""
    verdict: str = ""
    lag_s: float | None = None
    picture_psnr_db: float | None = None
    av_offset_s: float | None = None
    raw_av_offset_s: float | None = None

    @property
    def n_frames(self) -> int:
        """Video frames in the clip."""
        return round(self.clip_s * self.fps)

    @property
    def n_samples(self) -> int:
        """Audio samples per channel in the clip."""
        return round(self.clip_s * self.sample_rate_hz)


@dataclass(frozen=True)
class Verdict:
    """What one filter says of one clip.

    Attributes:
        filter: Name of the filter.
        keep: False drops the clip.
        value: The measured number the decision rests on.
        reason: One phrase with the value and the threshold; empty when the clip is kept.
    """

    filter: str
    keep: bool
    value: float
    reason: str = ""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """Result of one unit of work: either a value or the reason why there is none, never both.

    Attributes:
        item_id: Which item.
        value: What came out, or None.
        error: One sentence, or empty when the work succeeded.
        seconds: Wall time it took.
        fault: Kind of the error: the name of its exception class, or empty.
    """

    item_id: str
    value: T | None
    error: str = ""
    seconds: float = 0.0
    fault: str = ""

    @property
    def ok(self) -> bool:
        """True when there is a value."""
        return not self.error


@dataclass(frozen=True)
class Batch:
    """What a training loader yields.

    Attributes:
        video: uint8 (B, T, 3, H, W), 0..255.
        audio: float32 (B, C, L) in [-1, 1], sample 0 at the time of frame 0.
        ids: ``<clip_id>@<start_frame>`` of each window.
    """

    video: torch.Tensor
    audio: torch.Tensor
    ids: tuple[str, ...]

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which a CUDA device copies faster."""
        return Batch(self.video.pin_memory(), self.audio.pin_memory(), self.ids)


@dataclass(frozen=True)
class Score:
    """One number of a result record, or the reason why it is absent.

    Attributes:
        metric: Name in the metric registry.
        value: The number, or None when ``reason`` says why there is none.
        n_asked: Clips the protocol asked for.
        n_used: Clips the number rests on.
        interval: 95% interval (low, high), or None.
        interval_kind: How the interval was made.
        floor: The same distance between two disjoint halves of the reference, or the chance level for alignment.
        floor_kind: What ``floor`` is.
        reason: Why there is no value; empty otherwise.
        warnings: What a reader must know before using the number.
        details: Further numbers of the estimate by name, such as ``r2`` of an extrapolation or ``codec_floor``: what
            real clips score after the codec that made the clips.
    """

    metric: str
    value: float | None
    n_asked: int
    n_used: int
    interval: tuple[float, float] | None = None
    interval_kind: str = ""
    floor: float | None = None
    floor_kind: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()
    details: dict[str, float] = field(default_factory=dict)
