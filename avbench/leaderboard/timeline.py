"""Sound and picture of a clip on one time axis: onsets above, motion with its peaks below, matched ones joined.

The drawing stretches to the width of the page, so that it lies in register with the frames and the spectrogram over it:
x is time, and nothing but lines is drawn in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from avbench.leaderboard import figures
from avbench.metrics._peaks import Matches

MAX_POINTS = 800
"""Points of the motion curve; of a longer one the largest value of equal runs of frames is drawn."""

_ONSETS = (4, 30)
_PEAKS_FROM = 52
_CURVE = (58, 112)
HEIGHT = 116
"""Of the drawing, SVG units; it is 1000 wide."""


def timeline(found: Matches, motion_px: Sequence[float], fps: float, length_s: float, label: str) -> Markup:
    """One clip.

    Args:
        found: Its onsets, motion peaks, and which belong together.
        motion_px: Mean flow of each frame, pixels per frame.
        fps: Frames per second.
        length_s: Time at the right end.
        label: What a reader who cannot see it is told.
    """
    highest = max([*motion_px, 1.25 * found.floor_px, 1e-9])

    def x(time_s: float) -> str:
        return f"{1000 * time_s / length_s:.1f}"

    def y(motion: float) -> float:
        return _CURVE[1] - (_CURVE[1] - _CURVE[0]) * motion / highest

    def mark(kind: str, time_s: float, is_matched: bool, top: float, bottom: float) -> str:
        matched = " matched" if is_matched else ""
        return f'<path class="{kind}{matched}" d="M{x(time_s)} {top}V{bottom:.1f}"/>'

    def foot(time_s: float) -> float:
        return y(motion_px[min(round(time_s * fps), len(motion_px) - 1)])

    width = max(1, -(-len(motion_px) // MAX_POINTS))
    points = [
        f"{x((i + min(width, len(motion_px) - i) / 2 - 0.5) / fps)} {y(max(motion_px[i : i + width])):.1f}"
        for i in range(0, len(motion_px), width)
    ]
    grid = "".join(f'<path class="grid" d="M{x(t)} 0V{HEIGHT}"/>' for t, _ in ticks(length_s))
    grid += f'<path class="floor" d="M0 {y(found.floor_px):.1f}H1000"/>' if found.floor_px else ""
    curve = f'<path class="motion" d="M{"L".join(points)}"/>' if points else ""
    joins = "".join(f'<path class="pair" d="M{x(a)} {_ONSETS[1]}L{x(v)} {_PEAKS_FROM}"/>' for a, v in found.pairs)
    heard, seen = {a for a, _ in found.pairs}, {v for _, v in found.pairs}
    onsets = "".join(mark("onset", t, t in heard, *_ONSETS) for t in found.onsets_s)
    peaks = "".join(mark("peak", t, t in seen, _PEAKS_FROM, foot(t)) for t in found.motion_peaks_s)
    return Markup(
        '<svg class="timeline" viewBox="0 0 1000 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(HEIGHT, label, Markup(grid + curve + joins + onsets + peaks))


def ticks(length_s: float) -> list[tuple[float, str]]:
    """Times of the axis, seconds, and how they are written."""
    return [(t, f"{t:g}") for t in figures.ticks(0.0, length_s, is_log=False)]
