"""Decode for a grid coarser than the file's frames: what is not shown and not referred to is never decoded.

The time stamps of the packets say beforehand which frames a grid shows. The decoder is told to leave out the others
where no frame refers to them: of a 60 fps video with B frames brought to 30 fps that is nearly every second one. The
frames that come are those of a full decode, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.error

from avbench._media_open import RUN_UP_S, Timed, decoded, open_tracks, seek
from avbench._media_video import on_grid

_MIN_SPARED = 0.2
# A frame may stand this much behind later ones in the file, seconds.
_REORDER_S = 2


class NotSparse(Exception):
    """Time stamps of packets and frames differ, or pictures are interlaced: decode everything instead."""


@dataclass(frozen=True)
class Sparse:
    """A clip whose frames are known before they are decoded.

    Attributes:
        t0: Time of its first frame, seconds from time zero of the file.
        frames: The frames that `on_grid` shows, in its order. Iterating may raise `NotSparse`: then nothing of what
            came before may be used.
    """

    t0: Fraction
    frames: Iterator[Timed]


def sparsely(path: Path, start: Fraction, fps: Fraction, n_frames: int) -> Sparse | None:
    """The frames that a grid shows from the first frame at or after ``start`` on, or None where it spares too little.

    Args:
        path: The file.
        start: Seconds from time zero of the file.
        fps: Rate of the grid.
        n_frames: Frames of the grid.
    """
    stamps, tick = _stamps(path, start, start + (n_frames + 3) / fps)
    times = sorted(stamps)
    wanted = [time for time in times if time >= start - tick / 2]
    if not wanted or wanted[-1] < wanted[0] + (n_frames + 1) / fps:
        return None
    if start > RUN_UP_S and times[0] > start:
        return None  # the seek went too far; `frames_from` goes further back
    t0 = wanted[0]
    shown = [timed.start for timed in on_grid(path, (Timed(t, Fraction(0), None) for t in wanted), t0, fps, n_frames)]
    kept = set(shown)
    spared = {stamps[time] for time in times if time < shown[-1] and time not in kept}
    if len(spared) < _MIN_SPARED * len(times):
        return None
    return Sparse(t0, _walk(path, start, shown, spared))


def _stamps(path: Path, start: Fraction, end: Fraction) -> tuple[dict[Fraction, int], Fraction]:
    """Time of each picture from a key frame before ``start`` to past ``end`` -> its stamp; empty if unclear.

    The second value is the length of a tick, seconds.
    """
    found: dict[Fraction, int] = {}
    with open_tracks(path) as tracks:
        stream = tracks.stream("video")
        tick = Fraction(stream.time_base)
        if start > RUN_UP_S and not seek(tracks, stream, start - RUN_UP_S):
            return {}, tick
        for packet in tracks.container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            time = None if packet.pts is None else packet.pts * tick - tracks.zero
            if time is None or time in found:
                return {}, tick
            found[time] = packet.pts
            if time > end + _REORDER_S:
                break
    return found, tick


def _walk(path: Path, start: Fraction, shown: list[Fraction], spared: set[int]) -> Iterator[Timed]:
    """The frames at the times ``shown``, which never fall."""
    with open_tracks(path) as tracks:
        stream = tracks.stream("video")
        if start > RUN_UP_S and not seek(tracks, stream, start - RUN_UP_S):
            raise NotSparse
        frames = decoded(tracks, stream, spared)
        held: Timed | None = None
        for time in shown:
            while held is None or held.start < time:
                try:
                    held = next(frames, None)
                except av.error.FFmpegError as error:
                    raise NotSparse from error
                if held is None or held.frame.interlaced_frame:
                    raise NotSparse
            if held.start != time:
                raise NotSparse
            yield held
