"""``run.html``: what there is to see of a training, from the files in its folder. One page without script."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench import workspace
from avbench.training import curves
from avbench.training.preview import sheet_name

NAME = "run.html"
RECIPE_NAME = "recipe.json"


def write(run: Path, rows: Sequence[dict[str, float]], recipe: dict[str, Any]) -> Path:
    """Draw the curves of a run and write its page; both are made anew at every checkpoint.

    Args:
        run: Folder of the run; pictures of samples in it are shown, newest first.
        rows: Rows of ``log.jsonl``.
        recipe: Training recipe.

    Returns:
        The page.
    """
    import jinja2

    drawn = curves.draw(rows, run / curves.NAME)
    templates = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    text = (
        jinja2.Environment(loader=templates, autoescape=True, undefined=jinja2.StrictUndefined)
        .get_template(NAME)
        .render(
            title=run.resolve().name,
            wanted=recipe["steps"],
            curves=curves.NAME if drawn else "",
            facts=throughput(rows, recipe["batch_size"]),
            sheets=_sheets(run, len(rows)),
            recipe=_whole_recipe(run) or recipe,
        )
    )
    workspace.write_text(run / NAME, text)
    return run / NAME


def throughput(rows: Sequence[dict[str, float]], batch_size: int) -> dict[str, str]:
    """What a log tells of speed, in words a reader can compare."""
    if not rows:
        return {"steps": "0"}
    seconds, waited = [row["seconds"] for row in rows], sum(row.get("wait_seconds", 0.0) for row in rows)
    usual = statistics.median(seconds)
    return {
        "steps": f"{int(rows[-1]['step'])}",
        "clips per second": f"{batch_size / usual:.3g} (median step: {usual:.3g} s)",
        "time in steps": f"{sum(seconds) / 3600:.2f} h",
        "share spent waiting for data": f"{100 * waited / sum(seconds):.1f}%",
    }


def _sheets(run: Path, steps: int) -> list[dict[str, Any]]:
    """Pictures of samples, newest first; those of later steps than the log has belong to a run that was cut off."""
    numbers = (path.stem.removeprefix("samples-") for path in run.glob("samples-*.png"))
    found = sorted((int(number) for number in numbers if number.isdecimal()), reverse=True)
    return [{"name": sheet_name(step), "step": step} for step in found if step <= steps]


def _whole_recipe(run: Path) -> dict[str, Any]:
    """The recipe saved beside the run, one line per field, or nothing where a library user saved none."""
    path = run / RECIPE_NAME
    if not path.is_file():
        return {}
    flat: dict[str, Any] = {}
    for name, value in workspace.read_json(path).items():
        flat |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat
