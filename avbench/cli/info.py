"""Commands that look around: list, info, doctor, weights."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from avbench.cli import app

PANEL = "Looking around"


class Kind(StrEnum):
    """What can be listed."""

    filters = "filters"
    features = "features"
    metrics = "metrics"
    baselines = "baselines"
    codecs = "codecs"
    datasets = "datasets"
    recipes = "recipes"
    protocols = "protocols"
    weights = "weights"


@app.command("list", rich_help_panel=PANEL)
def list_things(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what avbench knows, one line each.

    Examples:

        avbench list metrics

        avbench list weights
    """
    from avbench.catalogue import rows
    from avbench.cli.console import console

    out = console()
    for name, text in rows(kind.value):
        out.print(f"{name:<22} {text}", markup=False)


@app.command(rich_help_panel=PANEL)
def info(recipe: Annotated[str, typer.Argument(help="A name of `avbench list recipes`, or a .toml file.")]) -> None:
    """Show what a recipe trains, what it takes, and which published numbers to expect.

    Examples:

        avbench info mmdiffusion-landscape

        avbench info mmdiffusion-tiny
    """
    from avbench.catalogue import about_recipe
    from avbench.cli.console import console

    for line in about_recipe(recipe):
        console().print(line, markup=False)


@app.command(rich_help_panel=PANEL)
def doctor() -> None:
    """Check this machine: ffmpeg, codecs, GPU, weights, disk, network. Says what to type where something is missing.

    Exit code 0: nothing is missing that the demo needs. Exit code 2: something is.

    Examples:

        avbench doctor

        avbench doctor | grep missing
    """
    from avbench import doctor as checks
    from avbench.cli.console import console

    out = console()
    results = checks.run()
    for check in results:
        word = "ok" if check.ok else ("missing" if check.needed else "absent")
        style = {"ok": "green", "missing": "red", "absent": "yellow"}[word]
        out.print(f"{word:<8}", style=style, end="")
        out.print(f"{check.name:<12} {check.found}", markup=False)
        if not check.ok and check.remedy:
            out.print(f"{'':<21}-> {check.remedy}", markup=False)
    if any(check.needed and not check.ok for check in results):
        raise typer.Exit(2)


weights_app = typer.Typer(help="Published network weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights", rich_help_panel=PANEL)


@weights_app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name of `avbench list weights`, or all.")]) -> None:
    """Download weights into the cache, checked by sha256.

    Examples:

        avbench weights fetch i3d

        avbench weights fetch all
    """
    from avbench import catalogue, weights
    from avbench.cli.console import ConsoleReporter

    reporter = ConsoleReporter()
    for weight in catalogue.weights_named(name):
        reporter.note(f"{weight.name}: {weights.fetch(weight, reporter)}")
