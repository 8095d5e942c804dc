"""Commands of a listening study: create, serve, analyse."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avbench.cli import app
from avbench.cli.bench import PANEL, Workers

study_app = typer.Typer(help="Listening studies: people compare or rate clips in a browser.", no_args_is_help=True)
app.add_typer(study_app, name="study", rich_help_panel=PANEL)


class Kind(StrEnum):
    """What people are asked to do."""

    pairwise = "pairwise"
    opinion = "opinion"
    turing = "turing"


@study_app.command("create")
def study_create(
    design: Annotated[Path | None, typer.Argument(help="Design (TOML). Without one: --a, --b and the options.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("study"),
    a: Annotated[Path | None, typer.Option(help="A system: its run, or a folder of clips.")] = None,
    b: Annotated[Path | None, typer.Option(help="Another one, with clips of the same names.")] = None,
    real: Annotated[Path | None, typer.Option(help="Real clips, for the tests opinion and turing.")] = None,
    test: Annotated[list[Kind] | None, typer.Option(help="What people do. Default: pairwise.")] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(help="quality, alignment, person, picture or sound. Default: quality, alignment."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Items per person and test. Default: 20.")] = None,
    participants: Annotated[int | None, typer.Option(min=1, help="People planned. Default: 20.")] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Clips of each system. Default: all.")] = None,
    loudness: Annotated[
        float | None, typer.Option(help="Bring every clip to this loudness, LUFS (EBU R 128: -23). Default: as it is.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Orders, sides and draws. Default: 0.")] = None,
    workers: Workers = None,
) -> None:
    """Make a study: clips under neutral names, every person's list balanced, attention checks in between.

    Examples:

        avbench study create --a runs/avdit-tiny --b runs/mmdiffusion-tiny --out study

        avbench study create design.toml --out study
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.errors import UserError
    from avbench.parallel import default_workers
    from avbench.study import create as creating, design as designs

    given = {
        "tests": [name.value for name in test] if test else None,
        "questions": question or None,
        "trials": trials,
        "participants": participants,
        "clips": clips,
        "loudness_lufs": loudness,
        "seed": seed,
    }
    settings = {key: value for key, value in given.items() if value is not None}
    folders = [folder for folder in (a, b) if folder is not None]
    if design is not None and (settings or folders or real):
        raise UserError(f"{design}: says everything itself; write into it what the other options say, or leave it out")
    if design is None and not folders and real is None:
        raise UserError("a study needs systems: name a design, or runs with --a and --b")
    found = designs.load(design) if design is not None else designs.of_folders(folders, real, settings)
    reporter = ConsoleReporter()
    created = creating.create(found, out, workers=workers or default_workers(), reporter=reporter)
    reporter.note(f"{out}: {len(created.study.clips)} clips{', made before' if created.already else ''}")
    for note in created.notes:
        reporter.note(note)
    reporter.note(f"go on with: avbench study serve {out}")


@study_app.command("serve")
def study_serve(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
) -> None:
    """Let people take part: a page in the browser, until Ctrl-C.

    Every answer is on the disk before the browser is told so, and whoever opens their own link again goes on where they
    were.

    Examples:

        avbench study serve study

        avbench study serve study --host 0.0.0.0 --port 8000
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.study import server

    reporter = ConsoleReporter()
    with server.opened(folder, host, port) as opened:
        if not opened.loopback_only:
            reporter.warn("everybody who reaches this machine can take part, and nothing is encrypted on the way")
        reporter.note(f"{opened.url} (Ctrl-C ends it)")
        try:
            opened.serve_forever()
        except KeyboardInterrupt:
            people, answers = opened.session.answers.counts()
            reporter.note(f"ended; {answers} answers of {people} people are stored")


@study_app.command("analyse")
def study_analyse(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results. Default: FOLDER/analysis.")] = None,
) -> None:
    """Say what people found: means, preferences and tests with intervals, tables, a figure and a page.

    It may run while people take part.

    Examples:

        avbench study analyse study

        avbench study analyse study --out paper/study
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.study import analyse

    reporter = ConsoleReporter()
    found = analyse.of(folder)
    written = analyse.write(found, out or folder / analyse.FOLDER)
    for line in found.summary:
        reporter.note(line)
    for table in found.tables:
        reporter.note(f"\n{table.title}")
        widths = [max(len(row[column]) for row in (table.header, *table.rows)) for column in range(len(table.header))]
        for row in (table.header, *table.rows):
            reporter.note("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    reporter.note(f"\n{written[-1]}")
