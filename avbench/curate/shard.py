"""Stage 4: kept clips become the dataset, split by source group, in WebDataset tars with an index.

Everything is made in ``work/shards.new`` and takes the place of ``shards/`` as a whole, ``DATASET.json`` inside. So a
dataset that was there stays until the new one is finished, and after a kill the same command goes on and ends with the
same bytes: finished shards are kept, whichever build made them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from avbench import parallel
from avbench.curate import _pack, _splits
from avbench.curate._pack import PackedClip, ShardPlan, ShardRecord, View
from avbench.curate._tar import MAX_NAME
from avbench.dataset import CARD_NAME, INDEX_NAME
from avbench.errors import UserError
from avbench.filters._base import resolved
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import DatasetRecipe, sha256
from avbench.schema import SCHEMA_VERSION
from avbench.workspace import Workspace, file_sha256, publish, read_json, write_json

STAGE = _pack.STAGE

INDEX_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "source_id", "group", "split")]
    + [(name, pa.float64()) for name in ("start_s", "clip_s", "fps")]
    + [(name, pa.int64()) for name in ("width", "height", "sample_rate_hz", "channels")]
    + [("verdict", pa.string())]
    + [(name, pa.float64()) for name in ("lag_s", "picture_psnr_db", "av_offset_s", "raw_av_offset_s")]
    + [("licence", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64()), ("shard", pa.string())]
    + [("view_frames", pa.int64()), ("view_size", pa.int64()), ("view_fps", pa.float64())]
    + [(name, pa.int64()) for name in ("view_samples", "view_sample_rate_hz", "video_offset", "audio_offset")]
)
"""Columns of ``index.parquet``; then one float column ``filter_<name>`` per filter. ``sha256`` and ``bytes`` are the
mp4's, offsets are those of the raw arrays in the tar, and ``group`` is the source where the manifest names none."""


