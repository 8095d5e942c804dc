"""Which windows a protocol takes of a clip, and where the sound of each begins: decided here for every kind of input.

Nothing is repeated or replaced. Sound that ends less than one codec frame early is filled with silence, as
`avbench.media.decode_audio` does; more silence stands only where the protocol's ``sound_s`` asks for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avbench.errors import MediaError
from avbench.inputs.window import Ear, Frames, Look, Picture, Sound, Window
from avbench.metrics._base import ClipSignals
from avbench.protocol import Protocol

SILENT_BELOW = 1 / 32768
"""A window whose loudest sample stays below the smallest step of 16 bit counts as silent."""

_SLACK_S = 0.02
"""The shortest codec frame in use (Opus): sound may end that much before the picture."""


def starts(protocol: Protocol, n_frames: int, clip: str) -> list[int]:
    """First frames of the windows that the protocol takes of ``n_frames`` frames; empty when there are too few.

    Args:
        protocol: Its ``windows``, ``frames`` and ``seed`` decide.
        n_frames: Frames there are.
        clip: Name of the clip; a random window is drawn with it.
    """
    last = n_frames - protocol.frames
    if last < 0:
        return []
    if protocol.windows == "tile":
        return list(range(0, last + 1, protocol.frames))
    if protocol.windows == "overlap":
        return list(range(last + 1))
    if protocol.windows == "centre":
        return [last // 2]
    if protocol.windows == "random":
        rng = np.random.default_rng([protocol.seed, 7, zlib.crc32(clip.encode())])
        return [int(rng.integers(0, last + 1))]
    return [0]


def cut(
    picture: Picture | None, sound: Sound | None, protocol: Protocol, clip: str, cluster: str = ""
) -> Iterator[Window]:
    """The windows of one clip, checked.

    Only what the protocol's metrics need is decoded: a clip without sound is fine for a protocol without sound.

    Args:
        picture: Its pictures, or None where it has none.
        sound: Its sound, or None where it has none.
        protocol: What to cut.
        clip: Name of the clip, the first part of the window ids.
        cluster: See `Window`; empty takes ``clip``.

    Raises:
        MediaError: What is needed is missing, unreadable, not finite, or shorter than one window.
    """
    needed = protocol.modalities
    if "video" in needed and picture is None:
        raise MediaError("has no picture")
    if "audio" in needed and sound is None:
        raise MediaError("has no sound")
    picture = picture if "video" in needed else None
    sound = sound if "audio" in needed else None
    native_fps = picture.native_fps if picture is not None else 0.0
    for part in _parts(picture, sound, protocol, clip):
        if not np.isfinite(part.audio).all():
            raise MediaError("its sound holds NaN or infinity")
        notes = list(part.notes)
        if sound is not None and np.abs(part.audio).max(initial=0.0) < SILENT_BELOW:
            notes.append("silent")
        signals = ClipSignals(part.video, part.fps, part.audio, protocol.sample_rate_hz)
        name = f"{clip}@{part.start}"
        yield Window(name, cluster or clip, signals, part.start_s, native_fps, tuple(notes))


class _Part(NamedTuple):
    """One window before it has a name."""

    start: int
    start_s: float
    fps: float
    video: NDArray[np.uint8]
    audio: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def _parts(picture: Picture | None, sound: Sound | None, protocol: Protocol, clip: str) -> Iterator[_Part]:
    if protocol.windows == "spread":
        return iter([_spread(picture, sound, protocol)])
    if protocol.windows == "whole":
        return iter([_whole(picture, sound, protocol)])
    if protocol.fps is not None:
        many = protocol.windows in ("tile", "overlap")
        return (_many_on_grid if many else _one_on_grid)(picture, sound, protocol, protocol.fps, clip)
    if picture is None:
        raise MediaError(f"protocol {protocol.name} counts a clip's own frames, and there is no picture")
    return _own(picture, sound, protocol, clip)


def _one_on_grid(
    picture: Picture | None, sound: Sound | None, protocol: Protocol, fps: float, clip: str
) -> Iterator[_Part]:
    """The one window of a clip that is brought to ``fps``; nothing else of it is decoded."""
    start = 0
    if protocol.windows != "first":
        (start,) = _starts(protocol, _grid_length(picture, sound, protocol, fps), clip)
    video = _no_video(protocol)
    if picture is not None:
        video = picture.read(_look(protocol), fps, start, protocol.frames)
        _require(protocol, len(video))
    yield _Part(start, start / fps, fps, video, _listen(sound, protocol, start / fps, protocol.n_samples()))


def _many_on_grid(
    picture: Picture | None, sound: Sound | None, protocol: Protocol, fps: float, clip: str
) -> Iterator[_Part]:
    """Windows of a clip that is brought to ``fps``, decoded once."""
    video = _no_video(protocol) if picture is None else picture.read(_look(protocol), fps)
    n_frames = _grid_length(None, sound, protocol, fps) if picture is None else len(video)
    n, wanted = protocol.n_samples(), _starts(protocol, n_frames, clip)
    firsts = [round(start / fps * protocol.sample_rate_hz) for start in wanted]
    audio = _no_audio()
    if sound is not None:
        audio = _as_much(sound, protocol, 0.0, firsts[-1] + n)
        if audio.shape[1] < n:
            raise _too_short(protocol, n_frames, audio.shape[1] / protocol.sample_rate_hz)
    for start, first in zip(wanted, firsts, strict=True):
        heard = audio[:, first : first + n]
        if sound is None or heard.shape[1] == n:
            yield _Part(start, start / fps, fps, video[start : start + protocol.frames], heard)


def _own(picture: Picture, sound: Sound | None, protocol: Protocol, clip: str) -> Iterator[_Part]:
    """Windows of a clip's own frames; their sound lasts as long as they are shown."""
    times, look, count = picture.frames(), _look(protocol), protocol.frames
    ends_s = np.append(times.starts_s[1:], times.end_s)
    usable = len(ends_s)
    if sound is not None and protocol.sound_s is None:
        usable = int(np.searchsorted(ends_s, sound.end_s() + _SLACK_S, side="right"))
    wanted = _starts(protocol, usable, clip)
    everything = picture.read(look, None) if len(wanted) > 1 else None
    for start in wanted:
        video = picture.read(look, None, start, count) if everything is None else everything[start : start + count]
        _require(protocol, len(video))
        begin_s = float(times.starts_s[start])
        fps = count / (float(ends_s[start + count - 1]) - begin_s) if times.is_vfr else times.fps
        audio = _listen(sound, protocol, begin_s, protocol.n_samples(fps))
        yield _Part(start, begin_s, fps, video, audio, _vfr_note(times))


