"""Commands that make datasets: build-dataset and its stages one by one, and manifest sync."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from avbench.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from avbench.curate.build import Build
    from avbench.curate.worker import Share
    from avbench.parallel import StageSummary

PANEL = "Datasets"

Dataset = Annotated[
    str,
    typer.Argument(
        help="concerts, gaming, landscape, aistpp, demo, bounce; a folder of films; a .csv with a column url; a folder "
        "with card.toml."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the dataset. Default: datasets/NAME.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first N sources.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: the cores of this machine.")]
Recipe = Annotated[str | None, typer.Option(help="Recipe name or .toml file. Default: the one the manifest names.")]
Route = Annotated[
    str | None,
    typer.Option(
        help="hub: take the published chunks. web: download the videos and cut them here. Default: the card's."
    ),
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="MINUTES", help="Wait so long at the end for sites that ask for a pause."),
]


def open_build(dataset: str, out: Path | None, limit: int | None, recipe: str | None, route: str | None) -> Build:
    """The build that the arguments of a command name, reporting to the console."""
    from avbench.cli.console import ConsoleReporter
    from avbench.curate.build import Build

    return Build.open(dataset, out=out, limit=limit, recipe=recipe, route=route, reporter=ConsoleReporter())


def _finish(summaries: list[StageSummary]) -> None:
    """Print what happened; bad input leaves exit code 2 although everything else is done."""
    from avbench.cli.console import console, end_incomplete, show_summary

    out = console()
    seen: set[str] = set()
    for summary in summaries:
        # what a stage could not do because an earlier one failed was said there
        summary.failed = {item: reason for item, reason in summary.failed.items() if item not in seen}
        seen |= set(summary.failed)
        show_summary(summary, out)
    end_incomplete(sum(len(s.failed) + (len(s.dropped) if s.stage == "segment" else 0) for s in summaries))


def _stage(
    name: str,
    dataset: str,
    out: Path | None,
    limit: int | None,
    workers: int | None,
    recipe: str | None,
    route: str | None,
) -> None:
    build = open_build(dataset, out, limit, recipe, route)
    with build.lock():
        _finish([build.stage(name, workers)])


@app.command("build-dataset", rich_help_panel=PANEL)
def build_dataset(
    dataset: Dataset,
    out: Out = None,
    limit: Limit = None,
    workers: Workers = None,
    recipe: Recipe = None,
    route: Route = None,
    wait: Wait = 0,
    worker: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Take part I of N of the sources as far as judged clips, beside other workers on a shared folder.",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: processes of this machine. ray: the nodes of a Ray cluster on a shared folder."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The Ray cluster, of which this machine is a node; auto finds it. Default: a Ray on this machine.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Download, segment, filter and shard a dataset. The same command goes on where it stopped.

    With --worker, any number of machines share the work; the command without it then finishes the dataset.

    Exit code 0: every source was usable. Exit code 2: some were not (each is listed with its reason); the dataset is
    complete without them.

    Examples:

        avbench build-dataset demo

        avbench build-dataset concerts --limit 5 --out /data/concerts

        avbench build-dataset concerts --out /shared/concerts --worker 3/8

        avbench build-dataset concerts --out /shared/concerts --engine ray --ray-address auto
    """
    from avbench.cli.console import console

    share = _share(worker)
    _check_engine(engine, ray_address, share)
    build = open_build(dataset, out, limit, recipe, route)
    out_console = console()
    for line in build.describe(workers):
        out_console.print(line, markup=False)
    if dry_run:
        return
    build.check()
    if share is None and engine == "local":
        build_all(build, workers, wait)
        return
    with build.lock(share):
        if share is None:
            summaries = build.over_ray(ray_address, workers, wait * 60)
        else:
            summaries = build.worker(share, workers, wait * 60)
    if share is None:
        _print_dataset(build)
    _finish(summaries)


def build_all(build: Build, workers: int | None, wait_min: float) -> None:
    """Run every stage, and print what came of it."""
    from avbench.workspace import STAGES

    with build.lock():
        summaries = [build.stage(name, workers, wait_min * 60) for name in STAGES]
    _print_dataset(build)
    _finish(summaries)


def _check_engine(engine: str, ray_address: str | None, share: Share | None) -> None:
    """Refuse options that do not go together."""
    from avbench.errors import UserError

    if engine == "ray" and share is not None:
        raise UserError(f"--worker {share}: Ray shares out the sources itself; leave --worker or --engine ray away")
    if engine != "ray" and ray_address is not None:
        raise UserError(f"--ray-address {ray_address}: is for --engine ray, which is not given")


def _share(worker: str | None) -> Share | None:
    """The part of the sources that ``--worker`` names."""
    if worker is None:
        return None
    from avbench.curate.worker import Share

    return Share.parse(worker)


def _print_dataset(build: Build) -> None:
    from avbench.cli.console import console
    from avbench.dataset import dataset_card

    card = dataset_card(build.workspace.root)
    out = console()
    for split, numbers in card["splits"].items():
        out.print(
            f"{split:<11} {numbers['clips']} clips from {numbers['sources']} sources, {numbers['hours']:.3f} h",
            markup=False,
        )
    out.print(f"dataset     {build.workspace.shards}  sha256 {card['dataset_sha256'][:16]}", markup=False)


def _stage_command(name: str, help_text: str) -> Callable[..., None]:
    def command(
        dataset: Dataset,
        out: Out = None,
        limit: Limit = None,
        workers: Workers = None,
        recipe: Recipe = None,
        route: Route = None,
    ) -> None:
        _stage(name, dataset, out, limit, workers, recipe, route)

    command.__doc__ = (
        f"{help_text}\n\nExamples:\n\n    avbench {name} demo\n\n    avbench {name} my/sources.csv --out my/dataset\n"
    )
    return app.command(name, rich_help_panel=PANEL)(command)


download = _stage_command("download", "Fetch the sources of a manifest (first stage of build-dataset).")
segment = _stage_command("segment", "Cut downloaded sources into exact clips (second stage).")
filter_clips = _stage_command("filter", "Judge the clips; every drop has a filter, a value and a reason (third stage).")
shard = _stage_command("shard", "Split by source and pack kept clips into WebDataset shards (last stage).")

manifest_app = typer.Typer(help="Lists of sources.", no_args_is_help=True)
app.add_typer(manifest_app, name="manifest", rich_help_panel=PANEL)


@manifest_app.command("sync")
def manifest_sync(
    dataset: Annotated[
        str, typer.Argument(help="concerts, gaming, or a folder with a card.toml that names a hub repo.")
    ],
    route: Route = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Another hub address. Default: HF_ENDPOINT or the public hub.")
    ] = None,
) -> None:
    """List a dataset's hub repository and write its sources.csv, with the revision pinned.

    Examples:

        avbench manifest sync concerts

        avbench manifest sync gaming --route web
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.curate.build import sync

    ConsoleReporter().note(sync(dataset, route=route, endpoint=endpoint))
