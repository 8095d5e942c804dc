"""Stage 2: every source becomes clips of one exact length, cut on its frame grid, and read back before they count.

Where clips begin is planned in ``_starts``, cuts of the film are found in ``_scenes``, and ``_verify`` reads each clip
back and compares it with its source. What differs is a failed clip with the numbers as its reason; it is not published.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench import media, parallel
from avbench.curate._starts import SLACK_S, Plan, plan
from avbench.curate._verify import Check, verify
from avbench.errors import EnvironmentFault, MediaError, UserError
from avbench.media import MediaInfo
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import SegmentRecipe, sha256
from avbench.schema import SCHEMA_VERSION, Clip
from avbench.workspace import Workspace, publish

STAGE = "segment"
METHOD = 3
"""Raised when the way of cutting changes the bytes of clips, so that clips of an older avbench are cut again."""

_MAX_OFFSET_S = 0.001


@dataclass(frozen=True)
class _Seen:
    """What a look at a source has shown.

    Attributes:
        reason: Why it gives no clips; empty where it does.
        planned: When they begin; None where nobody got that far.
        frame_starts_s: Times of its pictures, rising, seconds.
    """

    reason: str
    planned: Plan | None
    frame_starts_s: NDArray[np.float64]

    @property
    def starts_s(self) -> tuple[float, ...]:
        return () if self.reason or self.planned is None else self.planned.starts_s

    def told(self) -> _Seen:
        """The same without the times, of which a long source has millions."""
        return replace(self, frame_starts_s=np.empty(0))


@dataclass(frozen=True)
class _Job:
    """One source to cut, or what another worker has left of it.

    Attributes:
        source: `Source` fields from the download record.
        path: The raw file.
        params: Digest of what the clips depend on.
        seen: What is known of the file; None: nobody has looked.
        numbers: Of the clips to cut; None: all.
    """

    source: dict[str, Any]
    path: Path
    params: str
    seen: _Seen | None = None
    numbers: tuple[int, ...] | None = None

    @property
    def source_id(self) -> str:
        return str(self.source["source_id"])


@dataclass(frozen=True)
class _Cut:
    """What became of one job.

    Attributes:
        clips: By number.
        failed: Reasons by number.
        left: The rest of its clips, for workers that had nothing to do.
    """

    seen: _Seen
    clips: dict[int, Clip]
    failed: dict[int, str]
    left: tuple[_Job, ...] = ()


def segment(
    ws: Workspace,
    source_ids: Sequence[str],
    recipe: SegmentRecipe,
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> StageSummary:
    """Cut every downloaded source into clips. Finished sources and finished clips of an earlier run are not cut again.

    Args:
        ws: Folder of the dataset; the download stage has written its records there.
        source_ids: Which sources.
        recipe: How.
        workers: Processes; each takes a source, and a share of somebody else's when there are no more.
        reporter: Progress.

    Returns:
        Counts of sources. A source without sound or picture, or too short for one clip, is dropped; one that cannot be
        read, and a clip that does not read back exactly, is failed.

    Raises:
        EnvironmentFault: The disk is full, or there is no ffmpeg.
    """
    start = time.monotonic()
    summary = StageSummary(STAGE)
    jobs = []
    for source_id in source_ids:
        try:
            job = _job(ws, source_id, recipe)
        except UserError as error:
            summary.failed[source_id] = str(error)
            continue
        record = ws.record(STAGE, source_id)
        if record is not None and _is_finished(ws, record, job.params):
            summary.already += record["status"] == "done"
            _count(summary, record)
        else:
            jobs.append(job)
    media.ffmpeg_path()  # without it every source would fail by itself
    outcomes = parallel.run(
        partial(_cut_source, ws, recipe),
        jobs,
        item_id=_id_of,
        workers=workers,
        reporter=reporter,
        description=STAGE,
        sharing=parallel.Sharing(left=lambda cut: cut.left, joined=_joined),
    )
    by_source = {job.source_id: job for job in jobs}
    for outcome in outcomes:
        job = by_source[outcome.item_id]
        record = _failed(job, outcome.error) if outcome.value is None else _record_of(ws, job, outcome.value)
        ws.write_record(STAGE, job.source_id, record)
        summary.done += record["status"] == "done"
        _count(summary, record)
    summary.seconds = time.monotonic() - start
    return summary


def params_of(raw_sha256: str, recipe: SegmentRecipe) -> str:
    """Digest of what the clips of a source depend on: its bytes, the recipe, the way of cutting."""
    return sha256({"method": METHOD, "raw_sha256": raw_sha256, "recipe": recipe.model_dump(mode="json")})


def _id_of(job: _Job) -> str:
    return job.source_id


def _job(ws: Workspace, source_id: str, recipe: SegmentRecipe) -> _Job:
    """The work on one source.

    Raises:
        UserError: It has not been downloaded.
    """
    record = ws.record("download", source_id)
    if record is None:
        raise UserError("not downloaded yet; run `avbench download` first")
    if record["status"] != "done":
        raise UserError(f"not downloaded: {record['error']}")
    if not {"source", "file", "sha256"} <= record.keys():
        raise UserError(f"{ws.record_path('download', source_id)}: damaged; delete it and run `avbench download` again")
    return _Job(record["source"], ws.raw / record["file"], params_of(record["sha256"], recipe))


def _is_finished(ws: Workspace, record: dict[str, Any], params: str) -> bool:
    if record["params"] != params or record["status"] == "failed":
        return False
    return all((ws.clips / clip["file"]).is_file() for clip in record["clips"])


def _count(summary: StageSummary, record: dict[str, Any]) -> None:
    """Enter the drops and failures of a source into the summary, those of an earlier run too."""
    if record["status"] == "dropped":
        summary.dropped[record["source_id"]] = record["reason"]
    elif record["status"] == "failed":
        summary.failed[record["source_id"]] = record["reason"]
    summary.failed.update(record["failed_clips"])


def _record(
    source_id: str,
    params: str,
    status: str,
    *,
    clips: Sequence[Clip] = (),
    reason: str = "",
    failed_clips: dict[str, str] | None = None,
    planned: Plan | None = None,
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "source_id": source_id,
        "status": status,
        "clips": [asdict(clip) for clip in clips],
        "reason": reason,
        "failed_clips": failed_clips or {},
        "params": params,
        "scenes": planned.n_scenes if planned else 0,
        "short_scenes_s": round(planned.short_scenes_s, 6) if planned else 0.0,
        "unused_s": round(planned.unused_s, 6) if planned else 0.0,
    }


def _cut_source(ws: Workspace, recipe: SegmentRecipe, job: _Job) -> _Cut:
    """Cut one source; where workers wait for work, stop and share out what is left of it."""
    if not job.path.is_file():
        raise MediaError(f"{job.path}: the downloaded file is gone; run `avbench download` again")
    seen = job.seen or _look_at(job, recipe)
    numbers = tuple(range(len(seen.starts_s))) if job.numbers is None else job.numbers
    clips: dict[int, Clip] = {}
    failed: dict[int, str] = {}
    with media.Reel() as reel:
        for place, number in enumerate(numbers):
            if shares := parallel.shares_for_idle(numbers[place:]):
                rest = tuple(replace(job, seen=seen, numbers=share) for share in shares)
                return _Cut(seen.told(), clips, failed, rest)
            clip_id, start_s = f"{job.source_id}_{number:04d}", seen.starts_s[number]
            try:
                clips[number] = _clip(ws, recipe, job, clip_id, start_s, seen.frame_starts_s, reel)
            except EnvironmentFault:
                raise
            except UserError as error:
                failed[number] = str(error)
    return _Cut(seen.told(), clips, failed)


def _look_at(job: _Job, recipe: SegmentRecipe) -> _Seen:
    info, frame_starts_s = media.timeline(job.path)
    reason = _drop_reason(info, recipe)
    if reason:
        return _Seen(reason, None, frame_starts_s)
    cuts_s = None
    if recipe.mode == "scenes":
        from avbench.curate import _scenes  # PySceneDetect is loaded where a recipe asks for it

        cuts_s = _scenes.cuts(job.path, info.fps, recipe)
    planned = plan(frame_starts_s, min(info.video_end_s, info.audio_end_s), recipe, cuts_s)
    if not planned.starts_s:
        reason = _too_short(info, recipe) if cuts_s is None else _no_long_scene(planned, recipe)
    return _Seen(reason, planned, frame_starts_s)


def _joined(one: _Cut, other: _Cut) -> _Cut:
    return _Cut(one.seen, one.clips | other.clips, one.failed | other.failed)


def _record_of(ws: Workspace, job: _Job, cut: _Cut) -> dict[str, Any]:
    """The ledger record of a source whose clips are all cut."""
    seen = cut.seen
    clips = [clip for _, clip in sorted(cut.clips.items())]
    failed = dict(sorted(cut.failed.items()))
    _remove_others(ws, job.source_id, {clip.file for clip in clips})
    planned = seen.planned
    if seen.reason:
        return _record(job.source_id, job.params, "dropped", reason=seen.reason, planned=planned)
    failed_clips = {f"{job.source_id}_{number:04d}": error for number, error in failed.items()}
    if failed and not clips:
        first = next(iter(failed.values()))
        reason = f"none of its {len(failed)} clips is whole: {first}"
        return _record(job.source_id, job.params, "failed", reason=reason, planned=planned)
    return _record(job.source_id, job.params, "done", clips=clips, failed_clips=failed_clips, planned=planned)


def _failed(job: _Job, reason: str) -> dict[str, Any]:
    return _record(job.source_id, job.params, "failed", reason=reason)


def _drop_reason(info: MediaInfo, recipe: SegmentRecipe) -> str:
    if not info.has_video:
        return "no picture"
    if not info.has_audio:
        return "no sound"
    needed = recipe.lead_s + recipe.clip_s
    return _too_short(info, recipe) if min(info.video_end_s, info.audio_end_s) + SLACK_S < needed else ""


def _too_short(info: MediaInfo, recipe: SegmentRecipe) -> str:
    usable = min(info.video_end_s, info.audio_end_s)
    return (
        f"too short: {usable:.3f} s with picture and sound, {recipe.lead_s + recipe.clip_s:g} s needed "
        f"(lead {recipe.lead_s:g} s + clip {recipe.clip_s:g} s)"
    )


def _no_long_scene(planned: Plan, recipe: SegmentRecipe) -> str:
    return (
        f"no scene of {recipe.clip_s:g} s: {planned.n_scenes} scenes after the lead of {recipe.lead_s:g} s, the "
        f"longest {planned.longest_scene_s:.3f} s"
    )


def _clip(
    ws: Workspace,
    recipe: SegmentRecipe,
    job: _Job,
    clip_id: str,
    start_s: float,
    frame_starts_s: NDArray[np.float64],
    reel: media.Reel,
) -> Clip:
    """Cut, read back and publish one clip; one that an earlier run has published is only read back."""
    path = ws.clips / f"{clip_id}.mp4"
    note = {"clip_id": clip_id, "params": job.params}
    t0 = _finished_start(path, note, start_s)
    check: Check | None = None
    if t0 is not None:
        try:
            check = verify(path, recipe, job.path, t0, frame_starts_s)
        except MediaError:
            check = None  # damaged since: it is cut again
    if t0 is None or check is None:
        with publish(path) as temporary:
            t0 = media.cut(job.path, temporary, start_s, recipe, note=note, reel=reel)
            check = verify(temporary, recipe, job.path, t0, frame_starts_s, name=path.name)
    return Clip(
        clip_id=clip_id,
        source_id=job.source_id,
        group=job.source["group"],
        start_s=t0,
        clip_s=recipe.clip_s,
        fps=recipe.fps,
        width=recipe.width,
        height=recipe.height,
        sample_rate_hz=recipe.sample_rate_hz,
        channels=recipe.channels,
        file=path.name,
        licence=job.source["licence"],
        **asdict(check),
    )


def _finished_start(path: Path, note: dict[str, str], start_s: float) -> float | None:
    """Start of the clip an earlier run published here with the same parameters, or None.

    Its comment tag says what it was made from.
    """
    if not path.is_file():
        return None
    try:
        tag = json.loads(media.probe(path).comment)
    except (MediaError, json.JSONDecodeError):
        return None
    same = all(tag.get(key) == value for key, value in note.items())
    return float(tag["start_s"]) if same and abs(tag["start_s"] - start_s) < _MAX_OFFSET_S else None


def _remove_others(ws: Workspace, source_id: str, files: set[str]) -> None:
    """Remove clips that another recipe, or a run that was cut off, left of this source."""
    pattern = re.compile(rf"(\.tmp-\d+-)*{re.escape(source_id)}_\d{{4,}}\.mp4")
    for path in ws.clips.glob("*.mp4") if ws.clips.is_dir() else ():
        if pattern.fullmatch(path.name) and path.name not in files:
            path.unlink()
