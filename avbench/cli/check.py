"""The command that checks avbench itself: selftest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli import app

PANEL = "Looking around"


@app.command(rich_help_panel=PANEL)
def selftest(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the numbers that run I3D.")] = False,
    battery: Annotated[
        Path | None,
        typer.Option(help="Distort these clips (a folder, or a finished dataset) and watch every metric instead."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the battery's numbers, table and curves.")] = Path(
        "selftest-battery"
    ),
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Windows and metrics of the battery: `avbench list protocols`, or a .toml file. Default: "
            "recipes/battery/battery-10fps.toml."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=8, help="Windows of the battery that are distorted.")] = 64,
    device: Annotated[str, typer.Option(help="Where the battery's networks run.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the battery. Default: the cores of this machine.")
    ] = None,
) -> None:
    """Compare published numbers with what this machine computes; or see which distortions each metric notices.

    Without --battery: every figure that public implementations of FVD, KVD, FAD, KID, KAD and AV-align are known to
    give for inputs that anyone can make again. Those whose published weights are not on this machine are listed as
    skipped. Exit code 0: all others agree. Exit code 1: one does not.

    With --battery: noise, blur, freeze, shuffled frames, silence, hiss, offset and speed at ten strengths each. Exit
    code 1 when a metric does not see what it is meant to see, or sees what it cannot.

    Examples:

        avbench selftest --quick

        avbench selftest --battery real/ --out curves
    """
    if battery is None:
        _show_pins(quick)
    else:
        _show_battery(battery, out, protocol, n, device, workers)


def _show_pins(quick: bool) -> None:
    from avbench.cli.console import ConsoleReporter
    from avbench.selftest import pins

    reporter = ConsoleReporter()
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    reasons = {}
    for check in pins.run(quick=quick, reporter=reporter):
        counts[check.verdict] += 1
        expected, got = (f"{number:.12g}" for number in check.worst) if check.got else ("", "")
        count = len(pins.numbers(check.pin.expected))
        name = check.pin.name + (f" (worst of {count})" if count > 1 and check.got else "")
        style = {"ok": "green", "FAILED": "red", "skipped": "yellow"}[check.verdict]
        reporter.out.print(f"{check.verdict:<8}", style=style, end="")
        if check.got:
            numbers = f"expected {expected:<18} got {got:<18} tolerance {check.pin.tolerance:<8.3g}"
            reporter.out.print(f"{name:<58} {numbers} {check.pin.source}", markup=False)
        else:
            reporter.out.print(f"{name:<58} {check.pin.source}", markup=False)
            reasons[check.reason] = check.verdict
    for reason, verdict in reasons.items():
        reporter.out.print(f"{verdict}: {reason}", markup=False)
    reporter.out.print(f"{counts['ok']} agree, {counts['FAILED']} do not, {counts['skipped']} skipped", markup=False)
    if counts["FAILED"]:
        raise typer.Exit(1)


def _show_battery(clips: Path, out: Path, protocol: str | None, windows: int, device: str, workers: int | None) -> None:
    from avbench import parallel, protocol as protocols, recipe
    from avbench.cli.console import ConsoleReporter
    from avbench.selftest import battery, report

    reporter = ConsoleReporter()
    default = recipe.project_root() / "recipes" / "battery" / "battery-10fps.toml"
    found = battery.run(
        clips,
        protocols.load(protocol or str(default)),
        windows=windows,
        device=device,
        workers=workers or parallel.default_workers(),
        reporter=reporter,
    )
    reporter.note(
        f"protocol {found.protocol}   {found.n_distorted} distorted windows against {found.n_reference} clean ones "
        f"of {found.n_recordings} recordings"
    )
    for cell in found.cells:
        words = report.describe(cell).replace("*", "")
        style = "red" if cell.is_fault else "green" if cell.judgement else "dim"
        reporter.out.print(f"{cell.metric:<16} {cell.distortion:<16} {words}", style=style, markup=False)
    for metric, reason in found.skipped.items():
        reporter.out.print(f"{metric:<16} skipped: {reason}", markup=False, style="yellow")
    faults = sum(cell.is_fault for cell in found.cells)
    asked = sum(cell.meant != "any" for cell in found.cells)
    for path in report.write(found, out):
        reporter.note(f"wrote {path}")
    reporter.note(f"{asked - faults} of {asked} metric-distortion pairs as they should be")
    if faults:
        raise typer.Exit(1)
