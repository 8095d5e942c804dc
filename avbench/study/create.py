"""Make the folder of a study: clips under neutral names, and ``STUDY.json`` when all of them are there."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avbench import parallel
from avbench.errors import UserError
from avbench.progress import SILENT, Reporter
from avbench.study import clips, collect, plan, record
from avbench.study.clips import Made
from avbench.study.collect import Clip
from avbench.study.design import Design
from avbench.study.record import Study, StudyClip
from avbench.workspace import file_sha256

_AUDIBLE_LUFS = -50.0
"""Only a clip at least this loud is silenced for an attention check: in others its sound would not be missed."""
_TELLING_LU = 2.0
"""Systems whose loudness differs by this much are told apart by it."""


@dataclass(frozen=True)
class Created:
    """A study that is there now.

    Attributes:
        study: What was written.
        already: It had been made by an earlier call.
        notes: What whoever runs it should know, one sentence each.
    """

    study: Study
    already: bool
    notes: tuple[str, ...]


def create(design: Design, folder: Path, *, workers: int = 1, reporter: Reporter = SILENT) -> Created:
    """Write a study; called again with the same design and clips it leaves it as it is.

    Args:
        design: What to ask about whose clips.
        folder: Where to; a new folder, or one where this study was begun.
        workers: Processes; their number changes no byte.
        reporter: Progress.

    Raises:
        UserError: Clips are missing, unequal in number or unreadable, or the folder holds another study.
        EnvironmentFault: The disk is full, or there is no ffmpeg.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give the study a folder with --out")
    found = collect.clips(design)
    conditions: dict[str, list[str]] = {}
    for clip in found:
        conditions.setdefault(clip.system, []).append(clip.condition)
    plan.check(design, conditions)
    with record.alone(folder):
        if (folder / record.NAME).is_file():
            return Created(_same(record.read(folder), design, found, folder), True, _notes(design, conditions, folder))
        if (folder / record.ANSWERS).exists():
            raise UserError(f"{folder / record.ANSWERS}: answers lie here, but no study; give another --out")
        study = record.write(folder, Study(design=design, clips=_write(design, found, folder, workers, reporter)))
    return Created(study, False, _notes(design, conditions, folder))


def _same(there: Study, design: Design, found: Sequence[Clip], folder: Path) -> Study:
    """The study that is there, if it is the one that was asked for and whole."""
    asked = {(clip.system, clip.condition): file_sha256(clip.path) for clip in found}
    held = {(clip.system, clip.condition): clip.source_sha256 for clip in there.clips if not clip.silenced}
    if there.design != design or asked != held:
        raise UserError(f"{folder}: holds another study ({there.design.title!r}); give another --out")
    record.check_files(folder, there)
    return there


def _write(
    design: Design, found: Sequence[Clip], folder: Path, workers: int, reporter: Reporter
) -> tuple[StudyClip, ...]:
    n_silent = _silenced_count(design, found)
    numbers = list(range(len(found) + n_silent))
    random.Random(f"{design.seed} names").shuffle(numbers)

    def written(wanted: Sequence[Clip], numbers: Sequence[int], *, silenced: bool) -> Iterator[StudyClip]:
        names = [f"clip-{number:04d}" for number in numbers[: len(wanted)]]
        outcomes = parallel.run(
            partial(clips.write_job, target_lufs=design.loudness_lufs),
            [
                clips.Job(clip.path, record.clip_path(folder, name), silenced)
                for clip, name in zip(wanted, names, strict=True)
            ],
            item_id=lambda job: job.source.name,
            workers=workers,
            reporter=reporter,
            description="clips",
            ordered=True,
        )
        for clip, name, outcome in zip(wanted, names, outcomes, strict=True):
            if outcome.value is None:
                raise UserError(outcome.error)
            yield _told(clip, name, silenced, outcome.value)

    made = list(written(found, numbers, silenced=False))
    if n_silent:
        fit = _to_silence(design, found, made)[:n_silent]
        made += written(fit, numbers[len(found) :], silenced=True)
    return tuple(sorted(made, key=lambda clip: clip.name))


def _told(clip: Clip, name: str, silenced: bool, made: Made) -> StudyClip:
    return StudyClip(
        name=name,
        system=clip.system,
        condition=clip.condition,
        silenced=silenced,
        source=str(clip.path),
        source_sha256=made.source_sha256,
        sha256=made.sha256,
        duration_s=made.duration_s,
        lufs=made.lufs,
        gain_db=made.gain_db,
    )


def _silenced_count(design: Design, found: Sequence[Clip]) -> int:
    """How many clips are kept a second time without their sound."""
    if not any("silenced" in design.check_kinds(test) for test in design.tests):
        return 0
    candidates = sum(clip.system in design.made for clip in found) or len(found)
    return min(candidates, 2 * design.checks.per_test)


def _to_silence(design: Design, found: Sequence[Clip], written: Sequence[StudyClip]) -> list[Clip]:
    """Clips whose sound would be missed, in random order."""
    loud = {(clip.system, clip.condition) for clip in written if clip.lufs is not None and clip.lufs >= _AUDIBLE_LUFS}
    candidates = [clip for clip in found if clip.system in design.made] or list(found)
    fit = [clip for clip in candidates if (clip.system, clip.condition) in loud]
    if not fit:
        raise UserError(
            f"no clip of {', '.join(design.made or design.real)} is louder than {_AUDIBLE_LUFS:g} LUFS, so none can be "
            "silenced for an attention check; leave 'silenced' out of checks.kinds"
        )
    random.Random(f"{design.seed} silenced").shuffle(fit)
    return fit


def _notes(design: Design, conditions: Mapping[str, Sequence[str]], folder: Path) -> tuple[str, ...]:
    """What the design amounts to, and what may tell systems apart that is not meant to."""
    notes = []
    for test in design.tests:
        least, most = plan.per_item(design, conditions, test)
        each = f"{least:.3g}" if round(least, 3) == round(most, 3) else f"{least:.3g} to {most:.3g}"
        notes.append(f"{test}: {design.participants} people x {design.trials} trials; each item is judged {each} times")
    return (*notes, *_loudness(record.read(folder), design))


def _loudness(study: Study, design: Design) -> Iterator[str]:
    by_system: dict[str, list[float]] = {}
    short = 0
    for clip in study.clips:
        if clip.silenced or clip.lufs is None:
            continue
        played = clip.lufs + clip.gain_db
        by_system.setdefault(clip.system, []).append(played)
        short += design.loudness_lufs is not None and abs(played - design.loudness_lufs) > 0.1
    means = {
        system.name: statistics.fmean(by_system[system.name]) for system in design.systems if system.name in by_system
    }
    if means:
        told = ", ".join(f"{system} {mean:.1f}" for system, mean in means.items())
        apart = max(means.values()) - min(means.values())
        advice = ""
        if design.loudness_lufs is None and apart > _TELLING_LU:
            advice = (
                f"; they differ by {apart:.1f} LU, and people prefer what is louder: loudness_lufs = -23 evens it out"
            )
        yield f"loudness as played, LUFS: {told}{advice}"
    if short:
        yield f"{short} clips stay below the target of {design.loudness_lufs:g} LUFS: their peaks leave no room"
    silent = sum(clip.lufs is None for clip in study.clips if not clip.silenced)
    if silent:
        yield f"{silent} clips have nothing that can be heard"
