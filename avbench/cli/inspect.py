"""The command that shows what the filters did: inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli import app


@app.command(rich_help_panel="Datasets")
def inspect(
    dataset: Annotated[str, typer.Argument(help="Dataset folder, or a name below datasets/.")],
    other: Annotated[str | None, typer.Argument(help="A second dataset, shown beside the first.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the page. Default: DATASET/inspect, or DATASET/inspect/beside-OTHER for two."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Clips shown on each side of each threshold.")] = 6,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: the cores of this machine.")] = None,
) -> None:
    """Write an HTML page by which the thresholds of a dataset can be judged by eye.

    Per filter: the distribution of its value with the threshold, and the clips nearest to it on both sides; every drop
    with its reason and picture; how exact the clips are. It needs no network and changes nothing in the dataset.

    Examples:

        avbench inspect demo

        avbench inspect concerts gaming --out side-by-side
    """
    from avbench import parallel
    from avbench.cli.console import ConsoleReporter
    from avbench.inspection.page import write_page

    reporter = ConsoleReporter()
    names = [dataset] if other is None else [dataset, other]
    count = workers or parallel.default_workers()
    written = write_page(names, out=out, examples=examples, workers=count, reporter=reporter)
    reporter.note(f"{written.path}")
    reporter.note(written.summary)
