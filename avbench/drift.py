"""How each metric changes along long clips: one picture and its rows, beside the clips.

A long clip is made window after window, each from the end of the one before, so that errors may add up. Here clips are
cut into windows of the protocol, and the windows of one stretch of time are scored together, for all clips. A metric
that gets worse from left to right drifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from avbench import context, parallel, protocol as protocols, registry, workspace
from avbench.baselines._base import samples_folder
from avbench.cache import FeatureCache
from avbench.dataset import find_dataset
from avbench.errors import UserError
from avbench.leaderboard.tables import metric as facts_of
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.runs import Run
from avbench.scoring import Scorer
from avbench.sides import Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "drift.png"
ROWS_NAME = "drift.csv"
STRETCHES = 10
"""Most stretches that a clip is divided into."""
_ALL = 1 << 30
_COLOUR = "#0b5f8a"


@dataclass(frozen=True)
class Point:
    """One metric in one stretch of the clips.

    Attributes:
        metric: Name in the metric registry.
        start_s: Where the stretch begins, seconds.
        end_s: Where it ends.
        value: The score of its windows.
        interval: 95% interval, or None where too few clips tell none.
        n: Windows.
    """

    metric: str
    start_s: float
    end_s: float
    value: float
    interval: tuple[float, float] | None
    n: int


def write_drift(
    folder: Path,
    reference: Path,
    protocol: Protocol,
    *,
    workers: int = 1,
    device: str = "cpu",
    cache: FeatureCache | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Score the clips of a folder stretch by stretch; write ``drift.png`` and ``drift.csv`` there.

    Args:
        folder: Long clips of equal length.
        reference: Dataset or folder of real clips.
        protocol: Metrics, and windows, which are taken one behind the other.
        workers: Processes.
        device: Where feature networks run.
        cache: Feature cache.
        reporter: Progress.

    Raises:
        UserError: No clips, none as long as two windows, or a protocol whose windows have no length in time.
    """
    if protocol.fps is None:
        raise UserError(f"protocol {protocol.name} counts a clip's own frames; a drift needs one with a frame rate")
    tiled = protocol.model_copy(update={"windows": "tile", "n": _ALL})
    made, _ = Scorer(tiled, workers, device, cache, reporter).generated(folder, "stretches")
    scorer = Scorer(protocol, workers, device, cache, reporter)
    real, _, _ = scorer.reference(reference)
    found = points(made, real, protocol)
    if len({point.start_s for point in found}) < 2:
        raise UserError(
            f"{folder}: its clips are shorter than two windows of {protocol.name}; they cannot show a drift"
        )
    for reason in scorer.missing.values():
        reporter.note(f"drift      left out: {reason}")
    with workspace.publish(folder / ROWS_NAME) as temporary:
        pd.DataFrame([_row(point) for point in found]).to_csv(temporary, index=False)
    _draw(found, folder / NAME)
    return folder / NAME


def points(made: Side, real: Side, protocol: Protocol) -> list[Point]:
    """Every metric in every stretch.

    Args:
        made: Windows of long clips, one behind the other.
        real: The reference side.
        protocol: Its metrics.
    """
    starts = np.array(made.start_s)
    every = np.unique(starts.round(6))
    found = []
    for part in np.array_split(every, min(STRETCHES, len(every))):
        inside = np.flatnonzero((starts >= part[0] - 1e-6) & (starts <= part[-1] + 1e-6))
        side, end_s = made.take(inside), float(part[-1]) + protocol.seconds()
        for name in protocol.metrics:
            measured = _measured(name, side, real, protocol)
            if measured is not None:
                found.append(Point(name, float(part[0]), end_s, *measured, n=len(inside)))
    return found


def _measured(name: str, made: Side, real: Side, protocol: Protocol) -> tuple[float, tuple[float, float] | None] | None:
    """Value and interval, or None where the metric cannot be computed."""
    module = registry.module("metric", name)
    options: dict[str, Any] = protocol.estimators.get(name, {})
    if module.KIND == "per_clip":
        values = np.array([module.pair(one, one, **options) for one in made.evidence[name]], dtype=np.float64)
        defined = np.isfinite(values)
        if not defined.any():
            return None
        groups = [group for group, use in zip(made.clusters, defined, strict=True) if use]
        return float(values[defined].mean()), context.of_mean(values[defined], groups, seed=protocol.seed)[0]
    if module.KIND != "distance":
        return None
    x, y = made.rows(module.FEATURE), real.rows(module.FEATURE)
    if min(len(x[0]), len(y[0])) < 2:
        return None

    def compute(a: np.ndarray, b: np.ndarray) -> float:
        return float(module.compute(a, b, **options))

    draws = min(protocol.interval_draws, getattr(module, "INTERVAL_DRAWS", protocol.interval_draws))
    return compute(x[0], y[0]), context.of_distance(compute, x, y, seed=protocol.seed, draws=draws)[0]


def _row(point: Point) -> dict[str, object]:
    low, high = point.interval or (None, None)
    return {
        "metric": point.metric, "start_s": point.start_s, "end_s": point.end_s, "value": point.value, "low": low,
        "high": high, "windows": point.n,
    }  # fmt: skip


def _draw(found: Sequence[Point], path: Path) -> None:
    """One panel per metric: the value of each stretch at its middle, with its interval."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(point.metric for point in found))
    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "axes.titlesize": 10}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.6 * len(names), 3.0), dpi=110, layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            _panel(axes, [point for point in found if point.metric == name])
            axes.set(title=facts_of(name).heading, xlabel="seconds into the clip")
        with workspace.publish(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})


def _panel(axes: Axes, found: Sequence[Point]) -> None:
    middles = [(point.start_s + point.end_s) / 2 for point in found]
    axes.plot(middles, [point.value for point in found], "o-", color=_COLOUR, markersize=4, linewidth=1.2)
    for middle, point in zip(middles, found, strict=True):
        if point.interval:
            axes.plot([middle, middle], point.interval, color=_COLOUR, linewidth=1.0, alpha=0.6)
    axes.grid(True, alpha=0.25, linewidth=0.5)
    axes.set_xlim(left=0)


def drift_of_run(run: Run, workers: int | None = None) -> None:
    """Draw the drift of a run's long clips against its dataset, or say why there is none."""
    try:
        dataset = run.dataset or find_dataset(run.recipe.dataset)
        with FeatureCache(reporter=run.reporter) as cache:
            path = write_drift(
                samples_folder(run.folder, run.recipe),
                dataset,
                protocols.load(run.recipe.protocol),
                workers=workers or parallel.default_workers(),
                device=str(run.device),
                cache=cache,
                reporter=run.reporter,
            )
    except UserError as error:
        run.reporter.warn(f"no {NAME}: {error}")
    else:
        run.reporter.note(f"drift      {path}")