def shard(
    ws: Workspace,
    name: str,
    card: dict[str, Any],
    recipe: DatasetRecipe,
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Pack the kept clips of ``ws`` into ``shards/``.

    Args:
        ws: Folder of the dataset; the filter stage has written its tables there.
        name: Name of the dataset.
        card: What its manifest says of it (``version``, ``licence``, ...); goes into ``DATASET.json``.
        recipe: Sizes, shares and training view.
        workers: Processes that decode training views.
        reporter: Where progress goes.

    Returns:
        Counts in clips: ``done`` packed now, ``already`` in a shard of an earlier run; failures by clip id.

    Raises:
        UserError: The filter stage has not finished, or no clip is left to pack.
        EnvironmentFault: The run cannot go on.
    """
    start = time.monotonic()
    build = _Build(ws, recipe.model_copy(update={"filters": resolved(recipe.filters)}), workers, reporter)
    build.recover()
    clips = build.clips()
    plans = build.plan(clips)
    build.make(plans)
    if not any(record.offsets for record in build.records.values()):
        raise UserError(f"{ws.root}: no clip is left to pack ({build.why_nothing()})")
    build.publish({**card, "name": name}, plans)
    build.summary.seconds = time.monotonic() - start
    return build.summary


@dataclass
class _Build:
    """One run of the stage.

    Attributes:
        records: Shards of this dataset that are made, by file name.
        reused: True while every shard stands in the published folder already.
    """

    ws: Workspace
    recipe: DatasetRecipe
    workers: int
    reporter: Reporter
    summary: StageSummary = field(default_factory=lambda: StageSummary(STAGE))
    records: dict[str, ShardRecord] = field(default_factory=dict)
    reused: bool = True

    @property
    def staging(self) -> Path:
        return self.ws.root / "work" / "shards.new"

    @property
    def retired(self) -> Path:
        return self.ws.root / "work" / "shards.old"

    def recover(self) -> None:
        """Undo a swap that was cut off between its two renames, or finish one that was cut off after them."""
        if self.retired.exists() and not self.ws.shards.exists():
            os.replace(self.retired, self.ws.shards)
        shutil.rmtree(self.retired, ignore_errors=True)

    def source_ids(self) -> list[str]:
        """Sources the filter stage's tables are about."""
        marker = self.ws.kept.with_name("filter.json")
        if not marker.is_file():
            raise UserError(f"{self.ws.root}: its clips are not filtered yet; run `avbench filter` first")
        return list(read_json(marker)["source_ids"])

    def clips(self) -> list[PackedClip]:
        """The kept clips with their digest, group and view; those whose file is gone are failures."""
        self.source_ids()
        rows = parquet.read_table(self.ws.kept).to_pylist()
        _check_ids(rows)
        views = {clip_s: View.of(self.recipe.view, clip_s) for clip_s in {row["clip_s"] for row in rows}}
        splits = self._assign(rows)
        digests = self._digests(rows)
        found = []
        for row in rows:
            path = self.ws.clips / row["file"]
            if row["clip_id"] in digests:
                digest, size = digests[row["clip_id"]]
                group, view = _group(row), views[row["clip_s"]]
                told = {key: value for key, value in row.items() if key != "file"}
                told |= {"group": group, "split": splits[group], "sha256": digest, "bytes": size, **view.columns()}
                found.append(PackedClip(told, path, view))
        return found

    def _assign(self, rows: list[dict[str, Any]]) -> dict[str, str]:
        """Split of each group; all kept clips count, so that a failure does not move the others."""
        durations: dict[str, float] = {}
        for row in rows:
            durations[_group(row)] = durations.get(_group(row), 0.0) + row["clip_s"]
        shares = {split: getattr(self.recipe.shard, split) for split in _splits.SPLITS}
        splits = _splits.assign(durations, shares, self.recipe.shard.seed)
        empty = [split for split, share in shares.items() if share > 0 and split not in splits.values()]
        if rows and empty:
            self.reporter.warn(
                f"no clips in {' and '.join(empty)}: {len(durations)} source groups cannot fill every split, and a "
                f"group is never divided"
            )
        return splits

    def _digests(self, rows: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
        """sha256 and size of every clip by clip id."""
        found = {}
        files = [(row["clip_id"], self.ws.clips / row["file"]) for row in rows]
        for outcome in parallel.run(_digest, files, item_id=lambda item: item[0], description="hash"):
            if outcome.value is None:
                self.summary.failed[outcome.item_id] = outcome.error
            else:
                found[outcome.item_id] = outcome.value
        return found

    def plan(self, clips: Sequence[PackedClip]) -> list[ShardPlan]:
        """What every shard will hold."""
        plans: list[ShardPlan] = []
        for split in _splits.SPLITS:
            plans += _pack.plan(split, [clip for clip in clips if clip.row["split"] == split], self.recipe.shard)
        return plans

    def make(self, plans: Sequence[ShardPlan]) -> None:
        """Take over the shards that are made already and build the others."""
        open_plans = []
        for wanted in plans:
            record = self._take_over(wanted)
            if record is None:
                open_plans.append(wanted)
            else:
                self.records[wanted.file] = record
                self.summary.already += len(record.offsets)
        made = _pack.build(self.ws, open_plans, self.staging, workers=self.workers, reporter=self.reporter)
        for record in made:
            self.ws.write_record(STAGE, Path(record.file).stem, {"schema_version": SCHEMA_VERSION, **asdict(record)})
            self.records[record.file] = record
            self.summary.done += len(record.offsets)
            self.summary.failed |= record.failed
            self.reused = False

    def _take_over(self, wanted: ShardPlan) -> ShardRecord | None:
        """The record of a shard that was made from the same plan, its file in the staging folder; else None."""
        stored = self.ws.record(STAGE, Path(wanted.file).stem)
        if stored is None or stored["params"] != wanted.params or stored["failed"]:
            return None
        record = ShardRecord(**{key: value for key, value in stored.items() if key != "schema_version"})
        published, staged = self.ws.shards / record.file, self.staging / record.file
        if self._published().get(record.file) == record.sha256 and _has_size(published, record.bytes):
            _link(published, staged)
            return record
        self.reused = False
        return record if _has_size(staged, record.bytes) and file_sha256(staged) == record.sha256 else None

    def _published(self) -> dict[str, str]:
        """sha256 by file of the shards of the dataset that is published now, whichever recipe made it."""
        card = self.ws.shards / CARD_NAME
        return {entry["file"]: entry["sha256"] for entry in read_json(card)["shards"]} if card.is_file() else {}

    def publish(self, card: dict[str, Any], plans: Sequence[ShardPlan]) -> None:
        """Write index and ``DATASET.json`` beside the shards, and put them in the place of ``shards/``."""
        filled = [record for plan in plans if (record := self.records[plan.file]).offsets]
        rows = _index_rows(plans, self.records)
        _write_index(self.staging / INDEX_NAME, rows, [spec.name for spec in self.recipe.filters])
        write_json(self.staging / CARD_NAME, self._card(card, rows, filled))
        wanted = {CARD_NAME, INDEX_NAME, *(record.file for record in filled)}
        for path in self.staging.iterdir():
            if path.name not in wanted:
                path.unlink()
        old = self.ws.shards / CARD_NAME
        if self.reused and old.is_file() and old.read_bytes() == (self.staging / CARD_NAME).read_bytes():
            shutil.rmtree(self.staging)
        else:
            self._swap()
        _pack.clear_views(self.ws)

    def _swap(self) -> None:
        if self.ws.shards.exists():
            os.replace(self.ws.shards, self.retired)
        os.replace(self.staging, self.ws.shards)
        shutil.rmtree(self.retired, ignore_errors=True)

    def _card(self, card: dict[str, Any], rows: list[dict[str, Any]], filled: list[ShardRecord]) -> dict[str, Any]:
        """``DATASET.json``. ``dataset_sha256`` names the data alone: index and shards."""
        recipe = self.recipe.model_dump(mode="json")
        index_sha256 = file_sha256(self.staging / INDEX_NAME)
        shards = [{"file": r.file, "bytes": r.bytes, "sha256": r.sha256, "clips": len(r.offsets)} for r in filled]
        data = {"index": index_sha256, "shards": {entry["file"]: entry["sha256"] for entry in shards}}
        return {
            **{"version": "", "licence": ""},
            **card,
            "schema_version": SCHEMA_VERSION,
            "recipe": recipe,
            "recipe_sha256": sha256(recipe),
            "splits": {split: _split_card(split, rows) for split in _splits.SPLITS},
            "dropped": self.dropped(),
            "failed": self.failed(),
            "shards": shards,
            "index_sha256": index_sha256,
            "dataset_sha256": sha256(data),
        }

    def dropped(self) -> dict[str, int]:
        """Counts by reason: clips by the first filter that dropped them, sources by what the segment stage said."""
        rows = parquet.read_table(self.ws.dropped).to_pylist()
        first = {row["clip_id"]: row["filter"] for row in reversed(rows)}
        counts = Counter(f"clips: {name}" for name in first.values())
        reasons = {}
        for source_id in self.source_ids():
            record = self.ws.record("segment", source_id)
            if record and record["status"] == "dropped":
                reasons[source_id] = f"sources: {record['reason']}"
        counts += self.summary.reasons(reasons)
        return dict(sorted(counts.items()))

    def failed(self) -> dict[str, str]:
        """Reason by source id (download, segment) or clip id (filter, shard)."""
        found: dict[str, str] = {}
        for source_id in self.source_ids():
            download, segment = self.ws.record("download", source_id), self.ws.record("segment", source_id)
            if download and download["status"] == "failed":
                found[source_id] = download["error"]
            elif segment and segment["status"] == "failed":
                found[source_id] = segment["reason"]
            found |= (segment or {}).get("failed_clips", {})
            judged = self.ws.record("filter", source_id)
            found |= {entry["clip"]["clip_id"]: entry["error"] for entry in (judged or {"clips": []})["clips"]}
        found |= self.summary.failed
        # names inside the dataset folder, so that two builds of the same data in two folders are the same bytes
        return {item: found[item].replace(f"{self.ws.root}/", "") for item in sorted(found) if found[item]}

    def why_nothing(self) -> str:
        """Why there is no clip, in one phrase."""
        failed = self.failed()
        parts = [f"{count} {reason}" for reason, count in self.dropped().items()]
        if failed:
            item, reason = next(iter(failed.items()))
            parts.append(f"{len(failed)} failed, such as {item}: {reason}")
        return "; ".join(parts) or "no source gave a clip; run `avbench download` and `avbench segment` first"


def _group(row: dict[str, Any]) -> str:
    return str(row["group"] or row["source_id"])


def _check_ids(rows: Sequence[dict[str, Any]]) -> None:
    longest = MAX_NAME - len(".video.npy")
    for row in rows:
        if len(row["clip_id"]) > longest:
            raise UserError(
                f"the clip id {row['clip_id']!r} is longer than the {longest} characters a tar can name; "
                f"shorten the id of the source {row['source_id']!r}"
            )


def _digest(item: tuple[str, Path]) -> tuple[str, int]:
    return file_sha256(item[1]), item[1].stat().st_size


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _link(source: Path, dest: Path) -> None:
    """Give a file a second name, or a copy where the disk knows no links."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    dest.unlink(missing_ok=True)
    try:
        os.link(source, dest)
    except OSError:
        with publish(dest) as temporary:
            shutil.copyfile(source, temporary)


def _index_rows(plans: Sequence[ShardPlan], records: dict[str, ShardRecord]) -> list[dict[str, Any]]:
    """One row per packed clip, sorted by split and clip id."""
    rows = []
    for plan in plans:
        offsets = records[plan.file].offsets
        for clip in plan.clips:
            if clip.clip_id in offsets:
                video, audio = offsets[clip.clip_id]
                rows.append({**clip.row, "shard": plan.file, "video_offset": video, "audio_offset": audio})
    return sorted(rows, key=lambda row: (row["split"], row["clip_id"]))


def _write_index(path: Path, rows: list[dict[str, Any]], filters: Sequence[str]) -> None:
    schema = pa.schema([*INDEX_SCHEMA, *(pa.field(f"filter_{name}", pa.float64()) for name in filters)])
    with publish(path) as temporary:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def _split_card(split: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    held = [row for row in rows if row["split"] == split]
    return {
        "clips": len(held),
        "sources": len({row["source_id"] for row in held}),
        "hours": round(sum(row["clip_s"] for row in held) / 3600, 6),
    }
