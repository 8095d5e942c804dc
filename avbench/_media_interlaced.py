"""Whole pictures from interlaced video (part of `avbench.media`).

Frames that say they hold two half-pictures of different times are deinterlaced with ffmpeg's bwdif, one picture per
frame at the time of its first half: 25i gives 25 pictures a second, as sharp as the halves allow and without combs.
Frames that do not say so pass untouched, so progressive video pays nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from av.filter import Graph

if TYPE_CHECKING:
    from avbench._media_open import Timed


def deinterlaced(frames: Iterator[Timed]) -> Iterator[Timed]:
    """The same frames at the same times, their lines all of one moment."""
    weaver: _Deinterlacer | None = None
    for timed in frames:
        if weaver is not None and not weaver.takes(timed.frame):
            yield from weaver.end()
            weaver = None
        if weaver is None and timed.frame.interlaced_frame:
            weaver = _Deinterlacer(timed.frame)
        if weaver is None:
            yield timed
        else:
            yield from weaver.push(timed)
    if weaver is not None:
        yield from weaver.end()


class _Deinterlacer:
    """One filter graph; it looks a frame ahead and gives as many frames as it takes, in their order."""

    def __init__(self, frame: Any) -> None:
        self._shape = (frame.width, frame.height, frame.format.name)
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        self._graph.link_nodes(
            source, self._graph.add("bwdif", "mode=send_frame:deint=interlaced"), self._graph.add("buffersink")
        ).configure()
        self._inside: deque[Timed] = deque()

    def takes(self, frame: Any) -> bool:
        """The frame has the size and format of those before it."""
        return (frame.width, frame.height, frame.format.name) == self._shape

    def push(self, timed: Timed) -> Iterator[Timed]:
        """Put a frame in and take out what is finished."""
        self._inside.append(timed)
        self._graph.vpush(timed.frame)
        yield from self._finished()

    def end(self) -> Iterator[Timed]:
        """Take out the rest."""
        self._graph.vpush(None)
        yield from self._finished()

    def _finished(self) -> Iterator[Timed]:
        while True:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            timed = self._inside.popleft()
            frame.time_base = timed.frame.time_base
            yield replace(timed, frame=frame)
