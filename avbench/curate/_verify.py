"""A clip is read back and compared with its recipe and with its source before it counts.

Counts, sizes and time stamps come from one decode of the clip. The content check reads the source a second time, apart
from the code that cut it: its picture at the start of the clip, the pictures beside that one, one picture further in,
and its sound over the whole clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.curate import _lag
from avbench.errors import MediaError
from avbench.media import ReadBack
from avbench.recipe import SegmentRecipe

EXACT = "exact"
NO_SOUND_COMPARED = "exact, sound not compared"

_MAX_OFFSET_S = 0.001
_NEIGHBOUR_DB = 1.0
"""The first picture is coded by itself: one of another moment is nearer to it by chance only, by less than this."""

_SAME_DB = 60.0
"""Pictures that agree better than this differ by the rounding of colours alone, as in a still."""

_MIN_MATCH = 0.5
_BEST_PSNR_DB = 99.0


@dataclass(frozen=True)
class Check:
    """What reading a clip back found; see the attributes of the same names of `avbench.schema.Clip`."""

    verdict: str
    lag_s: float | None
    picture_psnr_db: float
    av_offset_s: float
    raw_av_offset_s: float


def floor_db(crf: int) -> float:
    """Least agreement of brightness between a picture and its source, dB.

    Real recordings measured 37.5 dB and more at 640 x 360 and crf 20, 27.9 dB and more at 160 x 120, and 14.3 dB and
    more at crf 51. Pictures of different recordings measured 7 dB in the median and 15 dB in 19 of 20 cases. A moment
    nearby is told by the pictures beside it, which this floor cannot do.

    Args:
        crf: Quality of the encoder.
    """
    return 20.0 - 0.5 * max(0, crf - 23)


def verify(
    clip: Path,
    recipe: SegmentRecipe,
    source: Path,
    start_s: float,
    frame_starts_s: NDArray[np.float64],
    *,
    name: str = "",
) -> Check:
    """Compare a clip with the recipe, to the frame and to the sample, and with the source it was cut from.

    Args:
        clip: The finished clip.
        recipe: What it should be.
        source: What it was cut from.
        start_s: Time of its first frame in the source, seconds.
        frame_starts_s: Times of the pictures of the source, rising.
        name: What messages call the clip; empty means its file name.

    Returns:
        What was measured.

    Raises:
        MediaError: It is not exactly what the recipe asks for, or not what the source shows and plays there; the
            message gives the numbers.
    """
    name = name or clip.name
    inner = _frame_between(source, recipe, start_s, frame_starts_s)
    found = media.read_back(clip, {0} if inner is None else {0, inner[0]})
    check_form(found, recipe, name)
    first_db = _check_first_picture(found.pictures[0], name, recipe, source, start_s, frame_starts_s)
    if inner is not None:
        _check_inner_picture(found.pictures[inner[0]], name, recipe, source, start_s, inner)
    lag_s = _check_sound(found, name, recipe, source, start_s)
    verdict = NO_SOUND_COMPARED if lag_s is None else EXACT
    # rounded: the last digits of a Fourier transform differ from machine to machine, the files should not
    told_s = None if lag_s is None else round(lag_s, 7)
    return Check(verdict, told_s, round(first_db, 2), round(found.av_offset_s, 7), round(found.raw_av_offset_s, 7))


def check_form(found: ReadBack, recipe: SegmentRecipe, name: str) -> None:
    """Counts, sizes and time stamps.

    Raises:
        MediaError: One differs; the message gives both numbers.
    """
    n_frames, n_samples = round(recipe.clip_s * recipe.fps), round(recipe.clip_s * recipe.sample_rate_hz)
    numbers: dict[str, tuple[object, object]] = {
        "frames": (len(found.frame_starts_s), n_frames),
        "size": (found.size, (recipe.width, recipe.height)),
        "sample rate": (found.sample_rate_hz, recipe.sample_rate_hz),
        "channels": (len(found.sound), recipe.channels),
    }
    for what, (have, want) in numbers.items():
        if have != want:
            raise MediaError(f"{name}: reads back with {what} {have} instead of {want}")
    samples = found.sound.shape[1]
    if samples < n_samples or (recipe.audio_codec == "flac" and samples != n_samples):
        raise MediaError(f"{name}: reads back with {samples} samples instead of {n_samples}")
    steps = np.diff(found.frame_starts_s)
    if len(steps) and np.abs(steps - 1 / recipe.fps).max() > _MAX_OFFSET_S:
        raise MediaError(
            f"{name}: reads back with frames {steps.min():.4f} to {steps.max():.4f} s apart instead of "
            f"{1 / recipe.fps:.4f} s"
        )
    if abs(found.av_offset_s) >= _MAX_OFFSET_S:
        raise MediaError(f"{name}: reads back with picture and sound starting {abs(found.av_offset_s):.4f} s apart")


def psnr_db(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of the brightness of two pictures, dB, at most 99.

    Args:
        one: uint8 (H, W, 3) RGB.
        other: The same.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    error = (one.astype(np.float32) - other.astype(np.float32)) @ weights
    mean_square = float(np.mean(np.square(error)))
    return min(_BEST_PSNR_DB, 10 * float(np.log10(255.0**2 / mean_square))) if mean_square else _BEST_PSNR_DB


def _check_first_picture(
    picture: NDArray[np.uint8],
    name: str,
    recipe: SegmentRecipe,
    source: Path,
    start_s: float,
    frame_starts_s: NDArray[np.float64],
) -> float:
    """PSNR of the first picture; a quick second reading that disagrees is followed by a thorough one."""
    size = (recipe.width, recipe.height)
    try:
        values = {key: psnr_db(picture, seen) for key, seen in media.pictures_around(source, start_s, size).items()}
        complaint = _complaint(values, recipe)
    except MediaError as error:
        complaint = str(error)
    if complaint:
        at = int(np.argmin(np.abs(frame_starts_s - start_s)))
        low, high = max(0, at - 1), min(len(frame_starts_s), at + 2)
        seen = media.decode_video(source, start_s=float(frame_starts_s[low]), n_frames=high - low, size=size)
        values = {low + k - at: psnr_db(picture, image) for k, image in enumerate(seen)}
        complaint = _complaint(values, recipe)
    if complaint:
        raise MediaError(f"{name}: its first picture is not the source's at {start_s:.3f} s: {complaint}")
    return values[0]


def _complaint(values: dict[int, float], recipe: SegmentRecipe) -> str:
    floor = floor_db(recipe.crf)
    if values[0] < floor:
        return f"{values[0]:.1f} dB, at least {floor:.1f} dB needed"
    for key, side in ((-1, "before"), (1, "after")):
        if min(values.get(key, 0.0), _SAME_DB) > values[0] + _NEIGHBOUR_DB:
            return f"{values[0]:.1f} dB, the picture {side} it agrees better ({values[key]:.1f} dB)"
    return ""


def _frame_between(
    source: Path, recipe: SegmentRecipe, start_s: float, frame_starts_s: NDArray[np.float64]
) -> tuple[int, float, NDArray[np.uint8]] | None:
    """A frame well inside the clip and the picture it should show: number, time in the source, picture.

    A key frame of the source is taken where one is shown in the later part of the clip, as it is decoded alone.
    """
    end_s = start_s + recipe.clip_s
    size = (recipe.width, recipe.height)

    def number_of(at_s: float) -> int | None:
        """Number of the first clip frame that must show the source frame at ``at_s``, if that is beyond doubt."""
        at = int(np.argmin(np.abs(frame_starts_s - at_s)))
        if abs(frame_starts_s[at] - at_s) > _MAX_OFFSET_S / 2 or not 0 < at < len(frame_starts_s) - 1:
            return None
        begin, end = (
            max(frame_starts_s[k] - 0.5 / recipe.fps, (frame_starts_s[k] + frame_starts_s[k - 1]) / 2) - start_s
            for k in (at, at + 1)
        )
        number = int(np.floor(begin * recipe.fps)) + 1
        doubt = 1e-4 * recipe.fps
        beyond = number - begin * recipe.fps > doubt and end * recipe.fps - number > doubt
        return number if beyond and 0 < number < round(recipe.clip_s * recipe.fps) else None

    seen = media.key_picture(source, start_s + recipe.clip_s / 2, end_s, lambda at_s: number_of(at_s) is not None, size)
    if seen is not None:
        number = number_of(seen[0])
        assert number is not None
        return number, *seen
    middle = int(np.searchsorted(frame_starts_s, start_s + recipe.clip_s / 2))
    for at_s in frame_starts_s[middle : middle + 60]:
        number = number_of(float(at_s))
        if number is not None and at_s < end_s:
            try:
                return number, float(at_s), media.pictures_around(source, float(at_s), size)[0]
            except MediaError:
                continue
    return None


def _check_inner_picture(
    picture: NDArray[np.uint8],
    name: str,
    recipe: SegmentRecipe,
    source: Path,
    start_s: float,
    inner: tuple[int, float, NDArray[np.uint8]],
) -> None:
    number, at_s, seen = inner
    floor, value = floor_db(recipe.crf), psnr_db(picture, seen)
    if value < floor:
        size = (recipe.width, recipe.height)
        value = psnr_db(picture, media.decode_video(source, start_s=at_s, n_frames=1, size=size)[0])
    if value < floor:
        raise MediaError(
            f"{name}: its picture {number} is not the source's at {at_s:.3f} s: {value:.1f} dB, at least "
            f"{floor:.1f} dB needed"
        )


def _check_sound(found: ReadBack, name: str, recipe: SegmentRecipe, source: Path, start_s: float) -> float | None:
    """The lag that is furthest from zero among the channels; None where none of them can be compared."""
    n_samples = round(recipe.clip_s * recipe.sample_rate_hz)
    heard = media.source_sound(source, start_s - _lag.SEARCH_S, recipe.clip_s + 2 * _lag.SEARCH_S)
    if recipe.channels == 1:
        pairs = [(found.sound[0], heard.channels.mean(axis=0))]
    else:
        pairs = list(zip(found.sound, np.broadcast_to(heard.channels, (2, heard.channels.shape[1])), strict=True))
    lags: list[float] = []
    for clip_sound, source_sound in pairs:
        lag = _lag.measure(
            clip_sound[:n_samples],
            recipe.sample_rate_hz,
            np.ascontiguousarray(source_sound),
            heard.sample_rate_hz,
            heard.start_s - start_s,
        )
        if lag.one_sided:
            raise MediaError(
                f"{name}: its sound is not the source's at {start_s:.3f} s: loudest part "
                f"{_dbfs(lag.clip_rms)} in the clip, {_dbfs(lag.source_rms)} in the source"
            )
        if lag.silent:
            continue
        if lag.match < _MIN_MATCH:
            raise MediaError(
                f"{name}: its sound is not the source's at {start_s:.3f} s: correlation {lag.match:.2f} at best, at "
                f"least {_MIN_MATCH:g} needed"
            )
        if lag.lag_s is None:
            continue
        if abs(lag.lag_s) >= 0.5 / recipe.fps:
            raise MediaError(
                f"{name}: its sound is {lag.lag_s * 1000:+.2f} ms late against the source at {start_s:.3f} s, "
                f"less than half a frame ({500 / recipe.fps:.2f} ms) is needed"
            )
        lags.append(lag.lag_s)
    return max(lags, key=abs, default=None)


def _dbfs(rms: float) -> str:
    return f"{20 * np.log10(max(rms, 1e-6)):.0f} dBFS"
