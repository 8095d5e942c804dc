"""Commands that score, prepare a reference, compare two results and empty the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli import app
from avbench.cli.bench import PANEL, Device, Workers

if TYPE_CHECKING:
    from avbench.leaderboard.records import ResultRecord

ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", help="`avbench list protocols`, or a .toml file. Default: the run's, else avbench-v1."),
]


@app.command(rich_help_panel=PANEL)
def score(
    outputs: Annotated[Path, typer.Argument(help="Folder of generated clips; docs/inputs.md lists what it may hold.")],
    reference: Annotated[
        str | None,
        typer.Option(
            help="Dataset (folder or name below datasets/), folder of real clips, or statistics of `avbench reference "
            "build`. Default, for samples of a run: the dataset it was trained on."
        ),
    ] = None,
    protocol: ProtocolOption = None,
    training_set: Annotated[
        str | None,
        typer.Option(help="What the model was trained on (dataset or folder): adds the memorisation check."),
    ] = None,
    reconstructions: Annotated[
        Path | None,
        typer.Option(help="Folder of real clips after the model's codec and back: adds the codec's floor."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="File of prompts (.csv or .json). Default: samples.json and tables beside the clips."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model in the record. Default: the folder's name.")
    ] = None,
    device: Device = None,
    workers: Workers = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Use and fill the feature cache.")] = True,
    leaderboard: Annotated[
        Path | None, typer.Option(help="Also publish the record to this leaderboard folder.")
    ] = None,
) -> None:
    """Score clips against a reference; writes result.json, per_clip.parquet and report.html beside the clips.

    Exit code 0: every clip was scored. Exit code 2: some could not be (each is listed with its reason); the scores are
    complete without them.

    Examples:

        avbench score runs/mmdiffusion-tiny/samples

        avbench score outputs/ --reference real/ --protocol mmdiffusion --model mine
    """
    from avbench.cli.console import ConsoleReporter, end_incomplete
    from avbench.scored import score_folder

    record = score_folder(
        outputs,
        reference,
        protocol,
        training_set=training_set,
        reconstructions=reconstructions,
        prompts=prompts,
        model=model,
        device=device,
        workers=workers,
        use_cache=cache,
        leaderboard=leaderboard,
        reporter=ConsoleReporter(),
    )
    show_scores(record)
    end_incomplete(len(record.failed))


def show_scores(record: ResultRecord) -> None:
    """The record as lines: one per score, then notes and failures."""
    from avbench.cli.console import console

    out = console()
    out.print(f"protocol {record.protocol.id}   N used {record.n_used} of {record.n_asked} asked", markup=False)
    width = max(10, *(len(item.metric) for item in record.scores))
    said: dict[str, str] = {}
    for item in record.scores:
        if item.value is None:
            first = said.setdefault(item.reason, item.metric)
            reason = item.reason if first == item.metric else f"as {first}"
            out.print(f"{item.metric:<{width}} -          {reason}", markup=False)
            continue
        interval = f" 95% [{item.interval[0]:.4g}, {item.interval[1]:.4g}]" if item.interval else ""
        floor = f"   {item.floor_kind}: {item.floor:.4g}" if item.floor is not None else ""
        details = "".join(f"   {name} {value:.4g}" for name, value in item.details.items())
        out.print(f"{item.metric:<{width}} {item.value:<10.4g}{interval}{floor}{details}", markup=False)
    for name, found in record.memorisation.items():
        out.print(
            f"memorisation ({name}): nearest training clip at {found['ratio']:.2f} times the distance of real clips, "
            f"{found['share_near']:.1%} nearer than 99% of them",
            markup=False,
        )
    for warning in dict.fromkeys(w for item in record.scores for w in item.warnings):
        out.print(f"note: {warning}", markup=False, style="dim")
    for name, reason in list(record.failed.items())[:10]:
        out.print(f"failed {name}: {reason}", markup=False, style="dim")
    if len(record.failed) > 10:
        out.print(f"... and {len(record.failed) - 10} more failed, all in result.json", style="dim")


reference_app = typer.Typer(help="References measured once.", no_args_is_help=True)
app.add_typer(reference_app, name="reference", rich_help_panel=PANEL)


@reference_app.command("build")
def reference_build(
    reference: Annotated[
        str, typer.Argument(help="Dataset (folder or name below datasets/), or folder of real clips.")
    ],
    protocol: Annotated[str, typer.Option(help="`avbench list protocols`, or a .toml file.")] = "avbench-v1",
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: REFERENCE-PROTOCOL.safetensors here.")
    ] = None,
    device: Device = None,
    workers: Workers = None,
) -> None:
    """Measure a reference once; `avbench score --reference FILE` then needs none of its media.

    Exit code 0: every clip was measured. Exit code 2: some could not be (each is named with its reason); the file is
    complete without them.

    Examples:

        avbench reference build concerts --protocol mmdiffusion

        avbench reference build real/ --out real.safetensors
    """
    from avbench.cli.console import ConsoleReporter, end_incomplete
    from avbench.scored import build_reference

    _, failed = build_reference(reference, protocol, out, device=device, workers=workers, reporter=ConsoleReporter())
    end_incomplete(len(failed))


@app.command(rich_help_panel=PANEL)
def compare(
    a: Annotated[Path, typer.Argument(help="result.json of one model, or its folder.")],
    b: Annotated[Path, typer.Argument(help="result.json of the other.")],
) -> None:
    """Say whether the difference of two results is real: same protocol and reference, paired where the clips pair.

    Examples:

        avbench compare runs/a/result.json runs/b/result.json

        avbench compare outputs-a/ outputs-b/
    """
    from avbench.cli.console import ConsoleReporter, console
    from avbench.compare import compare_results

    found = compare_results(a, b, reporter=ConsoleReporter())
    out = console()
    out.print(f"protocol {found.protocol_id}   A = {found.a}   B = {found.b}   {found.pairing}", markup=False)
    width = max(10, *(len(row.metric) for row in found.rows))
    for row in found.rows:
        if row.reason:
            out.print(f"{row.metric:<{width}} -  {row.reason}", markup=False)
            continue
        low, high = row.interval
        out.print(
            f"{row.metric:<{width}} A {row.a:<10.4g} B {row.b:<10.4g} A-B {row.difference:+.4g} "
            f"95% [{low:+.4g}, {high:+.4g}]  p {row.p:.3g} (Holm {row.p_adjusted:.3g})  {row.verdict}",
            markup=False,
        )


cache_app = typer.Typer(help="The feature cache.", no_args_is_help=True)
app.add_typer(cache_app, name="cache", rich_help_panel=PANEL)


@cache_app.command("clear")
def cache_clear() -> None:
    """Delete the feature cache; the next scoring measures every clip anew.

    Examples:

        avbench cache clear

        avbench cache clear && avbench score outputs/ --reference real/
    """
    from avbench import cache
    from avbench.cli.console import ConsoleReporter
    from avbench.weights import megabytes

    ConsoleReporter().note(f"deleted {megabytes(cache.clear())} from {cache.folder()}")
