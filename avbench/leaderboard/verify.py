"""Recompute what a record says from the evidence that was stored with it.

Digests and the protocol id are compared exactly. Numbers come from the functions that made them, from the same rows and
seeds, so they agree to rounding; `TOLERANCE` leaves room for another processor's order of summation. What needs the
clips themselves (chance levels, codec floors, the per-clip values) cannot be recomputed from evidence, and is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from avbench import context, provenance, registry, scoring, workspace
from avbench.errors import UserError
from avbench.leaderboard import evidence, publishing, ranking, records, reference_rows, standing, tables
from avbench.leaderboard.evidence import Evidence
from avbench.leaderboard.records import EvidenceFile, ResultRecord
from avbench.leaderboard.standing import Check, Report
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.schema import Score

TOLERANCE = 1e-5
"""Relative to the value: far below the four digits that a table shows, far above what summation order does."""

_FROM_CLIPS = "needs the clips themselves"


def verify(folder: Path, only: str | None = None, *, reporter: Reporter = SILENT) -> list[Report]:
    """Verify the measured records of a leaderboard and store a report of each in ``verified/``.

    A record that cannot be read, or does not lie where it belongs, gets a report that says so; it is not stored, since
    no row stands on it. Nor is that of the stored tests of differences, which are repeated where every record is looked
    at.

    Args:
        folder: The leaderboard folder.
        only: Id of the one record to look at.
        reporter: Progress.

    Raises:
        UserError: No such folder or record.
    """
    found = {path: path.stem.rpartition("--")[2] for path in records.paths(folder)}
    wanted = [path for path, name in found.items() if only in (None, name)]
    if not wanted:
        if found:
            raise UserError(f"{folder}: {registry.unknown('record', only or '', sorted(found.values()))}")
        raise UserError(f"{folder}: holds no records; `avbench submit RUN --leaderboard {folder}` adds a scored run")
    whole = [record for path in found if (record := _whole(path, folder)) is not None]
    reports = []
    with reporter.bar("verifying", total=len(wanted), unit="record") as bar:
        for path in wanted:
            report = _report(path, found[path], folder, whole)
            if report is not None:
                reports.append(report)
                if report.sha256:
                    with publishing.lock(folder):
                        _store(report, folder)
            bar.advance(1, found[path])
    if only is None:
        reports += _stored_tests(folder, whole, reporter)
    return reports


def _report(path: Path, name: str, folder: Path, whole: list[ResultRecord]) -> Report | None:
    """The report of one record; None for one that was not measured. ``whole`` are all records that can be read."""
    try:
        record = records.load_placed(path, folder)
    except UserError as error:
        return _made(name, "", [Check(what="record", state="differs", note=str(error))], is_whole=False)
    if record.status != "measured":
        return None
    checks = [Check(what="record", state="done", note="its digest and its place")]
    files = evidence.stored(record, folder)
    checks += check_settings(record)
    if reason := evidence.absent(record, files):
        checks.append(Check(what="evidence", state="not possible", note=reason))
        return _made(record.id, record.sha256, checks, is_whole=False)
    found, held = check_evidence(record, files)
    checks += found
    if held is None or any(check.state != "done" for check in checks):
        return _made(record.id, record.sha256, checks, is_whole=False)
    checks.append(_check_reference(held, folder, whole))
    scores = list(check_scores(held))
    valued = {score.metric for score in record.scores if score.value is not None}
    recomputed = {check.what for check in scores if check.state == "done"}
    return _made(record.id, record.sha256, [*checks, *scores], is_whole=valued <= recomputed)


def _made(name: str, digest: str, checks: list[Check], *, is_whole: bool) -> Report:
    return Report(
        record=name,
        sha256=digest,
        tolerance=TOLERANCE,
        checks=tuple(checks),
        passed=is_whole and not any(check.state == "differs" for check in checks),
        commit=provenance.git_commit(),
        verified_at=provenance.utc_now(),
    )


def _store(report: Report, folder: Path) -> None:
    """Publish a report; one that found the same as before keeps the earlier one's commit and time."""
    path = standing.path_of(report.record, folder)
    if path.is_file():
        try:
            before = standing.load(report.record, folder)
        except UserError:
            before = None
        if before is not None and before == report.model_copy(
            update={"commit": before.commit, "verified_at": before.verified_at}
        ):
            return
    workspace.write_json(path, report.model_dump(mode="json"))


def check_settings(record: ResultRecord) -> list[Check]:
    """Whether the protocol's id and digest follow from its settings, and N is what it asks or is said to be less."""
    try:
        protocol = Protocol.model_validate(record.protocol.settings)
        stated, found = (record.protocol.id, record.protocol.sha256), (protocol.id, protocol.sha256)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        note = f"the settings are no protocol of this avbench ({place}: {first['msg']})"
        return [Check(what="protocol", state="differs", note=note)]
    except UserError as error:
        return [Check(what="protocol", state="not possible", note=str(error))]
    if stated != found:
        note = f"the record says {stated[0]}, its settings give {found[0]}"
        return [Check(what="protocol", state="differs", note=note)]
    checks = [Check(what="protocol", state="done", note="its id from its settings")]
    if fault := _wrong_n(record, protocol):
        checks.append(Check(what="N", state="differs", note=fault))
    return checks


