"""First stage: every source of a manifest becomes one checked file in ``work/raw``, with one ledger record.

A file is published under its final name before its record is written, so a source counts as done only when both are
there. What an interrupted transfer left in ``work/scratch`` is gone on with by the same command; a file that turned out
wrong is removed.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from avbench import media, parallel, recipe as recipes
from avbench.curate import source_table
from avbench.curate.fetch import Fetched, fetch, place
from avbench.errors import EnvironmentFault, MediaError, SiteFault, UserError
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe import DownloadRecipe
from avbench.schema import SCHEMA_VERSION, Source
from avbench.workspace import Workspace, file_sha256, free_bytes, publish, write_text

STAGE = "download"


@dataclass(frozen=True)
class DownloadPlan:
    """What a download would fetch.

    Attributes:
        pending: Sources that no earlier run has finished.
        known_bytes: Sum of the sizes the manifest states for them.
        unknown_count: Sources among them from the network whose size is not known beforehand.
        free_bytes: Free space on the disk of the workspace.
    """

    pending: int
    known_bytes: int
    unknown_count: int
    free_bytes: int

    def check(self, folder: Path) -> None:
        """Refuse a download that cannot fit.

        Raises:
            EnvironmentFault: More bytes are to come than are free.
        """
        if self.known_bytes > self.free_bytes:
            raise EnvironmentFault(
                f"{folder}: {self.known_bytes / 1e9:.1f} GB are to come and only {self.free_bytes / 1e9:.1f} GB are "
                "free; free some space, take fewer sources with --limit, or choose another disk with --out"
            )


def plan(ws: Workspace, sources: Sequence[Source], recipe: DownloadRecipe) -> DownloadPlan:
    """What `download` would fetch now. Local and rendered sources take no transfer and are not counted in bytes."""
    pending = [source for source in sources if not _is_done(ws, source, recipe)]
    remote = [s for s in pending if source_table.url_kind(s.url, s.source_id) in ("web", "hub")]
    return DownloadPlan(
        pending=len(pending),
        known_bytes=sum(source.size_bytes for source in remote),
        unknown_count=sum(not source.size_bytes for source in remote),
        free_bytes=free_bytes(ws.root),
    )


def download(
    ws: Workspace,
    sources: Sequence[Source],
    recipe: DownloadRecipe,
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Fetch every source that no earlier run has finished.

    Args:
        ws: Where raw files and records go.
        sources: What to fetch.
        recipe: How.
        workers: Processes. YouTube is asked by one at a time whatever the number.
        reporter: Progress.

    Returns:
        Counts, and the reason of each failure. Failed sources are tried again by the next run.

    Raises:
        EnvironmentFault: The disk is too small or full, or ffmpeg is missing.
    """
    start = time.monotonic()
    plan(ws, sources, recipe).check(ws.root)
    summary = StageSummary(STAGE)
    pending = [source for source in sources if not _is_done(ws, source, recipe)]
    summary.already = len(sources) - len(pending)
    shutil.rmtree(_scratch(ws) / "refused", ignore_errors=True)
    relay = _Relay(reporter)
    work = partial(_one, ws, recipe, relay if workers <= 1 else None)
    outcomes = parallel.run(work, pending, item_id=_source_id, workers=workers, reporter=relay, description="download")
    by_id = {source.source_id: source for source in pending}
    for outcome in outcomes:
        if outcome.ok:
            summary.done += 1
            continue
        summary.failed[outcome.item_id] = outcome.error
        source = by_id[outcome.item_id]
        record = _record(source, params(source, recipe), status="failed", error=outcome.error)
        ws.write_record(STAGE, outcome.item_id, record)
    summary.seconds = time.monotonic() - start
    return summary


def params(source: Source, recipe: DownloadRecipe) -> str:
    """Digest of what the fetched file depends on. A local file that was changed since counts as another."""
    what: dict[str, Any] = {"url": source.url, "sha256": source.sha256, "size_bytes": source.size_bytes}
    kind = source_table.url_kind(source.url, source.source_id)
    if kind == "web":
        what["max_height"] = recipe.max_height
    if kind == "local" and Path(source.url).is_file():
        stat = Path(source.url).stat()
        what["stat"] = [stat.st_size, stat.st_mtime_ns]
    return recipes.sha256(what)


def _source_id(source: Source) -> str:
    return source.source_id


def _is_done(ws: Workspace, source: Source, recipe: DownloadRecipe) -> bool:
    """Whether an earlier run finished this very source and its file is still there."""
    record = ws.record(STAGE, source.source_id)
    if record is None or record["status"] != "done" or record["params"] != params(source, recipe):
        return False
    path = ws.raw / record["file"]
    return path.is_file() and path.stat().st_size == record["bytes"]


