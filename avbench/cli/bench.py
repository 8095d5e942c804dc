"""Commands that train, sample and rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avbench.cli import app

if TYPE_CHECKING:
    from avbench.runs import Run

PANEL = "Baselines and scores"

Baseline = Annotated[
    str,
    typer.Argument(help="Name of a baseline: `avbench list baselines`. external:NAME is somebody else's model."),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Dataset folder, or a name below datasets/. Default: the recipe's.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="A recipe of `avbench list recipes` without the baseline's name (tiny, small, paper...), or a .toml file. "
        "Default: that of the run in --out, else tiny."
    ),
]
RunOut = Annotated[Path | None, typer.Option("--out", help="Folder of the run. Default: runs/BASELINE-PRESET.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1. Default: cuda when there is one.")]
BFloat16 = Annotated[
    bool | None,
    typer.Option(
        "--bf16/--no-bf16", help="Compute in bfloat16, or in float32: training and sampling. Default: the recipe's."
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps instead of the recipe's.")]
Track = Annotated[
    list[str] | None, typer.Option(help="Show losses in tensorboard or wandb too; may be given twice. Extra: track.")
]
Samples = Annotated[int | None, typer.Option("--n", min=1, help="Clips to sample instead of the recipe's number.")]
PromptList = Annotated[
    str | None,
    typer.Option(
        "--prompts", help="Texts to make clips from: a .txt with one per line, .csv, .json, or a list's name."
    ),
]
Accept = Annotated[
    bool, typer.Option("--accept-license", help="You accept licences with conditions, such as non-commercial weights.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be run, downloaded and accepted; do nothing.")]
Board = Annotated[Path, typer.Option("--leaderboard", help="Folder of the leaderboard.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: the cores of this machine.")]


@app.command("run-baseline", rich_help_panel=PANEL)
def run_baseline(
    baseline: Baseline,
    dataset: DatasetOption = None,
    preset: Preset = None,
    out: RunOut = None,
    steps: Steps = None,
    n: Samples = None,
    device: Device = None,
    bf16: BFloat16 = None,
    workers: Workers = None,
    track: Track = None,
    prompts: PromptList = None,
    accept_license: Accept = False,
    dry_run: DryRun = False,
    leaderboard: Board = Path("leaderboard"),
    sweep: Annotated[
        str | None,
        typer.Option(help="`strategies`: train, sample and score avdit with every way to draw noise levels."),
    ] = None,
) -> None:
    """Train, sample, score and record a baseline. The same command goes on where it stopped.

    Exit code 0: every clip was made and scored. Exit code 2: some were not (each is listed with its reason); the record
    is complete without them.

    Examples:

        avbench run-baseline mmdiffusion --preset tiny --dataset demo

        avbench run-baseline mmdiffusion --preset paper --dataset concerts --device cuda

        avbench run-baseline two-step --preset paper --accept-license --dry-run

        avbench run-baseline avdit --sweep strategies
    """
    from avbench.cli.console import ConsoleReporter, end_incomplete
    from avbench.cli.score import show_scores
    from avbench.errors import UserError
    from avbench.runs import Run
    from avbench.training.processes import world

    reporter = ConsoleReporter()
    run = Run.open(
        baseline,
        preset,
        dataset=None if dry_run else dataset,
        out=out,
        steps=steps,
        n=n,
        bf16=bf16,
        prompts=prompts,
        accept_licence=accept_license,
        device=device,
        track=track or (),
        reporter=reporter,
    )
    if dry_run:
        return _show(run.plan(dataset))
    if world() > 1:
        raise UserError("run-baseline runs in one process; train with `avbench train` in several, then run it alone")
    if sweep is not None:
        _sweep(run, sweep, workers, out)
        return
    run.train()
    run.sample()
    record = run.score(workers)
    run.publish(record, leaderboard)
    show_scores(record)
    end_incomplete(len(record.failed))


@app.command(rich_help_panel=PANEL)
def train(
    baseline: Baseline,
    dataset: DatasetOption = None,
    preset: Preset = None,
    out: RunOut = None,
    steps: Steps = None,
    device: Device = None,
    bf16: BFloat16 = None,
    track: Track = None,
    accept_license: Accept = False,
) -> None:
    """Train a baseline on a dataset's shards; resumes from its newest checkpoint.

    On several GPUs: accelerate launch -m avbench train ..., or torchrun.

    Examples:

        avbench train mmdiffusion --preset tiny --dataset demo

        avbench train mmdiffusion --preset tiny --dataset demo --steps 20 --out runs/short
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.progress import SILENT
    from avbench.runs import Run
    from avbench.training.processes import rank

    run = Run.open(
        baseline,
        preset,
        dataset=dataset,
        out=out,
        steps=steps,
        bf16=bf16,
        accept_licence=accept_license,
        device=device,
        track=track or (),
        reporter=SILENT if rank() else ConsoleReporter(),
    )
    run.train()