def _wrong_n(record: ResultRecord, protocol: Protocol) -> str:
    """What is wrong with the counts of clips, or empty."""
    if record.n_asked != protocol.n:
        return f"the record says N asked {record.n_asked}, the protocol asks for {protocol.n}"
    for score in record.scores:
        if score.n_asked != record.n_asked:
            return f"{score.metric} says N asked {score.n_asked}, the record {record.n_asked}"
        if score.n_used > record.n_used:
            return f"{score.metric} says N used {score.n_used}, the record {record.n_used}"
        is_short = record.n_used < record.n_asked and score.value is not None and _is_distance(score.metric)
        if is_short and not score.warnings:
            return f"{score.metric} rests on {record.n_used} of {record.n_asked} clips and does not say so"
    return ""


def check_evidence(record: ResultRecord, files: Mapping[EvidenceFile, Path]) -> tuple[list[Check], Evidence | None]:
    """Whether the files are those the record was made with, and tell the same of data, weights and N.

    Args:
        record: The run.
        files: Every file that the record names, each there.

    Returns:
        What was found, and the evidence where it can be read.
    """
    if fault := evidence.changed(record, files):
        return [Check(what="evidence", state="differs", note=fault)], None
    try:
        held = evidence.read(record, files)
    except UserError as error:
        return [Check(what="evidence", state="differs", note=str(error))], None
    checks = [Check(what="evidence", state="done", note=f"the digests of {', '.join(sorted(files))}")]
    about = {name: getattr(record.dataset, name) for name in ("name", "version", "sha256", "split")}
    said: list[tuple[str, object, object]] = [
        ("reference", about, held.header.about),
        ("weights", record.weights, held.header.weights),
        ("N", record.n_used, held.generated.distinct),
        ("N", record.n_used, len(held.per_clip)),
        ("windows", held.generated.window_ids[: record.n_used], list(held.per_clip["window_id"])),
    ]
    for what, stated, found in said:
        if stated != found:
            note = f"the record says {_short(stated)}, its evidence {_short(found)}"
            checks.append(Check(what=what, state="differs", note=note))
    return checks, held


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def check_scores(held: Evidence) -> Iterator[Check]:
    """Recompute every score of a record, as far as its evidence reaches."""
    record = held.record
    protocol = Protocol.model_validate(record.protocol.settings)
    for score in record.scores:
        yield _check_score(score, held, protocol)
    if any(score.floor is not None and not _is_distance(score.metric) for score in record.scores):
        yield Check(what="chance levels", state="not possible", note=_FROM_CLIPS)
    if any("codec_floor" in score.details for score in record.scores):
        yield Check(what="codec floors", state="not possible", note=_FROM_CLIPS)
    if record.memorisation:
        yield Check(what="memorisation", state="not possible", note="needs the rows of the training set")
    yield from _check_outliers(held)
    measured = [score.metric for score in record.scores if score.metric in held.per_clip]
    if measured:
        yield Check(what="per-clip values", state="not possible", note=f"{', '.join(measured)}: {_FROM_CLIPS}")


def _is_distance(metric: str) -> bool:
    return bool(registry.module("metric", metric).KIND == "distance")


def _check_score(score: Score, held: Evidence, protocol: Protocol) -> Check:
    """One score against what its evidence gives."""
    if score.value is None:
        return Check(
            what=score.metric, state="not possible", note=f"absent in the record: {score.reason.partition(';')[0]}"
        )
    try:
        found = _recomputed(score.metric, held, protocol)
    except UserError as error:
        return Check(what=score.metric, state="not possible", note=str(error))
    if found.value is None:
        note = f"the record says {score.value:.6g}, its evidence gives no value: {found.reason}"
        return Check(what=score.metric, state="differs", note=note)
    numbers: dict[str, tuple[float | None, float | None]] = {"value": (score.value, found.value)}
    for place, end in enumerate(("low end", "high end")):
        numbers[end] = (
            score.interval[place] if score.interval else None,
            found.interval[place] if found.interval else None,
        )
    if _is_distance(score.metric):
        numbers["floor"] = (score.floor, found.floor)
    ours = {name: value for name, value in score.details.items() if name != "codec_floor"}
    for name in sorted({*ours, *found.details}):
        numbers[name] = (ours.get(name), found.details.get(name))
    for name, (stated, again) in numbers.items():
        if not _equal(stated, again, score.value):
            note = f"{name}: the record says {_number(stated)}, recomputed {_number(again)}"
            return Check(what=score.metric, state="differs", note=note)
    shown = [name for name, (stated, _) in numbers.items() if stated is not None and not name.endswith("end")]
    interval = ["interval"] if score.interval else []
    return Check(what=score.metric, state="done", note=", ".join([*shown[:1], *interval, *shown[1:]]))


