"""Commands about a dataset in the making: status, and retry of what failed."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli import app
from avbench.cli.data import PANEL, Dataset, Out, Recipe, Route, Wait, Workers, build_all, open_build

if TYPE_CHECKING:
    from avbench.curate.status import Status, Survey

_REFRESH_S = 2.0


@app.command("status", rich_help_panel=PANEL)
def status(
    dataset: Annotated[
        str | None,
        typer.Argument(help="Name, manifest or folder of a dataset. Default: every dataset below datasets/."),
    ] = None,
    out: Out = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds while something runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say how far a dataset is: its sources by state, speed, pauses, disk, and who works on it. Changes nothing.

    Examples:

        avbench status demo

        avbench status concerts --out /shared/concerts --watch

        avbench status --json
    """
    from avbench.cli.console import console
    from avbench.curate.status import Survey
    from avbench.errors import UserError

    surveys = [Survey.open(dataset, out)] if dataset else Survey.all(Path("datasets"))
    if not surveys:
        raise UserError("datasets: nothing was built here; name a dataset, or its folder with --out")
    if as_json:
        _print_json(surveys)
    elif watch:
        _watch(surveys)
    else:
        for survey in surveys:
            console().print(_text(survey.look()), markup=False)


def _print_json(surveys: list[Survey]) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps([asdict(survey.look()) for survey in surveys], indent=2, sort_keys=True))


def _watch(surveys: list[Survey]) -> None:
    """Draw until nothing runs any more, or until Ctrl-C; into a file or pipe, one block of lines per change."""
    from rich.live import Live
    from rich.text import Text

    from avbench.cli.console import console

    out, shown = console(), ""
    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while True:
            looks = [survey.look() for survey in surveys]
            text = "\n".join(_text(look) for look in looks)
            if live is not None:
                live.update(Text(text), refresh=True)
            elif text != shown:
                out.print(text, markup=False)
            shown = text
            if not any(look.running for look in looks):
                return
            time.sleep(_REFRESH_S)


def _text(found: Status) -> str:
    """One look as lines."""
    states = ", ".join(f"{count} {state}" for state, count in found.states.items() if count)
    lines = [f"{found.root}: {found.sources} sources: {states or 'none asked for yet'}"]
    for stage, counts in found.stages.items():
        told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        pace = found.pace.get(stage)
        speed = f"; {pace.per_hour:.0f} an hour, {pace.left} left, {_duration(pace.eta_s)}" if pace else ""
        lines.append(f"  {stage:<10} {told or 'nothing yet'}{speed}")
    for pause in found.pauses:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(pause.until_epoch_s))
        lines.append(f"  paused     {pause.site} until {until}: {pause.reason}")
    for who in found.running:
        age = _duration(max(0.0, time.time() - who.begun_epoch_s))
        lines.append(f"  running    {who.what} on {who.host}, process {who.pid}, for {age}")
    if not found.running:
        lines.append("  running    nothing")
    disk = ", ".join(f"{name} {_size(size)}" for name, size in found.disk_bytes.items())
    lines.append(f"  disk       {disk}")
    if found.dataset_sha256:
        lines.append(f"  dataset    sha256 {found.dataset_sha256[:16]}")
    return "\n".join(lines)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@app.command("retry", rich_help_panel=PANEL)
def retry(
    dataset: Dataset,
    transient: Annotated[bool, typer.Option("--transient", help="Those whose failure may pass.")] = False,
    site: Annotated[bool, typer.Option("--site", help="Those that a paused site kept back; ends its pause.")] = False,
    permanent: Annotated[bool, typer.Option("--permanent", help="Those that were found to be gone for good.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All of these.")] = False,
    source: Annotated[
        list[str] | None, typer.Option(help="Make this source anew, whatever became of it. May be given again.")
    ] = None,
    out: Out = None,
    workers: Workers = None,
    recipe: Recipe = None,
    route: Route = None,
    wait: Wait = 0,
) -> None:
    """Ask again for sources that failed, and build on.

    build-dataset asks again by itself for what may pass; this command is for the rest, and to end a site's pause early.

    Examples:

        avbench retry concerts --permanent

        avbench retry concerts --source aB3_-xyZ901
    """
    from avbench.cli.console import console
    from avbench.curate.status import KINDS, reset
    from avbench.errors import UserError

    kinds = [kind for kind, chosen in zip(KINDS, (transient, site, permanent), strict=True) if chosen or everything]
    if not kinds and not source:
        raise UserError("retry: say what, with --transient, --site, --permanent, --all or --source ID")
    build = open_build(dataset, out, None, recipe, route)
    with build.lock():
        count = reset(build.workspace, kinds, source or [])
    console().print(f"{count} sources will be asked for again", markup=False)
    build_all(build, workers, wait)
