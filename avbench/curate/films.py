"""The films below a folder, as sources of a dataset: each file is a recording."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from avbench.curate import source_table
from avbench.dataset import is_begun
from avbench.schema import Source

SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ogv"})


def below(folder: Path) -> list[Path]:
    """Absolute paths of all films below a folder, sorted, but hidden ones and those inside a dataset of avbench."""
    found: list[Path] = []
    for at, folders, names in os.walk(folder.resolve()):
        here = Path(at)
        folders[:] = [name for name in folders if not name.startswith(".") and not is_begun(here / name)]
        found += [here / name for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    return sorted(found)


def sources(root: Path, paths: Sequence[Path], licence: str) -> list[Source]:
    """A row for each film, each its own group, in the order given.

    Args:
        root: The folder in which they were found; ids come from the paths below it.
        paths: See `below`.
        licence: Licence of the films.
    """
    ids = source_table.make_ids([{"url": path.relative_to(root.resolve()).as_posix()} for path in paths])
    return [
        Source(
            source_id=source_id,
            url=str(path),
            group=source_id,
            title=path.stem,
            licence=licence,
            size_bytes=path.stat().st_size,
        )
        for path, source_id in zip(paths, ids, strict=True)
    ]
