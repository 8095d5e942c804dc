"""Stage 3: every filter of the recipe judges every clip, and the verdicts become two tables.

A clip that a filter does not want is a drop, with the filter, the measured value and the reason. A clip that cannot be
decoded is a failure, which is not a drop, and is tried again by the next run. All filters judge a clip even after the
first drop, so that thresholds can be studied without decoding again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from avbench import parallel
from avbench.filters import _base, _signals
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import FilterSpec, sha256
from avbench.schema import SCHEMA_VERSION, Clip
from avbench.workspace import Workspace, publish, write_json

STAGE = "filter"

DROPPED_SCHEMA = pa.schema(
    {
        "clip_id": pa.string(),
        "source_id": pa.string(),
        "filter": pa.string(),
        "value": pa.float64(),
        "reason": pa.string(),
    }
)
"""One row per drop verdict; a clip that three filters drop has three rows, in the order of the recipe."""


def kept_schema(filters: Sequence[str]) -> pa.Schema:
    """Columns of ``kept.parquet``: the fields of a clip, then the value each filter measured."""
    types = {"str": pa.string(), "float": pa.float64(), "float | None": pa.float64(), "int": pa.int64()}
    columns = [(field.name, types[str(field.type)]) for field in dataclasses.fields(Clip)]
    return pa.schema(columns + [(f"filter_{name}", pa.float64()) for name in filters])


def filter_clips(
    ws: Workspace,
    source_ids: Sequence[str],
    specs: Sequence[FilterSpec],
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Judge the clips of ``source_ids`` and write ``work/kept.parquet`` and ``work/dropped.parquet``.

    ``work/filter.json``, written last, names the sources the tables are about; without it they are not whole.

    Args:
        ws: Folder of the dataset; the segment stage has written its records there.
        source_ids: Sources of the dataset. Those that gave no clips are passed over.
        specs: Filters of the recipe.
        workers: Processes.
        reporter: Where progress goes.

    Returns:
        Counts in clips: ``done`` judged now, ``already`` judged before; every drop and failure by clip id.

    Raises:
        UserError: An unknown filter or threshold.
        EnvironmentFault: The run cannot go on.
    """
    start = time.monotonic()
    filters = _base.load(specs)
    summary, jobs = _judge(ws, source_ids, filters, workers, reporter)
    _write_tables(ws, source_ids, [job for job in jobs if job.source_id not in summary.failed], filters, summary)
    summary.seconds = time.monotonic() - start
    return summary


