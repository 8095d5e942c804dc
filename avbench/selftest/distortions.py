"""Nine ways to spoil a clip, ten strengths each; strength 0 leaves it as it is.

They follow the distortions with which PEAVS (arXiv 2404.07336) asked people what they notice. A
distortion takes an excerpt that reaches further than the window to be scored, so that a shifted or faster stream goes
on with what really follows: nothing is looped or padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.features._clips import to_rate
from avbench.metrics._base import ClipSignals

LATEST_S = 2.0
"""Largest offset of the sound, seconds."""

FASTEST = 1.0
"""Largest gain in speed: 1 is twice as fast."""

_TENTHS = tuple(k / 10 for k in range(1, 11))


@dataclass(frozen=True)
class Excerpt:
    """A window and what follows it.

    Attributes:
        signals: Picture and sound from the beginning of the window on, at least `seconds_needed` long;
            one may be empty.
        frames: Frames of the window.
    """

    signals: ClipSignals
    frames: int

    @property
    def samples(self) -> int:
        """Samples of the window."""
        return round(self.frames / self.signals.fps * self.signals.sample_rate_hz)

    def window(self, video: NDArray[np.uint8] | None = None, audio: NDArray[np.float32] | None = None) -> ClipSignals:
        """The window, with another picture or another sound where given; both begin at the window's beginning."""
        whole = self.signals
        video = whole.video if video is None else video
        audio = whole.audio if audio is None else audio
        return ClipSignals(video[: self.frames], whole.fps, audio[:, : self.samples], whole.sample_rate_hz)


@dataclass(frozen=True)
class Distortion:
    """One way to spoil a clip.

    Attributes:
        name: What it is called in tables.
        unit: What the strength counts.
        strengths: Ten, rising; 0 is the clip as it is.
        acts_on: ``video``, ``audio`` or both.
        is_shift: It only moves a stream in time: a set of such streams is as it was.
        apply: The distorted window, of the window's shape. The generator is seeded by the window alone: a stronger
            distortion is more of the same.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    acts_on: frozenset[str]
    apply: Callable[[Excerpt, float, np.random.Generator], ClipSignals]
    is_shift: bool = False


def seconds_needed(window_s: float) -> float:
    """Length of an excerpt for a window of ``window_s``."""
    return window_s + max(LATEST_S, FASTEST * window_s)


def noise(excerpt: Excerpt, sd: float, rng: np.random.Generator) -> ClipSignals:
    """Gaussian noise of ``sd`` grey levels on every pixel, colour and frame, clipped to 0..255."""
    video = excerpt.window().video
    grain = rng.standard_normal(video.shape, dtype=np.float32)
    return excerpt.window(video=np.clip(np.rint(video + sd * grain), 0, 255).astype(np.uint8))


def blur(excerpt: Excerpt, percent: float, _: np.random.Generator) -> ClipSignals:
    """Gaussian blur of each frame; its standard deviation is ``percent`` of the picture's height."""
    video = excerpt.window().video
    sigma = percent / 100 * video.shape[1]
    if sigma == 0:
        return excerpt.window()
    frames = [cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for frame in video]
    return excerpt.window(video=np.stack(frames).astype(np.uint8))


def freeze(excerpt: Excerpt, share: float, _: np.random.Generator) -> ClipSignals:
    """The last ``share`` of the frames show the frame before them; at 1 the whole window shows its first frame."""
    video = excerpt.window().video.copy()
    first = len(video) - round(share * len(video))
    video[first:] = video[max(first - 1, 0)]
    return excerpt.window(video=video)


def shuffle(excerpt: Excerpt, share: float, rng: np.random.Generator) -> ClipSignals:
    """``share`` of the frames, drawn at random, change places: each takes the place of another of them."""
    video = excerpt.window().video.copy()
    moved = rng.permutation(len(video))[: round(share * len(video))]
    video[moved] = video[np.roll(moved, 1)]
    return excerpt.window(video=video)


def mute(excerpt: Excerpt, share: float, rng: np.random.Generator) -> ClipSignals:
    """Digital silence over ``share`` of the window, in one piece at a random place."""
    audio = excerpt.window().audio.copy()
    length = round(share * audio.shape[1])
    start = round(rng.random() * (audio.shape[1] - length))
    audio[:, start : start + length] = 0
    return excerpt.window(audio=audio)


def hiss(excerpt: Excerpt, rms: float, rng: np.random.Generator) -> ClipSignals:
    """White noise of ``rms`` (full scale is 1) on the sound, clipped to [-1, 1]."""
    audio = excerpt.window().audio
    grain = rng.standard_normal(audio.shape, dtype=np.float32)
    return excerpt.window(audio=np.clip(audio + np.float32(rms) * grain, -1, 1))


def offset(excerpt: Excerpt, seconds: float, _: np.random.Generator) -> ClipSignals:
    """The sound comes ``seconds`` too early; it goes on with what follows in the recording."""
    early = round(seconds * excerpt.signals.sample_rate_hz)
    return excerpt.window(audio=excerpt.signals.audio[:, early:])


def faster_picture(excerpt: Excerpt, gain: float, _: np.random.Generator) -> ClipSignals:
    """The picture runs ``1 + gain`` times as fast, the sound as ever: they drift apart."""
    return excerpt.window(video=_faster_video(excerpt, gain))


def faster(excerpt: Excerpt, gain: float, _: np.random.Generator) -> ClipSignals:
    """Picture and sound run ``1 + gain`` times as fast and stay together; the pitch rises, as on a tape."""
    speed = _speed(gain)
    source = excerpt.signals.audio[:, : -(-excerpt.samples * speed.numerator // speed.denominator)]
    audio = np.clip(to_rate(source, speed.numerator, speed.denominator), -1, 1) if source.size else source
    return excerpt.window(video=_faster_video(excerpt, gain), audio=audio)


def _faster_video(excerpt: Excerpt, gain: float) -> NDArray[np.uint8]:
    """Each frame is the one that is on screen at its time of the faster film."""
    if not len(excerpt.signals.video):
        return excerpt.signals.video
    speed = _speed(gain)
    shown = [k * speed.numerator // speed.denominator for k in range(excerpt.frames)]
    return excerpt.signals.video[shown]


def _speed(gain: float) -> Fraction:
    return 1 + Fraction(gain).limit_denominator(100)


_VIDEO, _AUDIO = frozenset({"video"}), frozenset({"audio"})

DISTORTIONS: tuple[Distortion, ...] = (
    Distortion("noise", "grey levels", (1, 2, 4, 8, 12, 16, 24, 32, 48, 64), _VIDEO, noise),
    Distortion("blur", "% of the height", (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12), _VIDEO, blur),
    Distortion("freeze", "share of frames", _TENTHS, _VIDEO, freeze),
    Distortion("shuffle", "share of frames", _TENTHS, _VIDEO, shuffle),
    Distortion("mute", "share of the sound", _TENTHS, _AUDIO, mute),
    Distortion("hiss", "rms", (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256), _AUDIO, hiss),
    Distortion("offset", "s", (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 1.6, LATEST_S), _AUDIO, offset, is_shift=True),
    Distortion("faster-picture", "gain in speed", _TENTHS, _VIDEO, faster_picture),
    Distortion("faster", "gain in speed", _TENTHS, _VIDEO | _AUDIO, faster),
)
