"""Fingerprints of a clip: what it looks and sounds like, in 3 kB, so that two uploads of one recording are recognised.

Picture: a 64-bit DCT hash four times a second, black bars taken off. Sound: the strongest peaks of the spectrogram,
paired into landmarks (Wang, "An industrial-strength audio search algorithm", ISMIR 2003). Both survive another codec,
size, volume and rate. Neither depends on where the cut begins: clips whose grids differ by any time still meet.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, ndimage, signal

from avbench.filters._signals import ClipSignals

HASHES_PER_S = 4
"""Pictures hashed per second: two clips cut at any times then hold pictures within an eighth of a second."""

RATE_HZ = 8000
FRAME = 1024
HOP = 256
"""Spectrogram of the sound, samples: a step is 32 ms, a bin 7.8 Hz."""

BINS = (20, 448)
"""Bins that hold peaks: 156 to 3500 Hz, which every codec and every source rate keeps."""

PEAKS_PER_S = 10
FAN = 5
"""Landmarks that begin at one peak."""

KEY_BITS = 22
"""A landmark is a number below ``2 ** KEY_BITS``: bin, step in bins and in time to the second peak."""

SECOND = RATE_HZ / HOP
"""Steps of the spectrogram in a second."""

_BAR_LUMA = 24  # as ffmpeg's cropdetect
_FLAT_LEVELS = 2.0  # a picture with less contrast is noise under a hash
_FREQUENCIES = sorted(range(64), key=lambda n: (n // 8 + n % 8, n))  # low ones first: those survive best


@dataclass(frozen=True)
class Prints:
    """Fingerprints of one clip.

    Attributes:
        hashes: uint64 (T,), `HASHES_PER_S` per second; 0 where the picture is flat and says nothing.
        peaks: uint32 (K,), ``step << 9 | bin`` of each peak of the sound, in order of time.
    """

    hashes: np.ndarray
    peaks: np.ndarray

    @classmethod
    def of(cls, clip: ClipSignals) -> Prints:
        """Fingerprints of a decoded clip."""
        return cls(picture_hashes(clip.luma, clip.fps), sound_peaks(clip.audio, clip.sample_rate_hz))

    @classmethod
    def from_text(cls, text: dict[str, str]) -> Prints:
        """Read what `to_text` wrote."""
        return cls(
            np.frombuffer(base64.b64decode(text["picture"]), "<u8"),
            np.frombuffer(base64.b64decode(text["sound"]), "<u4"),
        )

    def to_text(self) -> dict[str, str]:
        """Base64 of both arrays, little-endian."""
        pairs = (("picture", self.hashes, "<u8"), ("sound", self.peaks, "<u4"))
        return {name: base64.b64encode(values.astype(kind).tobytes()).decode() for name, values, kind in pairs}

    @property
    def seconds(self) -> int:
        """Length in whole seconds, at least 1."""
        return max(1, round(len(self.hashes) / HASHES_PER_S))

    @cached_property
    def landmarks(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys, sorted, and the step at which each begins."""
        keys, steps = landmarks(self.peaks)
        order = np.argsort(keys, kind="stable")
        return keys[order], steps[order]


def picture_hashes(luma: np.ndarray, fps: float) -> np.ndarray:
    """Hash of a picture `HASHES_PER_S` times a second.

    Args:
        luma: uint8 (T, h, w).
        fps: Rate of ``luma``.

    Returns:
        uint64 (T * HASHES_PER_S / fps,); the low frequencies stand in the high bits.
    """
    count = max(1, int(len(luma) / fps * HASHES_PER_S + 1e-6))
    times = np.minimum(np.rint(np.arange(count) * fps / HASHES_PER_S).astype(int), len(luma) - 1)
    small = _shrink(_without_bars(luma)[times], 32)
    waves = fft.dctn(small, axes=(1, 2))[:, :8, :8].reshape(count, 64)[:, _FREQUENCIES]
    # the mean brightness (the first value) would always be the largest: it has no say in the middle
    bits = waves > np.median(waves[:, 1:], axis=1, keepdims=True)
    hashes = np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)
    return np.where(small.std(axis=(1, 2)) < _FLAT_LEVELS, np.uint64(0), hashes)


