"""What a battery leaves behind: every number as CSV and Parquet, the table as Markdown, the curves as SVG."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.selftest.battery import Battery, Cell, Point
from avbench.workspace import publish, write_text

FAMILIES = {"video": "picture", "audio": "sound", None: "alignment"}
"""Figure of a metric by the modality of its feature."""

_INK, _GRID, _COLOURS = "#333333", "#dddddd", {"worse": "#0b6e99", "still": "#7a7a7a", "any": "#b08a3e"}


def write(battery: Battery, folder: Path) -> list[Path]:
    """Write ``battery.csv`` (six digits), ``battery.parquet`` (all), ``battery.md`` and ``battery-<family>.svg``.

    Returns:
        The files.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    numbers = pd.DataFrame([dataclasses.asdict(point) for point in battery.points])
    paths = [folder / "battery.csv", folder / "battery.parquet", folder / "battery.md"]
    write_text(paths[0], numbers.to_csv(index=False, float_format="%.6g"))
    with publish(paths[1]) as temporary:
        numbers.to_parquet(temporary, index=False)
    write_text(paths[2], "\n".join(table(battery)) + "\n")
    for family, metrics in _families(battery.cells).items():
        paths.append(folder / f"battery-{family}.svg")
        write_text(paths[-1], curves(battery, metrics))
    return paths


def table(battery: Battery) -> list[str]:
    """Markdown: what each metric makes of each distortion, a table per family.

    A distortion that leaves a family still, as it should, has no row.
    """
    lines: list[str] = []
    for family, metrics in _families(battery.cells).items():
        cells = {(cell.metric, cell.distortion): cell for cell in battery.cells if cell.metric in metrics}
        names = dict.fromkeys(cell.distortion for cell in cells.values() if cell.judgement != "still")
        lines += [
            f"| {family} | {' | '.join(f'`{metric}`' for metric in metrics)} |",
            "|---" * (len(metrics) + 1) + "|",
        ]
        for name in names:
            lines.append(f"| {name} | {' | '.join(describe(cells[metric, name]) for metric in metrics)} |")
        lines.append("")
    return lines[:-1]


def describe(cell: Cell) -> str:
    """One cell in words: the judgement, the strength from which on it is told from 0, the rank correlation."""
    if cell.meant == "still":
        return "still" if cell.judgement == "still" else f"**{cell.judgement.lower()}**"
    facts = []
    if cell.told_from is not None:
        facts.append(f"{'worse' if cell.change > 0 else 'better'} from {cell.told_from:g}")
    if not math.isnan(cell.rho):
        facts.append(f"rho {cell.rho:.2f}")
    if cell.meant == "any":
        return f"({', '.join(facts) if cell.told_from is not None else 'unmoved'})"
    word = f"**{cell.judgement.lower()}**" if cell.is_fault else cell.judgement
    return f"{word}; {', '.join(facts)}" if facts else word


def curves(battery: Battery, metrics: Sequence[str]) -> str:
    """One row of small panels per metric, as SVG text; equal numbers give equal bytes.

    A column per distortion that moves any of these metrics at all; a metric that must not move is grey, one of which
    nothing is asked is brown. The band is the error of the change from strength 0.
    """
    import matplotlib
    from matplotlib.figure import Figure

    moved = {p.distortion for p in battery.points if p.metric in metrics and p.change}
    distortions = [name for name in dict.fromkeys(cell.distortion for cell in battery.cells) if name in moved]
    meant = {(cell.metric, cell.distortion): cell.meant for cell in battery.cells}
    style: dict[Any, Any] = {
        "svg.hashsalt": "avbench",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 7,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(1.55 * len(distortions) + 0.6, 1.25 * len(metrics) + 0.5), layout="constrained")
        axes = figure.subplots(len(metrics), len(distortions), sharex="col", sharey="row", squeeze=False)
        for row, metric in enumerate(metrics):
            for column, distortion in enumerate(distortions):
                points = [p for p in battery.points if (p.metric, p.distortion) == (metric, distortion)]
                panel = axes[row, column]
                _draw(panel, points, _COLOURS[meant[metric, distortion]])
                if row == 0:
                    panel.set_title(distortion, fontsize=8, color=_INK)
                if row == len(metrics) - 1:
                    panel.set_xlabel(points[0].unit, color=_INK)
                if column == 0:
                    panel.set_ylabel(metric, color=_INK, fontsize=8)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return text.getvalue()


def _draw(panel: Any, points: Sequence[Point], colour: str) -> None:
    """A curve, its band of error and the clean level; strengths evenly spaced, since most rise geometrically."""
    x = list(range(len(points)))
    values = [point.value for point in points]
    panel.axhline(values[0], color=_INK, linewidth=0.6, linestyle=(0, (2, 2)))
    low = [point.value - point.change_error for point in points]
    high = [point.value + point.change_error for point in points]
    panel.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    panel.plot(x, values, color=colour, linewidth=1.3)
    panel.set_xticks([0, 5, 10], [f"{points[k].strength:g}" for k in (0, 5, 10)])
    panel.grid(axis="y", color=_GRID, linewidth=0.4)
    panel.tick_params(length=0, colors=_INK)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _families(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Metrics of each family, both in order."""
    metrics = dict.fromkeys(cell.metric for cell in cells)
    found = {family: [metric for metric in metrics if _family(metric) == family] for family in FAMILIES.values()}
    return {family: names for family, names in found.items() if names}


def _family(metric: str) -> str:
    name = registry.module("metric", metric).FEATURE
    return FAMILIES[None if name is None else registry.module("feature", name).Feature.modality]
