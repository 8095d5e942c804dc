"""Stage 2: every source becomes clips of one exact length, cut on its frame grid, and read back before they count.

Clip k of a source is asked for at ``lead_s + k * step_s`` and begins at the first source frame from there on. Where
clips follow each other without overlap, a clip never begins before the one before it has ended, so that no two clips
share a frame even where the source's frame rate does not divide the clip length.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench import media, parallel
from avbench.errors import EnvironmentFault, MediaError, UserError
from avbench.media import MediaInfo
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import SegmentRecipe, sha256
from avbench.schema import SCHEMA_VERSION, Clip
from avbench.workspace import Workspace, publish

STAGE = "segment"
METHOD = 1
"""Raised when the way of cutting changes the bytes of clips, so that clips of an older avbench are cut again."""

# A clip may reach this far beyond the end of its source; silence or the last picture fills it (see media.cut).
_SLACK_S = 0.010
_MAX_OFFSET_S = 0.001


@dataclass(frozen=True)
class _Job:
    """One source to cut.

    Attributes:
        source: `Source` fields from the download record.
        path: The raw file.
        params: Digest of what the clips depend on.
    """

    source: dict[str, Any]
    path: Path
    params: str

    @property
    def source_id(self) -> str:
        return str(self.source["source_id"])


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
        workers: Processes; one source is one unit of work.
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
        partial(_segment_source, ws, recipe),
        jobs,
        item_id=_id_of,
        workers=workers,
        reporter=reporter,
        description=STAGE,
    )
    params = {job.source_id: job.params for job in jobs}
    for outcome in outcomes:
        record = outcome.value or _record(outcome.item_id, params[outcome.item_id], "failed", reason=outcome.error)
        ws.write_record(STAGE, outcome.item_id, record)
        summary.done += record["status"] == "done"
        _count(summary, record)
    summary.seconds = time.monotonic() - start
    return summary


def params_of(raw_sha256: str, recipe: SegmentRecipe) -> str:
    """Digest of what the clips of a source depend on: its bytes, the recipe, the way of cutting."""
    return sha256({"method": METHOD, "raw_sha256": raw_sha256, "recipe": recipe.model_dump(mode="json")})


def clip_starts(frame_starts_s: NDArray[np.float64], end_s: float, recipe: SegmentRecipe) -> list[float]:
    """When the clips of a source begin.

    Args:
        frame_starts_s: Times of its pictures, rising, seconds.
        end_s: End of its usable part: picture or sound, whichever ends first.
        recipe: Lead, length, step.

    Returns:
        Times of first frames, seconds: ``[t, t + clip_s)`` lies inside the usable part for each of them.
    """
    starts: list[float] = []
    half_gap = float(np.median(np.diff(frame_starts_s))) / 2 if len(frame_starts_s) > 1 else 0.0
    rounding = min(_MAX_OFFSET_S / 2, half_gap)
    while True:
        wanted = recipe.lead_s + len(starts) * recipe.step_s
        if starts and recipe.step_s >= recipe.clip_s:
            wanted = max(wanted, starts[-1] + recipe.clip_s)
        at = int(np.searchsorted(frame_starts_s, wanted - rounding))
        if at == len(frame_starts_s) or frame_starts_s[at] + recipe.clip_s > end_s + _SLACK_S:
            return starts
        starts.append(float(frame_starts_s[at]))


def verify(path: Path, recipe: SegmentRecipe) -> None:
    """Read a clip back and compare it with the recipe, to the frame and to the sample.

    Raises:
        MediaError: It is not exactly what the recipe asks for; the message gives both numbers.
    """
    info, starts = media.timeline(path)
    n_frames, n_samples = round(recipe.clip_s * recipe.fps), round(recipe.clip_s * recipe.sample_rate_hz)
    steps = np.diff(starts)
    decoded = len(media.decode_video(path, size=(16, 16), fit="stretch", resize="nearest"))
    samples = media.decode_audio(path).shape
    found: dict[str, tuple[object, object]] = {
        "frames": (decoded, n_frames),
        "size": ((info.width, info.height), (recipe.width, recipe.height)),
        "sample rate": (info.sample_rate_hz, recipe.sample_rate_hz),
        "channels": (samples[0], recipe.channels),
    }
    for what, (have, want) in found.items():
        if have != want:
            raise MediaError(f"{path.name}: reads back with {what} {have} instead of {want}")
    if samples[1] < n_samples:
        raise MediaError(f"{path.name}: reads back with {samples[1]} samples instead of {n_samples}")
    if len(steps) and np.abs(steps - 1 / recipe.fps).max() > _MAX_OFFSET_S:
        raise MediaError(f"{path.name}: reads back with frames {steps.min():.4f} to {steps.max():.4f} s apart")
    offset = abs(info.video_start_s - info.audio_start_s)
    if offset >= _MAX_OFFSET_S:
        raise MediaError(f"{path.name}: reads back with picture and sound starting {offset:.4f} s apart")


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
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "source_id": source_id,
        "status": status,
        "clips": [asdict(clip) for clip in clips],
        "reason": reason,
        "failed_clips": failed_clips or {},
        "params": params,
    }


def _segment_source(ws: Workspace, recipe: SegmentRecipe, job: _Job) -> dict[str, Any]:
    """Cut one source and return its ledger record."""
    if not job.path.is_file():
        raise MediaError(f"{job.path}: the downloaded file is gone; run `avbench download` again")
    info, frame_starts_s = media.timeline(job.path)
    reason = _drop_reason(info, recipe)
    starts = [] if reason else clip_starts(frame_starts_s, min(info.video_end_s, info.audio_end_s), recipe)
    if not reason and not starts:
        reason = _too_short(info, recipe)
    clips, failed = [], {}
    for number, start_s in enumerate(starts):
        clip_id = f"{job.source_id}_{number:04d}"
        try:
            clips.append(_clip(ws, recipe, job, clip_id, start_s))
        except EnvironmentFault:
            raise
        except UserError as error:
            failed[clip_id] = str(error)
    _remove_others(ws, job.source_id, {clip.file for clip in clips})
    if reason:
        return _record(job.source_id, job.params, "dropped", reason=reason)
    if failed and not clips:
        first = next(iter(failed.values()))
        return _record(job.source_id, job.params, "failed", reason=f"none of its {len(failed)} clips is whole: {first}")
    return _record(job.source_id, job.params, "done", clips=clips, failed_clips=failed)


def _drop_reason(info: MediaInfo, recipe: SegmentRecipe) -> str:
    if not info.has_video:
        return "no picture"
    if not info.has_audio:
        return "no sound"
    needed = recipe.lead_s + recipe.clip_s
    return _too_short(info, recipe) if min(info.video_end_s, info.audio_end_s) + _SLACK_S < needed else ""


def _too_short(info: MediaInfo, recipe: SegmentRecipe) -> str:
    usable = min(info.video_end_s, info.audio_end_s)
    return (
        f"too short: {usable:.3f} s with picture and sound, {recipe.lead_s + recipe.clip_s:g} s needed "
        f"(lead {recipe.lead_s:g} s + clip {recipe.clip_s:g} s)"
    )


def _clip(ws: Workspace, recipe: SegmentRecipe, job: _Job, clip_id: str, start_s: float) -> Clip:
    """Cut, read back and publish one clip, unless an earlier run has done it."""
    path = ws.clips / f"{clip_id}.mp4"
    note = {"clip_id": clip_id, "params": job.params}
    t0 = _finished_start(path, note, start_s)
    if t0 is None:
        with publish(path) as temporary:
            t0 = media.cut(job.path, temporary, start_s, recipe, note=note)
            verify(temporary, recipe)
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
    )


def _finished_start(path: Path, note: dict[str, str], start_s: float) -> float | None:
    """Start of the clip an earlier run published here with the same parameters, or None.

    A published clip has been read back; its comment tag says what it was made from.
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