def _without_bars(luma: np.ndarray) -> np.ndarray:
    """The picture inside black bars. Bars stand on both sides alike: a dark corner of the picture is none."""
    bright = luma.max(axis=0) > _BAR_LUMA
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not rows.size:
        return luma
    top = min(rows[0], bright.shape[0] - 1 - rows[-1])
    left = min(columns[0], bright.shape[1] - 1 - columns[-1])
    return luma[:, top : bright.shape[0] - top, left : bright.shape[1] - left]


def _shrink(luma: np.ndarray, size: int) -> np.ndarray:
    """float32 (T, size, size): each pixel the mean of the area it covers."""

    def areas(length: int) -> np.ndarray:
        edges, pixels = np.linspace(0, length, size + 1), np.arange(length)
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return (covered.clip(0) * size / length).astype(np.float32)

    return areas(luma.shape[1]) @ luma.astype(np.float32) @ areas(luma.shape[2]).T


def sound_peaks(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The peaks of the spectrogram that stand out most, at most `PEAKS_PER_S` in each second.

    Args:
        audio: float32 (C, L); may be empty.
        sample_rate_hz: Its rate.

    Returns:
        uint32 (K,), ``step << 9 | bin``, ascending.
    """
    if not audio.size or not sample_rate_hz:
        return np.zeros(0, np.uint32)
    common = np.gcd(RATE_HZ, sample_rate_hz)
    mono = signal.resample_poly(audio.mean(axis=0), RATE_HZ // common, sample_rate_hz // common).astype(np.float32)
    if len(mono) < FRAME:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP] * np.hanning(FRAME).astype(np.float32)
    power = np.abs(fft.rfft(frames, axis=1))[:, : BINS[1]]
    level = np.log(power + 1e-6)
    # what stands out from its own neighbourhood does so at any volume and behind any filter
    prominence = level - ndimage.uniform_filter(level, (31, 61), mode="nearest")
    peak = (ndimage.maximum_filter(level, (15, 21)) == level) & (power > 1e-3)
    peak[:, : BINS[0]] = False
    step, place = np.nonzero(peak)
    second = (step / SECOND).astype(int)
    order = np.lexsort((place, step, -prominence[step, place], second))
    first = np.searchsorted(second[order], second[order])
    chosen = order[np.arange(len(order)) - first < PEAKS_PER_S]
    return np.sort((step[chosen] << 9 | place[chosen]).astype(np.uint32))


def landmarks(peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of peaks near each other: each with the next `FAN` peaks within two seconds and 63 bins.

    Args:
        peaks: See `Prints`.

    Returns:
        uint32 (N,) keys below ``2 ** KEY_BITS`` and int32 (N,) steps at which they begin.
    """
    step, place = (peaks >> 9).astype(np.int32), (peaks & 511).astype(np.int32)
    used = np.zeros(len(peaks), np.int32)
    keys, steps = [np.zeros(0, np.uint32)], [np.zeros(0, np.int32)]
    for ahead in range(1, 25):
        if ahead >= len(peaks):
            break
        later, higher = step[ahead:] - step[:-ahead], place[ahead:] - place[:-ahead]
        at = np.flatnonzero((later >= 2) & (later < 64) & (abs(higher) < 64) & (used[:-ahead] < FAN))
        used[at] += 1
        keys.append((place[at] << 13 | (higher[at] + 64) << 6 | later[at]).astype(np.uint32))
        steps.append(step[at])
    return np.concatenate(keys), np.concatenate(steps)


@dataclass(frozen=True)
class Likeness:
    """How much of one clip is found again in another. Shares are of the first clip's seconds, 0 to 1.

    Attributes:
        both: Picture and sound at one and the same shift: the smaller share of the two.
        sound: Sound at its best shift.
        picture: Picture at its best shift.
        views: Pictures among those found again that differ from each other. A still picture is 1.
        shift_s: Time in the other clip minus time in this one: of ``both`` where that is not 0, else of the larger of
            the two others.
    """

    both: float
    sound: float
    picture: float
    views: int
    shift_s: float


def likeness(clip: Prints, other: Prints, max_bits: int) -> Likeness:
    """Compare two clips.

    Args:
        clip: Shares are of this one.
        other: Where it is looked for.
        max_bits: Pictures whose hashes differ in at most so many bits are alike.
    """
    same = _same_pictures(clip, other, max_bits)
    sounds = _sound_shifts(clip, other)
    near = _widen(same, 1)
    pictures = _on_diagonals(near)
    zero = HASHES_PER_S * (len(same) - 1)
    shift = int(np.argmax(pictures)) - zero
    picture, picture_s = float(pictures.max()) / clip.seconds, shift / HASHES_PER_S
    rows, columns = np.nonzero(near)
    views = _views(clip.hashes[::HASHES_PER_S][rows[columns - HASHES_PER_S * rows == shift]], max_bits)
    # the sound tells the shift, half a second is allowed for a picture that was laid under it anew
    wide = _on_diagonals(_widen(same, HASHES_PER_S // 2))
    both, both_s = 0.0, 0.0
    for sound, sound_s in sounds:
        place = round(sound_s * HASHES_PER_S) + zero
        found = min(sound, float(wide[place]) / clip.seconds) if 0 <= place < len(wide) else 0.0
        if found > both:
            both, both_s = found, sound_s
    sound, sound_s = max(sounds, default=(0.0, 0.0))
    return Likeness(both, sound, picture, views, both_s if both else sound_s if sound >= picture else picture_s)


def _same_pictures(clip: Prints, other: Prints, max_bits: int) -> np.ndarray:
    """bool (seconds of ``clip``, hashes of ``other``)."""
    mine, theirs = clip.hashes[::HASHES_PER_S, None], other.hashes[None]
    return (np.bitwise_count(mine ^ theirs) <= max_bits) & (mine != 0) & (theirs != 0)


def _widen(same: np.ndarray, reach: int) -> np.ndarray:
    """Count a picture as found also where it is up to ``reach`` hashes earlier or later."""
    return ndimage.maximum_filter1d(same.astype(np.uint8), 2 * reach + 1, axis=1, mode="constant").astype(bool)


def _on_diagonals(same: np.ndarray) -> np.ndarray:
    """Pictures found at each shift, in hashes, the first being ``-HASHES_PER_S * (seconds - 1)``."""
    rows, columns = np.nonzero(same)
    shifts = columns + HASHES_PER_S * (len(same) - 1 - rows)
    return np.bincount(shifts, minlength=same.shape[1] + HASHES_PER_S * (len(same) - 1))


def _views(hashes: np.ndarray, max_bits: int) -> int:
    """How many of these pictures differ from all before them."""
    seen: list[np.uint64] = []
    for value in hashes:
        if not seen or np.bitwise_count(np.array(seen) ^ value).min() > max_bits:
            seen.append(value)
    return len(seen)


def _sound_shifts(clip: Prints, other: Prints) -> list[tuple[float, float]]:
    """The shifts, in seconds, at which most landmarks agree, after the share of seconds with at least two of them.

    Music repeats itself, so there can be several; the five best are told.
    """
    mine, theirs = clip.landmarks, other.landmarks
    at, where = expand(*(np.searchsorted(theirs[0], mine[0], side) for side in ("left", "right")))
    if not len(at):
        return []
    shifts = theirs[1][where] - mine[1][at]
    counts = np.convolve(np.bincount(shifts - shifts.min()), (1, 1, 1), "same")
    found = []
    for _ in range(5):
        best = int(np.argmax(counts))
        if counts[best] < 4:
            break
        shift = best + int(shifts.min())
        steps = mine[1][at[abs(shifts - shift) <= 1]]
        full = np.bincount((steps / SECOND).astype(int)) >= 2
        found.append((min(1.0, float(full.sum()) / clip.seconds), shift / SECOND))
        counts[max(0, best - 2) : best + 3] = 0
    return found


def expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every member of the ranges ``[first, last)``: the number of its range, and itself."""
    sizes = last - first
    owner = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.cumsum(sizes) - sizes
    return owner, np.arange(len(owner)) - begins[owner] + first[owner]
