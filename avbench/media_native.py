"""A file's own frames and samples, one after the other, time stamps unread.

Published measurements rest on what OpenCV's ``VideoCapture`` and ``ffmpeg -i clip.mp4 clip.wav`` give: frames and
samples are counted, not timed, and colours go through swscale's fast conversion, a few grey levels off the exact one.
To get a published number, take a file apart in the same way; for everything else there are `decode_video` and
`decode_audio`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench._media_audio import _as_channels
from avbench._media_open import Kind, Timed, Tracks, decoded, open_tracks
from avbench._media_video import quarter_turns
from avbench.errors import MediaError


def native_fps(path: Path) -> float:
    """Frames per second as the container states them on average, which is what OpenCV reports.

    Raises:
        MediaError: No picture, damaged, or no frame rate is stated.
    """
    with open_tracks(path) as tracks:
        return _fps(tracks)


def native_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame in order, one at a time: uint8 (H, W, 3) RGB, upright, at its stored size, as OpenCV reads it.

    Raises:
        MediaError: No picture, or damaged.
    """
    with open_tracks(path) as tracks:
        yield from _frames(tracks)


@contextmanager
def native_picture(path: Path) -> Iterator[tuple[Iterator[NDArray[np.uint8]], float]]:
    """`native_frames` and `native_fps` of a file that is opened once.

    Raises:
        MediaError: No picture, damaged, or no frame rate is stated.
    """
    with open_tracks(path) as tracks:
        yield _frames(tracks), _fps(tracks)


def native_samples(path: Path) -> tuple[NDArray[np.float32], int]:
    """Every sample in order, gaps in the time stamps closed, rounded and clipped to 16 bit as in an extracted wav.

    Returns:
        float32 (C, L) in [-1, 1), and its rate in Hz.

    Raises:
        MediaError: No sound, damaged, or its rate or number of channels changes midway.
    """
    with open_tracks(path) as tracks:
        timed = list(_decoded(tracks, "audio"))
        padding = _padding(tracks, timed[-1])
    blocks = [_as_channels(block.frame, None) for block in timed]
    kinds = {(block.frame.sample_rate, len(samples)) for block, samples in zip(timed, blocks, strict=True)}
    if len(kinds) > 1:
        raise MediaError(f"{path}: its sample rate or number of audio channels changes midway")
    blocks[-1] = blocks[-1][:, : blocks[-1].shape[1] - padding]
    levels = np.rint(np.concatenate(blocks, axis=1) * np.float32(32768)).clip(-32768, 32767)
    return levels / np.float32(32768), timed[-1].frame.sample_rate


def _decoded(tracks: Tracks, kind: Kind) -> Iterator[Timed]:
    """Every decoded frame of a stream, at least one."""
    frames = decoded(tracks, tracks.stream(kind))
    first = next(frames, None)
    if first is None:
        raise MediaError(f"{tracks.path}: none of its {kind} can be decoded")
    yield first
    yield from frames


def _fps(tracks: Tracks) -> float:
    stream = tracks.stream("video")
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise MediaError(f"{tracks.path}: does not state its frame rate")
    return float(rate)


def _frames(tracks: Tracks) -> Iterator[NDArray[np.uint8]]:
    for timed in _decoded(tracks, "video"):
        picture = timed.frame.to_ndarray(format="rgb24")
        turns = quarter_turns(timed)
        yield np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _padding(tracks: Tracks, last: Timed) -> int:
    """Samples of the last block beyond the end that the container states: what the codec added to fill its frame.

    Only codecs with frames of a fixed length fill the last one up; the others (Vorbis) stop where they stop.
    """
    stream = tracks.audio
    if not stream.codec_context.frame_size or stream.duration is None or stream.start_time is None:
        return 0
    stated_end = (stream.start_time + stream.duration) * stream.time_base - tracks.zero
    beyond = round((last.start - stated_end) * last.frame.sample_rate) + last.frame.samples
    return min(max(beyond, 0), last.frame.samples - 1)