@app.command(rich_help_panel=PANEL)
def sample(
    baseline: Baseline,
    preset: Preset = None,
    out: RunOut = None,
    n: Samples = None,
    scheduler: Annotated[str | None, typer.Option(help="Solver: dpm-solver++, unipc, ddim or ddpm.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Solver steps, at most those of the training's noise schedule.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Clip i depends on the seed and i alone.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per forward pass.")] = None,
    task: Annotated[
        str | None, typer.Option(help="v2a (sound for a picture), a2v, continue or inpaint; needs --condition.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="What is given: a folder of clips (docs/inputs.md) or a dataset.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of that dataset. Default: test.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Seconds given for continue and inpaint: 0-0.8 or 0-0.4,1.2-1.6.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="replace (the default), guide or both; docs/sampling.md.")] = None,
    scale: Annotated[float | None, typer.Option(help="Weight of the guidance. Default: 1.")] = None,
    noise: Annotated[str | None, typer.Option(help="Noise of the replaced part: fresh (the default) or fixed.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Of avdit: how much more it follows what is given. Default: 0; docs/avdit.md.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(help="Of avdit: what guidance compares without: all, video, audio, or seconds.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of avdit: length of clips made of windows that continue each other.")
    ] = None,
    enlarge: Annotated[
        str | None, typer.Option(help="Folder whose clips are made larger, for mmdiffusion-sr: docs/superres.md.")
    ] = None,
    prompts: PromptList = None,
    accept_license: Accept = False,
    dry_run: DryRun = False,
    device: Device = None,
    bf16: BFloat16 = None,
) -> None:
    """Sample clips from a trained run: .mp4 with sound to watch, .npz without loss to score.

    Exit code 0: every clip is there. Exit code 2: some could not be made, by a model of others (each is listed with its
    reason); the same command tries them again.

    Examples:

        avbench sample mmdiffusion --preset tiny

        avbench sample mmdiffusion --preset tiny --out runs/short --n 8

        avbench sample mmdiffusion --preset tiny --scheduler ddpm --steps 1000

        avbench sample mmdiffusion --preset tiny --task v2a --condition demo --method both --scale 2

        avbench sample mmdiffusion-sr --preset tiny --enlarge runs/mmdiffusion-tiny/samples

        avbench sample avdit --preset tiny --seconds 34
    """
    from avbench.cli.console import ConsoleReporter, end_incomplete
    from avbench.runs import Run
    from avbench.scored import clips_unmade

    sampling = _told(
        scheduler=scheduler, steps=steps, seed=seed, batch_size=batch_size, enlarge=enlarge, seconds=seconds
    )
    given = _told(
        task=task,
        source=condition,
        split=split,
        keep=keep,
        method=method,
        scale=scale,
        noise=noise,
        guidance=guidance,
        drop=drop,
    )
    if given:
        _require_condition(task, condition)
        sampling["condition"] = given
    run = Run.open(
        baseline,
        preset,
        dataset=None,
        out=out,
        n=n,
        bf16=bf16,
        sampling=sampling,
        prompts=prompts,
        accept_licence=accept_license,
        device=device,
        reporter=ConsoleReporter(),
    )
    if dry_run:
        return _show(run.plan())
    samples = run.sample()
    if seconds is not None:
        from avbench.drift import drift_of_run

        drift_of_run(run)
    end_incomplete(len(clips_unmade(samples)))


def _sweep(run: Run, kind: str, workers: int | None, out: Path | None) -> None:
    """Train and compare all ways to draw noise levels, and show the table."""
    from dataclasses import replace

    from avbench import sweep
    from avbench.errors import UserError

    if kind != "strategies":
        raise UserError(f"--sweep {kind}: there is no such sweep; the one there is is called strategies")
    place = out or run.folder.with_name(f"{run.folder.name}-sweep")
    table = sweep.run_sweep(replace(run, folder=place), workers)
    _show(sweep.markdown(table).splitlines())
    run.reporter.note(f"wrote {place / sweep.NAME}.md, .csv and .png")


def _show(lines: list[str]) -> None:
    """Print lines as they are."""
    from avbench.cli.console import console

    for line in lines:
        console().print(line, markup=False)


def _told(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _require_condition(task: str | None, condition: str | None) -> None:
    """The two options without which the others mean nothing."""
    from avbench.errors import UserError

    if task is None:
        raise UserError("--condition and its options need --task v2a, a2v, continue or inpaint")
    if condition is None:
        raise UserError(f"--task {task} needs --condition FOLDER or DATASET, from which the given part comes")
