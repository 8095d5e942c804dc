"""Distributions as inline SVG: where bars and threshold lines stand is arithmetic here, colours are the page's.

A drawing stretches to the width of the page, so nothing but bars and lines is in it; its labels are text of the page,
placed in per cent of the same axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from avbench.inspection.reading import Bounds
from avbench.leaderboard import figures

MAX_BINS = 60
"""Bins of an axis, about."""
_WIDTH, _HEIGHT = 1000, 100
_LEAST_HEIGHT = 2.0
"""A bar of a few clips among thousands is still drawn this high."""


@dataclass(frozen=True)
class Axis:
    """A value axis in equal bins whose edges are round numbers.

    Attributes:
        low: Left edge.
        step: Width of a bin.
        bins: How many.
        symbol: What stands behind a value, see `shown`.
    """

    low: float
    step: float
    bins: int
    symbol: str = ""

    @property
    def high(self) -> float:
        """Right edge."""
        return self.edge(self.bins)

    def edge(self, number: int) -> float:
        """Left edge of a bin."""
        return round((round(self.low / self.step) + number) * self.step, 12)

    def place(self, value: float) -> float:
        """Where a value stands, per cent of the width; outside values stand at the edge."""
        return 100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def count(self, values: ArrayLike) -> NDArray[np.int64]:
        """Values in each bin, ``[left, right)``; those outside are counted in the first or the last bin."""
        # an edge such as 3 * 0.1 lies a rounding error beside the value that should begin the bin
        numbers = np.floor((np.asarray(values, np.float64) - self.low) / self.step + 1e-9)
        return np.bincount(np.clip(numbers, 0, self.bins - 1).astype(np.int64), minlength=self.bins)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low - 1e-9 * self.step <= value <= self.high + 1e-9 * self.step

    def beyond(self, values: ArrayLike) -> int:
        """How many values lie outside."""
        return sum(not self.holds(value) for value in np.asarray(values, np.float64).tolist())

    def ticks(self) -> list[tuple[float, str]]:
        """Place in per cent and label of the round numbers on the axis."""
        symbol = self.symbol if self.symbol == "%" else ""
        return [(self.place(t), shown(t, symbol)) for t in figures.ticks(self.low, self.high, is_log=False)]


def shown(value: float, symbol: str) -> str:
    """A value as a person writes it: ``-50 LUFS``, ``90%`` for 0.9."""
    if symbol == "%":
        return f"{100 * value:.4g}%"
    return f"{value:.4g} {symbol}".rstrip()


def axis(values: ArrayLike, bounds: Sequence[Bounds] = (), symbol: str = "") -> Axis:
    """The axis for ``values`` (at least one), with the bounds on it.

    What lies far away would squeeze all others into one bar. So a few values beyond four times the span of the middle
    98% are left outside, and so is a bound far beyond the values and the nearest bound.
    """
    given = np.asarray(values, np.float64)
    first, last = np.quantile(given, (0.01, 0.99))
    reach = 4 * (last - first) or math.inf
    low, high = max(float(given.min()), first - reach), min(float(given.max()), last + reach)
    marks = {bound: max(low - bound, bound - high, 0.0) for pair in bounds for bound in pair if bound is not None}
    nearest = min(marks.values(), default=0.0)
    near = [bound for bound, away in marks.items() if away <= max(nearest, 3 * max(high - low, nearest))]
    low, high = min([low, *near]), max([high, *near])
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):  # equal but for rounding
        room = max(abs(low) * 0.1, 1.0)
        low, high = low - room, high + room
    step = _round_up((high - low) / MAX_BINS)
    start = math.floor(low / step + 1e-9)
    return Axis(round(start * step, 12), step, math.floor(high / step + 1e-9) + 1 - start, symbol)


def _round_up(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    unit = 10.0 ** math.floor(math.log10(least))
    return float(next(m * unit for m in (1, 2, 5, 10) if m * unit >= least * (1 - 1e-9)))


@dataclass(frozen=True)
class Layer:
    """Clips of one kind in a stack, lowest first.

    Attributes:
        style: Class of its bars.
        label: What they are, in words.
        values: Their values.
    """

    style: str
    label: str
    values: Sequence[float]


def stacked(scale: Axis, layers: Sequence[Layer], bounds: Bounds, label: str) -> Markup:
    """Bars of clip counts, one layer on the other, with what is dropped shaded and a line at each bound.

    Args:
        scale: The axis.
        layers: From the bottom up.
        bounds: Lowest and highest value kept.
        label: What a reader who cannot see it is told.
    """
    counts = [scale.count(layer.values) for layer in layers]
    tallest = max(1, int(np.sum(counts, axis=0).max()))
    width = _WIDTH / scale.bins
    bars = []
    for number in range(scale.bins):
        top = float(_HEIGHT)
        held = [(layer, int(count[number])) for layer, count in zip(layers, counts, strict=True) if count[number]]
        told = ", ".join(f"{count} {layer.label}" for layer, count in held)
        title = Markup("<title>{} to {}: {}</title>").format(
            *(shown(scale.edge(number + k), scale.symbol) for k in (0, 1)), told
        )
        for layer, count in held:
            height = max(_LEAST_HEIGHT, _HEIGHT * count / tallest)
            top = max(0.0, top - height)
            shape = f'x="{number * width + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" height="{height:.1f}"'
            bars.append(Markup('<rect class="{}" {}>{}</rect>').format(layer.style, Markup(shape), title))
    return _svg(_lines(scale, bounds, ""), Markup("").join(bars), label)


def outlines(scale: Axis, series: Sequence[tuple[str, Sequence[float], Bounds]], label: str) -> Markup:
    """Distributions of several datasets over each other, each as its share of clips per bin.

    Args:
        scale: The axis.
        series: Class, values and bounds of each dataset.
        label: What a reader who cannot see it is told.
    """
    shares = [scale.count(values) / max(1, len(values)) for _, values, _ in series]
    tallest = max((float(share.max()) for share in shares), default=0.0) or 1.0
    width = _WIDTH / scale.bins
    paths = []
    for (style, _, _), share in zip(series, shares, strict=True):
        steps = [
            f"V{_HEIGHT * (1 - value / tallest):.1f}H{(number + 1) * width:.1f}" for number, value in enumerate(share)
        ]
        paths.append(
            Markup('<path class="outline {}" d="M0 {}{}V{}"/>').format(style, _HEIGHT, "".join(steps), _HEIGHT)
        )
    lines = Markup("").join(_lines(scale, bounds, style) for style, _, bounds in series)
    return _svg(lines, Markup("").join(paths), label)


def tallest_share(scale: Axis, series: Sequence[Sequence[float]]) -> float:
    """Height of `outlines`: the largest share of clips in one bin."""
    return max((float(scale.count(values).max()) / len(values) for values in series if len(values)), default=0.0)


def tallest_count(scale: Axis, values: Sequence[float]) -> int:
    """Height of `stacked`: the most clips in one bin."""
    return int(scale.count(values).max()) if len(values) else 0


def _lines(scale: Axis, bounds: Bounds, style: str) -> Markup:
    """Shade over what is dropped, and a line at each bound. ``style`` names a dataset where several are drawn."""
    low, high = (bound if bound is not None and scale.holds(bound) else None for bound in bounds)
    parts = []
    spans = [(0.0, 10 * scale.place(low))] if low is not None else []
    spans += [(10 * scale.place(high), float(_WIDTH))] if high is not None else []
    for left, right in spans if not style else []:
        shade = '<rect class="out" x="{:.1f}" y="0" width="{:.1f}" height="100"/>'
        parts.append(Markup(shade).format(left, right - left))
    for bound in (low, high):
        if bound is not None:
            parts.append(Markup('<path class="bound {}" d="M{:.1f} 0V100"/>').format(style, 10 * scale.place(bound)))
    return Markup("").join(parts)


def _svg(lines: Markup, bars: Markup, label: str) -> Markup:
    return Markup(
        '<svg class="hist" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, lines, bars)