def judge(
    ws: Workspace,
    source_ids: Sequence[str],
    specs: Sequence[FilterSpec],
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Judge the clips of ``source_ids`` and write their ledger records alone: what one of several workers does.

    Args and errors are those of `filter_clips`, which finds the work done and writes the tables.
    """
    start = time.monotonic()
    summary, _ = _judge(ws, source_ids, _base.load(specs), workers, reporter)
    summary.seconds = time.monotonic() - start
    return summary


def _judge(
    ws: Workspace, source_ids: Sequence[str], filters: Sequence[ClipFilter], workers: int, reporter: Reporter
) -> tuple[StageSummary, list[_Job]]:
    """Judge what no earlier run has judged; returns the counts and what there was to judge."""
    summary = StageSummary(STAGE)
    jobs = [job for source_id in source_ids if (job := _plan(ws, source_id, filters))]
    summary.already = sum(len(job.judged) for job in jobs)
    open_jobs = [job for job in jobs if len(job.judged) < len(job.clips)]
    work = partial(_judge_source, ws=ws, filters=filters)
    for outcome in parallel.run(
        work, open_jobs, item_id=lambda job: job.source_id, workers=workers, reporter=reporter, description="filter"
    ):
        if outcome.value is None:
            summary.failed[outcome.item_id] = outcome.error
        else:
            summary.done += outcome.value
    return summary, jobs


@dataclass(frozen=True)
class _Job:
    """The clips of one source, and the entries that an earlier run has judged (by clip id)."""

    source_id: str
    clips: tuple[dict[str, Any], ...]
    params: str
    judged: dict[str, dict[str, Any]]


def _plan(ws: Workspace, source_id: str, filters: Sequence[ClipFilter]) -> _Job | None:
    """What is to do for one source; None when it gave no clips."""
    segment = ws.record("segment", source_id)
    if segment is None or segment["status"] != "done":
        return None
    params = sha256(
        {
            "schema_version": SCHEMA_VERSION,
            "segment": segment["params"],
            "clips": segment["clips"],
            "filters": [{"name": f.name, "version": f.version, **f.model_dump()} for f in filters],
            "signals": [_signals.FRAME_WIDTH, _signals.FRAME_RATE_FPS],
        }
    )
    record = ws.record(STAGE, source_id)
    entries = record["clips"] if record and record["params"] == params else []
    judged = {entry["clip"]["clip_id"]: entry for entry in entries if not entry["error"]}
    return _Job(source_id, tuple(segment["clips"]), params, judged)


def _judge_source(job: _Job, ws: Workspace, filters: Sequence[ClipFilter]) -> int:
    """Judge the clips of one source that are not judged yet, write its record, and return how many succeeded."""
    entries, succeeded = [], 0
    for clip in job.clips:
        entry = job.judged.get(clip["clip_id"])
        if entry is None:
            outcome = parallel.attempt(partial(_judge_clip, ws=ws, filters=filters), clip, clip["clip_id"])
            entry = {"clip": clip, "verdicts": outcome.value or [], "error": outcome.error}
            succeeded += outcome.ok
        entries.append(entry)
    record = {"schema_version": SCHEMA_VERSION, "source_id": job.source_id, "clips": entries, "params": job.params}
    ws.write_record(STAGE, job.source_id, record)
    return succeeded


def _judge_clip(clip: dict[str, Any], ws: Workspace, filters: Sequence[ClipFilter]) -> list[dict[str, Any]]:
    """Verdicts of all filters on one clip, from one decode of it."""
    signals = ClipSignals.decode(ws.clips / clip["file"])
    return [asdict(filter_.judge(signals)) for filter_ in filters]


def _entries(ws: Workspace, jobs: Sequence[_Job]) -> list[dict[str, Any]]:
    """Every judged clip of ``jobs`` as the ledger has it now, by clip id."""
    entries: list[dict[str, Any]] = []
    for job in jobs:
        record = ws.record(STAGE, job.source_id)
        entries += record["clips"] if record else []
    return sorted(entries, key=lambda entry: entry["clip"]["clip_id"])


def _write_tables(
    ws: Workspace, source_ids: Sequence[str], jobs: Sequence[_Job], filters: Sequence[ClipFilter], summary: StageSummary
) -> None:
    """Fold the ledger into the two tables; `summary` gets the drops and failures."""
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for entry in _entries(ws, jobs):
        clip, verdicts = entry["clip"], entry["verdicts"]
        drops = [verdict for verdict in verdicts if not verdict["keep"]]
        if entry["error"]:
            summary.failed[clip["clip_id"]] = entry["error"]
        elif drops:
            summary.dropped[clip["clip_id"]] = "; ".join(verdict["reason"] for verdict in drops)
            names = {"clip_id": clip["clip_id"], "source_id": clip["source_id"]}
            dropped += [{**names, **{key: drop[key] for key in ("filter", "value", "reason")}} for drop in drops]
        else:
            kept.append({**clip, **{f"filter_{verdict['filter']}": verdict["value"] for verdict in verdicts}})
    marker = ws.kept.with_name("filter.json")
    marker.unlink(missing_ok=True)
    _write_parquet(ws.kept, kept, kept_schema([filter_.name for filter_ in filters]))
    _write_parquet(ws.dropped, dropped, DROPPED_SCHEMA)
    write_json(marker, {"schema_version": SCHEMA_VERSION, "source_ids": sorted(source_ids)})


def _write_parquet(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with publish(path) as temporary:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
