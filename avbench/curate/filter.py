"""Stage 3: every filter of the recipe judges every clip, and the verdicts become two tables.

A clip that a filter does not want is a drop, with the filter, the measured value and the reason. A clip that cannot be
decoded is a failure, which is not a drop, and is tried again by the next run. All filters judge a clip even after the
first drop, so that thresholds can be studied without decoding again: what was measured once is measured again only
when the clip or the way of measuring has changed.

Clips that repeat another source (`avbench.filters.duplicate`) are found when the tables are written, among those that
every other filter keeps. ``work/groups.json`` then says which sources must share a split, ``work/alike.parquet`` why.
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
from avbench.curate import _duplicates, _views
from avbench.curate._views import View
from avbench.errors import UserError
from avbench.filters import _base, _signals, duplicate
from avbench.filters._base import BaseFilter, ClipFilter, DatasetFilter
from avbench.filters._signals import ClipSignals
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import FilterSpec, ViewRecipe, sha256
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
    view: ViewRecipe | None = None,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Judge the clips of ``source_ids`` and write ``work/kept.parquet`` and ``work/dropped.parquet``.

    Where the recipe has ``duplicate``: also ``work/alike.parquet`` and, if sources were joined, ``work/groups.json``.
    ``work/filter.json``, written last, names the sources the tables are about; without it they are not whole.

    Args:
        ws: Folder of the dataset; the segment stage has written its records there.
        source_ids: Sources of the dataset, in the order of the manifest: of two that repeat each other the first is
            kept. Those that gave no clips are passed over.
        specs: Filters of the recipe.
        view: Training view to make on the way of the clips that are kept; None leaves all views to the shard stage.
        workers: Processes.
        reporter: Where progress goes.

    Returns:
        Counts in clips: ``done`` judged now, ``already`` judged before; every drop and failure by clip id.

    Raises:
        UserError: An unknown filter or threshold, or a view that does not fit the clips.
        EnvironmentFault: The run cannot go on.
    """
    start = time.monotonic()
    filters = _base.load(specs)
    summary, jobs = _judge(ws, source_ids, filters, view, workers, reporter)
    judged = [job for job in jobs if job.source_id not in summary.failed]
    _write_tables(ws, source_ids, judged, filters, summary, reporter)
    summary.seconds = time.monotonic() - start
    return summary


