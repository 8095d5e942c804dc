"""Pictures of single windows for the report of a score: frames, spectrogram and events on one time axis.

Only the windows asked for are decoded. They are shown as the scorer saw them: at the protocol's rate and size.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from avbench import registry
from avbench.errors import UserError
from avbench.inputs import Item
from avbench.leaderboard.samples import spectrogram_png, strip_jpeg
from avbench.leaderboard.timeline import ticks, timeline
from avbench.metrics import _peaks
from avbench.metrics._base import ClipSignals
from avbench.protocol import Protocol

STRIP_ASPECT = 8
"""How many times wider than high a strip is, about."""

_DRAWN = ("av_align", "av_align_ms", "av_align_javis")
"""Metrics whose matching can be drawn; the first that the protocol has is."""


@dataclass(frozen=True)
class Picture:
    """A window to look at; empty texts stand for what it does not have.

    Attributes:
        strip: Frames side by side, evenly spread over the window, as a ``data:`` address.
        strip_alt: The same in words.
        strip_share: Per cent of the time axis that the frames cover.
        spectrogram: Picture of the sound, as a ``data:`` address.
        spectrogram_alt: The same in words.
        spectrogram_share: Per cent of the time axis that the sound covers.
        drawing: Onsets, motion and what is matched, SVG.
        ticks: Place on the time axis in per cent, and its label.
        legend: Counts in words.
        length_s: Length of the time axis, seconds.
        problem: Why it cannot be shown, or empty.
    """

    strip: str = ""
    strip_alt: str = ""
    strip_share: float = 100.0
    spectrogram: str = ""
    spectrogram_alt: str = ""
    spectrogram_share: float = 100.0
    drawing: Markup | str = ""
    ticks: tuple[tuple[float, str], ...] = ()
    legend: str = ""
    length_s: float = 0.0
    problem: str = ""


def pictures(wanted: Sequence[tuple[str, str]], items: Sequence[Item], protocol: Protocol) -> dict[str, Picture]:
    """Decode windows and draw them.

    Args:
        wanted: (item id, window id) of each window.
        items: What was scored.
        protocol: How it was scored.

    Returns:
        Window id to its pictures, or to the reason why there are none.
    """
    known = {item.item_id: item for item in items}
    found: dict[str, Picture] = {}
    for name in dict.fromkeys(item_id for item_id, _ in wanted):
        missing = {window_id for item_id, window_id in wanted if item_id == name}
        try:
            if name not in known:
                raise UserError(f"{name} is no longer there")
            for window in known[name].windows(protocol):
                if window.window_id in missing:
                    missing.remove(window.window_id)
                    found[window.window_id] = picture(window.window_id, window.signals, protocol)
                if not missing:
                    break
            problem = f"{name} has changed since it was scored: this window is no longer in it"
        except UserError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{name}: {error.strerror or error}"
        found |= {window_id: Picture(problem=problem) for window_id in missing}
    return found


def picture(name: str, clip: ClipSignals, protocol: Protocol) -> Picture:
    """Draw one window.

    Raises:
        UserError: Its sound holds NaN or infinity.
    """
    video_s, audio_s = len(clip.video) / clip.fps if clip.fps else 0.0, clip.audio.shape[-1] / clip.sample_rate_hz
    length_s = max(video_s, audio_s)
    shown: dict[str, Any] = {"length_s": length_s}
    shown["ticks"] = tuple((100 * t / length_s, label) for t, label in ticks(length_s))
    if len(clip.video):
        frames = _spread(clip.video)
        shown["strip"] = _address(strip_jpeg(clip.video[frames]), "jpeg")
        shown["strip_alt"] = f"{len(frames)} frames of {name}, evenly spread over {video_s:.3g} s"
        shown["strip_share"] = 100 * video_s / length_s
    if clip.audio.size:
        shown["spectrogram"] = _address(spectrogram_png(clip.audio, clip.sample_rate_hz), "png")
        shown["spectrogram_alt"] = f"Spectrogram of {name}, {audio_s:.3g} s"
        shown["spectrogram_share"] = 100 * audio_s / length_s
    if len(clip.video) and clip.audio.size:
        shown["drawing"], shown["legend"] = _events(clip, length_s, protocol)
    return Picture(**shown)


def _events(clip: ClipSignals, length_s: float, protocol: Protocol) -> tuple[Markup, str]:
    """The drawing of a window's events, and its counts in words."""
    metric = next((name for name in _DRAWN if name in protocol.metrics), _DRAWN[0])
    options: Mapping[str, Any] = protocol.estimators.get(metric, {})
    peaks = _peaks.evidence(clip)
    found = registry.module("metric", metric).matches(peaks, **options)
    counts = ((len(found.onsets_s), "onset"), (len(found.motion_peaks_s), "motion peak"), (len(found.pairs), "match"))
    words = [f"{n} {word}{'' if n == 1 else 'es' if word == 'match' else 's'}" for n, word in counts]
    highest = f"motion up to {max(peaks.motion_px):.2g} pixels per frame" if peaks.motion_px else "no motion"
    legend = f"{', '.join(words)}; {highest}"
    return timeline(found, peaks.motion_px, clip.fps, length_s, legend), legend


def _spread(video: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers of the frames in the middle of equal parts of the window."""
    aspect = video.shape[2] / video.shape[1]
    count = min(len(video), max(3, round(STRIP_ASPECT / aspect)))
    return ((np.arange(count) + 0.5) * len(video) / count).astype(np.int64)


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