def _spread(picture: Picture | None, sound: Sound | None, protocol: Protocol) -> _Part:
    """Frames spread evenly from the first to the last."""
    if picture is None:
        n_samples = protocol.n_samples() if protocol.fps or protocol.sound_s else None
        return _Part(0, 0.0, protocol.fps or 0.0, _no_video(protocol), _listen(sound, protocol, 0.0, n_samples))
    times = picture.frames()
    _require(protocol, len(times.starts_s))
    numbers = np.rint(np.linspace(0, len(times.starts_s) - 1, protocol.frames)).astype(int)
    video = picture.pick(_look(protocol), [int(k) for k in numbers])
    begin_s = float(times.starts_s[0])
    fps = protocol.frames / (times.end_s - begin_s)
    is_whole = protocol.fps is None
    audio = _listen(sound, protocol, begin_s, protocol.n_samples(fps), is_whole=is_whole)
    return _Part(0, begin_s, fps, video, audio)


def _whole(picture: Picture | None, sound: Sound | None, protocol: Protocol) -> _Part:
    """All frames, and their sound."""
    if picture is None:
        n_samples = None if protocol.sound_s is None else protocol.n_samples()
        return _Part(0, 0.0, protocol.fps or 0.0, _no_video(protocol), _listen(sound, protocol, 0.0, n_samples))
    video = picture.read(_look(protocol), protocol.fps)
    _require(protocol, len(video))
    begin_s, fps = 0.0, protocol.fps or 0.0
    notes: tuple[str, ...] = ()
    if not fps:
        times = picture.frames()
        begin_s, notes = float(times.starts_s[0]), _vfr_note(times)
        fps = len(video) / (times.end_s - begin_s) if times.is_vfr else times.fps
    n_samples = round((protocol.sound_s or len(video) / fps) * protocol.sample_rate_hz)
    return _Part(0, begin_s, fps, video, _listen(sound, protocol, begin_s, n_samples, is_whole=True), notes)


