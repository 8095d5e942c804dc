"""The command that lists a dataset whose files the user brings: manifest scan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli.data import manifest_app


@manifest_app.command("scan")
def manifest_scan(
    dataset: Annotated[str, typer.Argument(help="landscape, aistpp, or a folder whose card.toml has [media].")],
    folder: Annotated[Path, typer.Argument(help="Your copy of its videos; folders inside it are searched too.")],
) -> None:
    """List your own copy of a dataset that avbench may not download; build-dataset takes it from there.

    Examples:

        avbench manifest scan landscape /data/landscape

        avbench manifest scan aistpp /data/aist
    """
    from avbench.cli.console import ConsoleReporter
    from avbench.curate.media_folder import scan

    found, reporter = scan(dataset, folder), ConsoleReporter()
    reporter.note(f"{found.table}: {found.files} videos in {found.groups} groups")
    if found.files != found.expected:
        reporter.note(f"the published set has {found.expected} videos; yours is another selection or not all of it")
    reporter.note(f"next: avbench build-dataset {dataset}")