def _one(ws: Workspace, recipe: DownloadRecipe, relay: _Relay | None, source: Source) -> None:
    """Fetch, check and publish one source, then write its record."""
    refused = _scratch(ws) / "refused" / _site(source)
    if refused.exists():
        raise UserError(f"not tried, because earlier in this run: {refused.read_text()}")
    _forget(ws, source.source_id)
    key = params(source, recipe)
    folder = _scratch(ws) / f"{source.source_id}.{key[:16]}"
    for stale in _scratch(ws).glob(f"{source.source_id}.*"):
        if stale != folder:
            shutil.rmtree(stale)
    try:
        fetched = fetch(source, recipe, folder, relay.file_bar(source.source_id) if relay else Bar())
    except UserError as error:
        if isinstance(error, SiteFault):
            write_text(refused, str(error))
        if not any(folder.rglob("*.part")):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        values = _publish(ws, source, fetched)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ws.write_record(STAGE, source.source_id, _record(source, key, status="done", **values))


def _publish(ws: Workspace, source: Source, fetched: Fetched) -> dict[str, Any]:
    """Check a fetched file and bring it to ``work/raw``; returns what the record says of it."""
    digest = _check(source, fetched)
    size = fetched.path.stat().st_size
    dest = ws.raw / f"{source.source_id}{_suffix(fetched.path)}"
    with publish(dest) as temporary:
        place(fetched, temporary)
    return {"file": dest.name, "bytes": size, "sha256": digest, "origin": fetched.origin}


def _check(source: Source, fetched: Fetched) -> str:
    """Size, digest and content of a fetched file; returns the sha256.

    Raises:
        UserError: It is not the file the manifest pins.
        MediaError: It is no video or audio file, or was cut off.
    """
    size = fetched.path.stat().st_size
    if source.size_bytes and size != source.size_bytes:
        raise UserError(f"has {size} bytes, the manifest says {source.size_bytes}; the file at the source was replaced")
    digest = file_sha256(fetched.path)
    if source.sha256 and digest != source.sha256:
        raise UserError(
            f"has the sha256 {digest[:16]}..., the manifest says {source.sha256[:16]}...; the file at the source was "
            "replaced"
        )
    try:
        media.probe(fetched.path)
    except MediaError as error:
        # the path of a scratch file says nothing to a person
        raise MediaError(str(error).removeprefix(f"{fetched.path}: ")) from error
    return digest


def _record(source: Source, key: str, *, status: str, **values: Any) -> dict[str, Any]:
    """A ledger record: the source, what became of it, and the digest of what that depends on."""
    empty = {"file": "", "bytes": 0, "sha256": "", "error": "", "origin": {}}
    about = {"schema_version": SCHEMA_VERSION, "source": asdict(source), "status": status, "params": key}
    return {**about, **empty, **values}


def _site(source: Source) -> str:
    """Name of the site a source comes from, fit for a file name; one site that refuses is not asked again."""
    kind = source_table.url_kind(source.url, source.source_id)
    return re.sub(r"[^\w.-]", "_", urlsplit(source.url).netloc) if kind == "web" else kind


def _forget(ws: Workspace, source_id: str) -> None:
    """Remove what an earlier, different version of this source left: first the record, then the file."""
    ws.record_path(STAGE, source_id).unlink(missing_ok=True)
    for stale in ws.raw.glob(f"{source_id}.*"):
        stale.unlink()


def _scratch(ws: Workspace) -> Path:
    return ws.root / "work" / "scratch" / STAGE


def _suffix(path: Path) -> str:
    """A plain suffix for the published name; readers look at the content anyway."""
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".media"


class _Relay(Reporter):
    """Passes everything on, and lets the transfer of one file write its progress beside the bar of the stage."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.stage_bar = Bar()

    @contextmanager
    def bar(self, description: str, total: float | None, unit: str = "") -> Iterator[Bar]:
        """See `Reporter.bar`."""
        with self.reporter.bar(description, total, unit) as self.stage_bar:
            yield self.stage_bar

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self.reporter.note(message)

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        self.reporter.warn(message)

    def file_bar(self, name: str) -> Bar:
        """A bar in bytes for one file, shown as text beside the stage's bar."""
        return _FileBar(self.stage_bar, name)


class _FileBar(Bar):
    def __init__(self, stage_bar: Bar, name: str) -> None:
        self.stage_bar, self.name = stage_bar, name
        self.done_bytes = self.total_bytes = 0.0

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        self.done_bytes += amount
        share = f" of {self.total_bytes / 1e6:.1f}" if self.total_bytes else ""
        self.stage_bar.advance(0, f"{self.name} {self.done_bytes / 1e6:.1f}{share} MB")

    def total(self, total: float) -> None:
        self.total_bytes = total
