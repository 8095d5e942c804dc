"""One source becomes one local file, by the form of its url: a path, ``synthetic:``, ``hf://`` or http(s)."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from avbench.curate import source_table
from avbench.curate._stall import watch
from avbench.errors import UserError
from avbench.progress import Bar
from avbench.recipe import DownloadRecipe
from avbench.schema import Source


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched and not yet published.

    Attributes:
        path: Where it is.
        owned: Whether it is ours to move; a user's own file is linked or copied instead.
        origin: What the site says of it (extractor, format, title, licence), empty for other sources.
    """

    path: Path
    owned: bool
    origin: dict[str, Any] = field(default_factory=dict)


def fetch(source: Source, recipe: DownloadRecipe, folder: Path, bar: Bar) -> Fetched:
    """Get the file behind a source.

    Args:
        source: What to get.
        recipe: How.
        folder: Scratch folder that belongs to this source alone; what an interrupted run left there is gone on with.
        bar: Receives bytes.

    Raises:
        UserError: It cannot be had; one phrase says why.
        TransientFault: It could not be had now.
        SiteFault: Nothing can be had from its site now.
        EnvironmentFault: The machine cannot go on.
    """
    kind = source_table.url_kind(source.url, source.source_id)
    if kind == "local":
        return Fetched(_local(source.url), owned=False)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "synthetic":
        from avbench.curate import synthetic

        query = source.url.partition(":")[2]
        dest = folder / "media.mp4"
        synthetic.render(dict(parse_qsl(query, keep_blank_values=True)), dest)
        return Fetched(dest, owned=True)
    # yt-dlp and huggingface_hub take a second to import: only who needs them pays
    if kind == "hub":
        from avbench.curate import hub

        with watch(bar, recipe) as watched:
            return Fetched(hub.fetch_file(source.url, folder, watched), owned=True)
    from avbench.curate import web

    path, origin = web.fetch(source.url, recipe, folder, bar)
    return Fetched(path, owned=True, origin=origin)


def place(fetched: Fetched, dest: Path) -> None:
    """Bring a fetched file to ``dest``: moved when it is ours, else hard-linked, or copied across disks.

    Raises:
        OSError: The disk is full or the file cannot be read.
    """
    if fetched.owned:
        os.replace(fetched.path, dest)
        return
    try:
        os.link(fetched.path, dest)
    except OSError:  # another disk, a file system without links, or a file that is not ours to link
        shutil.copyfile(fetched.path, dest)


def _local(url: str) -> Path:
    """A user's own file, links resolved.

    Raises:
        UserError: Absent, not a file, or not readable.
    """
    path = Path(url).resolve()
    if not path.exists():
        raise UserError(f"{url}: there is no such file")
    if not path.is_file():
        raise UserError(f"{url}: not a file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{url}: may not be read; change its permissions")
    return path
