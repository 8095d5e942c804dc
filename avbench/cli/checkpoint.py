"""The command that turns a published checkpoint into a run: import-checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli import app
from avbench.cli.bench import PANEL

OPTIONS = "What no tensor tells"


@app.command("import-checkpoint", rich_help_panel=PANEL)
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A .pt of the MM-Diffusion repository, or its tensors as .safetensors.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. Default: runs/BASELINE-NAME, after the file.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Recipe the run is sampled and scored by (landscape, aistpp...), or a .toml file.")
    ] = "paper",
    windows: Annotated[
        str | None,
        typer.Option(help="Frames each level of cross-attention sees. Published: 1,4,8.", rich_help_panel=OPTIONS),
    ] = None,
    cross_head_channels: Annotated[
        int | None,
        typer.Option(min=1, help="Channels per head of the cross-attention. Published: 64.", rich_help_panel=OPTIONS),
    ] = None,
    attention_heads: Annotated[
        int | None, typer.Option(min=1, help="Heads of the self-attention. Published: 4.", rich_help_panel=OPTIONS)
    ] = None,
    shift: Annotated[
        bool | None,
        typer.Option(
            "--shift/--no-shift", help="Whether windows shift at random. Published: yes.", rich_help_panel=OPTIONS
        ),
    ] = None,
    timesteps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the noise schedule in training. Published: 1000.", rich_help_panel=OPTIONS),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a clip. Published: 16.", rich_help_panel=OPTIONS)
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Picture size, pixels. Published: 64.", rich_help_panel=OPTIONS)
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of sound at 16 kHz. Published: 25600.", rich_help_panel=OPTIONS),
    ] = None,
) -> None:
    """Make a run of published weights: sample and score it at once. No code in the file is executed.

    Every tensor is checked by name and shape. The file's sha256 is kept with the run.

    Examples:

        avbench import-checkpoint Landscape.pt --preset landscape

        avbench import-checkpoint ema_0.9999_100000.pt --out runs/published --timesteps 2000
    """
    from avbench.baselines import _importing
    from avbench.cli.console import console
    from avbench.curate.source_table import slug
    from avbench.runs import load_recipe

    untold = _importing.Untold(
        _numbers(windows), cross_head_channels, attention_heads, shift, timesteps, frames, size, samples
    )
    tensors = _importing.read(file)
    baseline = _importing.baseline_of(tensors)
    run = out or Path("runs") / f"{baseline}-{slug(file.stem)}"
    done = _importing.import_checkpoint(file, tensors, run, load_recipe(baseline, preset), untold)
    source, print_line = done.config["imported"], console().print
    before = "imported before" if done.already else "imported"
    print_line(
        f"{before}   {done.parameters:,} parameters in {done.tensors} tensors from {source['file']}", markup=False
    )
    print_line(f"sha256     {source['sha256']}", markup=False)
    print_line(f"checkpoint {done.checkpoint}", markup=False)
    print_line(f"next       avbench sample {baseline} --out {run}", markup=False)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """``1,4,8`` as numbers.

    Raises:
        UserError: Something else.
    """
    from avbench.errors import UserError

    if text is None:
        return None
    parts = text.replace(" ", "").split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"--windows {text!r} is not a list of whole numbers such as 1,4,8")
    return tuple(map(int, parts))