def _look(protocol: Protocol) -> Look:
    return Look(protocol.size, protocol.fit, protocol.resize)


def _ear(protocol: Protocol) -> Ear:
    return Ear(protocol.sample_rate_hz, protocol.channel)


def _no_video(protocol: Protocol) -> NDArray[np.uint8]:
    return np.zeros((0, protocol.size, protocol.size, 3), np.uint8)


def _no_audio() -> NDArray[np.float32]:
    return np.zeros((1, 0), np.float32)


def _vfr_note(times: Frames) -> tuple[str, ...]:
    return ("variable frame rate",) if times.is_vfr else ()


def _listen(
    sound: Sound | None, protocol: Protocol, start_s: float, n_samples: int | None, *, is_whole: bool = False
) -> NDArray[np.float32]:
    """The sound of one window; all there is for None. A window that is the whole file may have less of it."""
    if sound is None:
        return _no_audio()
    if n_samples is None or (protocol.sound_s is None and not is_whole):
        return sound.read(_ear(protocol), start_s, n_samples)
    return _as_much(sound, protocol, start_s, n_samples)


def _as_much(sound: Sound, protocol: Protocol, start_s: float, n_samples: int) -> NDArray[np.float32]:
    """``n_samples``, or all there are; with silence behind where the protocol asks for it."""
    try:
        return sound.read(_ear(protocol), start_s, n_samples)
    except MediaError:
        found = sound.read(_ear(protocol), start_s, None)[:, :n_samples]
    missing = n_samples - found.shape[1] if protocol.sound_s is not None else 0
    return np.pad(found, ((0, 0), (0, missing)))


def _grid_length(picture: Picture | None, sound: Sound | None, protocol: Protocol, fps: float) -> int:
    """Whole frames of a grid of ``fps`` that both picture and sound cover."""
    shown = None if picture is None else round(picture.frames().end_s * fps)
    if sound is None or (protocol.sound_s is not None and shown is not None):
        return shown or 0
    sound_s = sound.end_s()
    heard = int((sound_s + _SLACK_S) * fps)
    if heard < protocol.frames:
        raise _too_short(protocol, heard if shown is None else shown, sound_s)
    return heard if shown is None else min(shown, heard)


def _starts(protocol: Protocol, n_frames: int, clip: str) -> list[int]:
    found = starts(protocol, n_frames, clip)
    if not found:
        raise _too_short(protocol, n_frames)
    return found


def _require(protocol: Protocol, n_frames: int) -> None:
    if n_frames < protocol.frames:
        raise _too_short(protocol, n_frames)


def _too_short(protocol: Protocol, n_frames: int, sound_s: float | None = None) -> MediaError:
    length = f" of {protocol.seconds():g} s" if protocol.fps else ""
    rate = f" at {protocol.fps:g} fps" if protocol.fps else ""
    sound = f", sound of {sound_s:.3g} s" if sound_s is not None else ""
    return MediaError(
        f"shorter than one window{length} ({n_frames} frames{rate}{sound}; {protocol.frames} frames are needed)"
    )