def _recomputed(metric: str, held: Evidence, protocol: Protocol) -> Score:
    """The score that the evidence gives, without what needs the clips."""
    if _is_distance(metric):
        return scoring.distance_score(metric, held.generated, held.reference, protocol)
    if metric not in held.per_clip:
        raise UserError(f"the per-clip table has no column {metric}")
    by_window = dict(zip(held.per_clip["window_id"], held.per_clip[metric].astype(float), strict=True))
    values = np.array([by_window[name] for name in held.generated.window_ids])  # clips that were repeated count again
    return scoring.mean_score(metric, values, held.generated, protocol, (None, ""))


def _check_outliers(held: Evidence) -> Iterator[Check]:
    """The per-clip distances to the reference, from the feature rows."""
    for column in (name for name in map(str, held.per_clip) if name.endswith(evidence.OUTLIER)):
        feature = column.removesuffix(evidence.OUTLIER)
        what = f"{feature} per clip"
        if not {feature} <= held.generated.embeddings.keys() & held.reference.embeddings.keys():
            yield Check(what=what, state="differs", note=f"there are no rows of {feature}")
            continue
        stated = held.per_clip[column].to_numpy(float)
        try:
            found = context.outliers(held.generated, held.reference, feature)[: len(stated)]
        except UserError as error:
            yield Check(what=what, state="differs", note=str(error))
            continue
        if np.allclose(stated, found, rtol=TOLERANCE, atol=TOLERANCE * _scale(found), equal_nan=True):
            yield Check(what=what, state="done", note="distance of each clip to the reference")
        else:
            both_undefined = np.isnan(stated) & np.isnan(found)
            gaps = np.nan_to_num(np.abs(stated - found), nan=np.inf)
            worst = int(np.argmax(np.where(both_undefined, 0.0, gaps)))
            window = held.generated.window_ids[worst]
            note = f"{column} of {window}: the table says {stated[worst]:.6g}, recomputed {found[worst]:.6g}"
            yield Check(what=what, state="differs", note=note)


def _scale(values: np.ndarray) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0


def _equal(stated: float | None, found: float | None, value: float) -> bool:
    """Equal to `TOLERANCE`, relative to the larger of both and of the score itself."""
    if stated is None or found is None:
        return stated is found
    return math.isclose(stated, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE * abs(value) + 1e-12)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _whole(path: Path, folder: Path) -> ResultRecord | None:
    """The record, or None where it cannot be read or does not lie where it belongs."""
    try:
        return records.load_placed(path, folder)
    except UserError:
        return None


def _check_reference(held: Evidence, folder: Path, whole: list[ResultRecord]) -> Check:
    """Whether the run was compared with the rows that the oldest other run of its table was compared with."""
    group = next(group for _, group in tables.groups(whole) if any(each.id == held.record.id for each in group))
    others = [each for each in group if each.id != held.record.id and _is_intact((each,), folder)]
    if not others:
        note = "no other run of this table has evidence to compare with"
        return Check(what="reference rows", state="not possible", note=note)
    oldest = min(others, key=lambda record: (record.created_at, record.id))
    other = evidence.read(oldest, evidence.stored(oldest, folder))
    if told := reference_rows.difference(held.reference, other.reference):
        note = f"not those of {oldest.display_name} ({oldest.id}): {told}"
        return Check(what="reference rows", state="differs", note=note)
    return Check(what="reference rows", state="done", note=f"those of {oldest.display_name} ({oldest.id})")


def _stored_tests(folder: Path, whole: list[ResultRecord], reporter: Reporter) -> list[Report]:
    """Repeat the tests of differences that ranks rest on; nothing where none is stored."""
    store = ranking.load_store(folder)
    if not store.pairs:
        return []
    known = {ranking.pair_name(a.id, b.id): (metric, a, b) for metric, a, b in publishing.pairs(whole)}
    intact = [known[name] for name in store.pairs if name in known and _is_intact(known[name][1:], folder)]
    again = publishing.differences(intact, folder, reporter)
    checks = []
    for name, stated in store.pairs.items():
        found = again.get(name)
        if found is None:
            note = "the evidence of one of the two is not here, or is not what its record names"
            checks.append(Check(what=name, state="not possible", note=note))
        elif stated.metric != found.metric or not all(
            _equal(getattr(stated, part), getattr(found, part), found.high - found.low)
            for part in ("value", "low", "high", "p")
        ):
            told = " and ".join(f"{each.value:+.6g} (p {each.p:.3g})" for each in (stated, found))
            note = f"{found.metric}: the stored and the recomputed difference are {told}"
            checks.append(Check(what=name, state="differs", note=note))
        else:
            checks.append(Check(what=name, state="done", note=f"test of the difference in {found.metric}"))
    return [_made(ranking.STORE_NAME, "", checks, is_whole=True)]


def _is_intact(pair: tuple[ResultRecord, ...], folder: Path) -> bool:
    for record in pair:
        files = evidence.stored(record, folder)
        if evidence.absent(record, files) or evidence.changed(record, files):
            return False
    return True
