"""The losses of a run as one picture: per modality, and per quarter of the noise schedule, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avbench.training.log import MODALITIES, QUARTERS, loss_name
from avbench.workspace import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "curves.png"
_POINTS = 2000
"""Raw points drawn per curve; of a longer run they are evenly taken."""
_SMOOTHING = 0.02
"""Share of the points over which a curve is averaged, as the centre of mass of an exponential mean."""
_COLOURS = {"video": "#0b5f8a", "audio": "#a0561c"}
_STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "axes.titlesize": 10}


def draw(rows: Sequence[dict[str, float]], path: Path) -> bool:
    """Draw the log of a run; equal rows give equal bytes.

    Args:
        rows: Rows of ``log.jsonl``.
        path: PNG to write.

    Returns:
        Whether there was anything to draw: a loss above zero.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Labels where the axis has room for them, as plain numbers: 0.99 and not 1e+00."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    table = pd.DataFrame(list(rows))
    shown = [name for name in MODALITIES if len(series(table, loss_name(name))[0])]
    if not shown:
        return False
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4 * (1 + len(shown)), 3.4), dpi=110, layout="constrained")
        first, *others = figure.subplots(1, 1 + len(shown), sharex=True, squeeze=False)[0]
        first.set_title("per modality")
        for name in shown:
            _curve(first, *series(table, loss_name(name)), _COLOURS[name], name)
        for axes, name in zip(others, shown, strict=True):
            axes.set_title(f"{name}, per quarter of the noise schedule")
            for quarter, colour in enumerate(matplotlib.colormaps["viridis"](np.linspace(0, 0.85, QUARTERS)), 1):
                label = (
                    f"{quarter}{' (least noise)' if quarter == 1 else ' (most noise)' if quarter == QUARTERS else ''}"
                )
                _curve(axes, *series(table, loss_name(name, quarter)), colour, label)
        for axes in (first, *others):
            axes.set(xscale="log", yscale="log", xlabel="optimizer step")
            axes.grid(True, which="both", alpha=0.25, linewidth=0.5)
            for axis in (axes.xaxis, axes.yaxis):  # plain numbers, and fewer where there are decades
                axis.set_minor_formatter(Plain(minor_thresholds=(1, 0.4)))
                axis.set_major_formatter(Plain())
            if axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, fontsize=8)
        first.set_ylabel("mean squared error of the noise")
        with publish(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
    return True


def series(table: pd.DataFrame, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and losses of one curve: the rows that have it, with a loss that a logarithmic axis can show."""
    if name not in table:
        return np.empty(0), np.empty(0)
    steps, losses = table["step"].to_numpy(np.float64), table[name].to_numpy(np.float64)
    usable = np.isfinite(losses) & (losses > 0)
    return steps[usable], losses[usable]


def smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential mean over about a fiftieth of the run, without pull towards the first value."""
    return pd.Series(losses).ewm(com=max(1.0, _SMOOTHING * len(losses))).mean().to_numpy()


def _curve(axes: Axes, steps: NDArray[np.float64], losses: NDArray[np.float64], colour: object, label: str) -> None:
    """A curve: raw points faint, the smoothed line on top."""
    if not len(steps):
        return
    every = -(-len(steps) // _POINTS)
    axes.plot(steps[::every], losses[::every], ".", markersize=4, alpha=0.3, color=colour, markeredgewidth=0)
    axes.plot(steps[::every], smoothed(losses)[::every], linewidth=1.6, color=colour, label=label)