def judge(
    ws: Workspace,
    source_ids: Sequence[str],
    specs: Sequence[FilterSpec],
    *,
    view: ViewRecipe | None = None,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Judge the clips of ``source_ids`` and write their ledger records alone: what one of several workers does.

    Args and errors are those of `filter_clips`, which finds the work done and writes the tables.
    """
    start = time.monotonic()
    summary, _ = _judge(ws, source_ids, _base.load(specs), view, workers, reporter)
    summary.seconds = time.monotonic() - start
    return summary


def _judge(
    ws: Workspace,
    source_ids: Sequence[str],
    filters: Sequence[BaseFilter],
    view: ViewRecipe | None,
    workers: int,
    reporter: Reporter,
) -> tuple[StageSummary, list[_Job]]:
    """Judge what no earlier run has judged; returns the counts and what there was to judge."""
    summary = StageSummary(STAGE)
    jobs = [job for source_id in source_ids if (job := _plan(ws, source_id, filters))]
    summary.already = sum(len(job.judged) for job in jobs)
    open_jobs = [job for job in jobs if len(job.judged) < len(job.clips)]
    if open_jobs:
        _base.check_weights(filters)
    if view is not None:
        for clip_s in {clip["clip_s"] for job in open_jobs for clip in job.clips}:
            View.of(view, clip_s)
    outcomes = parallel.run(
        partial(_judge_clips, ws=ws, filters=filters, view=view),
        [_Part(job, tuple(clip for clip in job.clips if clip["clip_id"] not in job.judged)) for job in open_jobs],
        item_id=lambda part: part.job.source_id,
        workers=workers,
        reporter=reporter,
        description="filter",
        sharing=parallel.Sharing(
            left=lambda done: done.left, joined=lambda one, other: _Judged(one.entries | other.entries)
        ),
    )
    by_source = {job.source_id: job for job in open_jobs}
    for outcome in outcomes:
        job = by_source[outcome.item_id]
        if outcome.value is None:
            summary.failed[job.source_id] = outcome.error
            continue
        _write_record(ws, job, job.judged | outcome.value.entries)
        summary.done += sum(not entry["error"] for entry in outcome.value.entries.values())
    return summary, jobs


@dataclass(frozen=True)
class _Job:
    """The clips of one source.

    Attributes:
        source_id: The source.
        clips: Fields of each clip.
        params: Digest of all that the verdicts depend on.
        measures: Digest of all that a measured value depends on, by filter.
        judged: Entries of an earlier run that stand, by clip id.
        measured: Entries of an earlier run whose thresholds were others, by clip id: values and prints of the filters
            that still measure so.
    """

    source_id: str
    clips: tuple[dict[str, Any], ...]
    params: str
    measures: dict[str, str]
    judged: dict[str, dict[str, Any]]
    measured: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Part:
    """Clips of a source for one worker to judge."""

    job: _Job
    clips: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Judged:
    """What became of them.

    Attributes:
        entries: Of the ledger record, by clip id.
        left: The rest, for workers that had nothing to do.
    """

    entries: dict[str, dict[str, Any]]
    left: tuple[_Part, ...] = ()


def _plan(ws: Workspace, source_id: str, filters: Sequence[BaseFilter]) -> _Job | None:
    """What is to do for one source; None when it gave no clips."""
    segment = ws.record("segment", source_id)
    if segment is None or segment["status"] != "done":
        return None
    seen = {
        "schema_version": SCHEMA_VERSION,
        "segment": segment["params"],
        "clips": segment["clips"],
        "signals": [_signals.FRAME_WIDTH, _signals.FRAME_RATE_FPS, _signals.N_STILLS],
    }
    measures = {filter_.name: sha256({**seen, "filter": _measure_options(filter_)}) for filter_ in filters}
    thresholds = [(f.name, f.model_dump() if isinstance(f, ClipFilter) else {}) for f in filters]
    params = sha256({**seen, "measures": measures, "thresholds": thresholds})
    record = ws.record(STAGE, source_id) or {"params": "", "clips": []}
    entries = {entry["clip"]["clip_id"]: entry for entry in record["clips"] if not entry["error"]}
    if record["params"] == params:
        return _Job(source_id, tuple(segment["clips"]), params, measures, entries, {})
    stored = record.get("measures", {})
    same = {name for name, digest in measures.items() if stored.get(name) == digest}
    known = {clip_id: _known(entry, same) for clip_id, entry in entries.items()}
    return _Job(source_id, tuple(segment["clips"]), params, measures, {}, known)


def _measure_options(filter_: BaseFilter) -> dict[str, Any]:
    """What a filter's measured value depends on beside the clip."""
    options = filter_.model_dump(exclude=set(filter_.limits)) if isinstance(filter_, ClipFilter) else {}
    return {"name": filter_.name, "version": filter_.version, **options}


def _known(entry: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Measured values, and prints, of the filters ``names``."""
    known: dict[str, Any] = {told["filter"]: told["value"] for told in entry["verdicts"] if told["filter"] in names}
    return known | {name: prints for name, prints in entry["prints"].items() if name in names}


def _judge_clips(part: _Part, ws: Workspace, filters: Sequence[BaseFilter], view: ViewRecipe | None) -> _Judged:
    """Judge clips of one source; where workers wait for work, stop and share out what is left."""
    entries: dict[str, dict[str, Any]] = {}
    for place, clip in enumerate(part.clips):
        if shares := parallel.shares_for_idle(part.clips[place:]):
            return _Judged(entries, tuple(_Part(part.job, share) for share in shares))
        known = part.job.measured.get(clip["clip_id"], {})
        work = partial(_judge_clip, ws=ws, filters=filters, view=view, known=known)
        outcome = parallel.attempt(work, clip, clip["clip_id"])
        entries[clip["clip_id"]] = {
            "clip": clip,
            "error": outcome.error,
            **(outcome.value or {"verdicts": [], "prints": {}}),
        }
    return _Judged(entries)


def _write_record(ws: Workspace, job: _Job, entries: dict[str, dict[str, Any]]) -> None:
    """The ledger record of a source whose clips are all judged."""
    in_order = [entries[clip["clip_id"]] for clip in job.clips]
    record = {"schema_version": SCHEMA_VERSION, "source_id": job.source_id, "clips": in_order}
    ws.write_record(STAGE, job.source_id, {**record, "params": job.params, "measures": job.measures})


def _judge_clip(
    clip: dict[str, Any],
    ws: Workspace,
    filters: Sequence[BaseFilter],
    view: ViewRecipe | None,
    known: dict[str, Any],
) -> dict[str, Any]:
    """Verdicts and prints of all filters on one clip, from one decode of it, or none where all values are known.

    That decode also gives the training view of a clip that is kept.
    """
    path = ws.clips / clip["file"]
    wanted = View.of(view, clip["clip_s"]) if view is not None else None
    decoded: list[ClipSignals] = []

    def signals() -> ClipSignals:
        if not decoded:
            decoded.append(ClipSignals.decode(path, wanted.grid if wanted else None))
        return decoded[0]

    verdicts, prints = [], {}
    if not filters:
        signals()  # a clip that cannot be decoded is a failure all the same
    for filter_ in filters:
        if isinstance(filter_, ClipFilter):
            value = known[filter_.name] if filter_.name in known else filter_.measure(signals())
            verdicts.append(asdict(filter_.verdict(value, filter_.reason(value))))
        elif isinstance(filter_, DatasetFilter):
            prints[filter_.name] = known[filter_.name] if filter_.name in known else filter_.measure(signals())
    if wanted and decoded and decoded[0].extra is not None and all(verdict["keep"] for verdict in verdicts):
        _views.make_ahead(ws, clip["clip_id"], path, wanted, decoded[0].extra)
    return {"verdicts": verdicts, "prints": prints}


def _entries(ws: Workspace, jobs: Sequence[_Job]) -> list[dict[str, Any]]:
    """Every judged clip of ``jobs`` as the ledger has it now, in the order of the manifest."""
    entries: list[dict[str, Any]] = []
    for job in jobs:
        record = ws.record(STAGE, job.source_id)
        entries += record["clips"] if record else []
    return entries


def _write_tables(
    ws: Workspace,
    source_ids: Sequence[str],
    jobs: Sequence[_Job],
    filters: Sequence[BaseFilter],
    summary: StageSummary,
    reporter: Reporter,
) -> None:
    """Fold the ledger into the tables; `summary` gets the drops and failures."""
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    entries = _entries(ws, jobs)
    repeats = _repeats(entries, filters, reporter)
    for entry in sorted(entries, key=lambda entry: str(entry["clip"]["clip_id"])):
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
    _write_repeats(ws, repeats)
    write_json(marker, {"schema_version": SCHEMA_VERSION, "source_ids": sorted(source_ids)})


def _repeats(
    entries: Sequence[dict[str, Any]], filters: Sequence[BaseFilter], reporter: Reporter
) -> _duplicates.Repeats | None:
    """Compare what the other filters keep, and give it a verdict more; None where the recipe does not ask for it."""
    filter_ = next((filter_ for filter_ in filters if isinstance(filter_, duplicate.Filter)), None)
    if filter_ is None:
        return None
    sound = [entry for entry in entries if not entry["error"] and all(told["keep"] for told in entry["verdicts"])]
    try:
        prints = [entry["prints"][filter_.name] for entry in sound]
        repeats = _duplicates.compare(filter_, [entry["clip"] for entry in sound], prints, reporter)
    except (LookupError, TypeError, ValueError) as error:
        why = f"a fingerprint in it is damaged ({error!r})"
        raise UserError(f"work/ledger/filter: {why}; delete that folder and run the filter again") from error
    for entry in sound:
        entry["verdicts"].append(asdict(repeats.verdicts[entry["clip"]["clip_id"]]))
    return repeats


def _write_repeats(ws: Workspace, repeats: _duplicates.Repeats | None) -> None:
    """Write which clips are alike and which sources belong together, or remove what an earlier recipe has found."""
    alike, groups = ws.kept.with_name("alike.parquet"), ws.kept.with_name("groups.json")
    if repeats is None:
        alike.unlink(missing_ok=True)
    else:
        _write_parquet(alike, repeats.pairs, _duplicates.PAIRS_SCHEMA)
    if repeats is None or not repeats.groups:
        groups.unlink(missing_ok=True)
    else:
        write_json(groups, repeats.groups)


def _write_parquet(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with publish(path) as temporary:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
