"""The sensitivity battery: distort real clips more and more, and watch every metric.

The windows of a set of clips are dealt into two halves of the same recordings. One half stays as it is and serves as
the reference; the other is distorted at ten strengths. So strength 0 has the distance that two clean halves have, which
is not zero, and a metric sees a distortion when it rises above that.

Errors are those of *changes*: the delete-half jackknife over recordings (see `avbench.metrics._interval`), with the
same recordings taken from both halves and at all strengths, so that what recordings have in common cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from avbench import features, inputs, registry
from avbench.errors import UserError, WeightsMissing
from avbench.features._base import Feature
from avbench.metrics._interval import MIN_GROUPS, Z_95
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.selftest._excerpts import CLEAN, Key, Version
from avbench.selftest.distortions import DISTORTIONS, Distortion, seconds_needed
from avbench.sides import Side, collect

DRAWS = 40
"""Jackknife draws; a standard error is good to ``1 / sqrt(2 draws)``, 11 %."""

MIN_WINDOWS = 8
"""Fewest windows of a half."""

FAINT_RHO = 0.8
"""Rank correlation from which on a curve that stays within its error still counts as one that rises."""

Z_TEN = 2.807
"""What must not move, or not fall back, is at fault only beyond 95 % for all ten strengths together."""

Meant = Literal["worse", "still", "any"]
Judgement = Literal["sees", "faint", "still", "DOES NOT SEE", "NOT MONOTONE", "WRONG WAY", "MOVES", ""]

Array = NDArray[np.float64]

SYNCHRONY = frozenset({"freeze", "shuffle", "mute", "offset", "faster-picture"})
"""Distortions that part sound and picture, or take the events of one away: what an alignment score must see."""

SUBJECTS = {
    "motion": frozenset({"noise", "freeze", "shuffle", "faster-picture", "faster"}),
    "loudness": frozenset({"mute", "hiss"}),
    "onset_rate": frozenset({"mute", "faster"}),
}
"""Distortions that a feature with a narrow subject must see; others of its modality may or may not move it. A feature
that is not listed must see every distortion of its modality."""


@dataclass(frozen=True)
class Point:
    """One metric at one strength of one distortion.

    Attributes:
        metric: Name in the metric registry.
        distortion: Name of the distortion.
        unit: What the strength counts.
        strength: 0 is the clean half.
        value: The metric; NaN where it is undefined for every window.
        error: 1.96 standard errors of the value.
        change: Value less the value at strength 0.
        change_error: 1.96 standard errors of the change.
        step_error: 1.96 standard errors of the change from the strength before.
        windows: Windows distorted.
    """

    metric: str
    distortion: str
    unit: str
    strength: float
    value: float
    error: float
    change: float
    change_error: float
    step_error: float
    windows: int


@dataclass(frozen=True)
class Cell:
    """What a metric makes of a distortion.

    Attributes:
        metric: Name in the metric registry.
        distortion: Name of the distortion.
        meant: What the metric is for: get worse, stay, or either.
        rho: Spearman correlation of strength and value, positive when the metric gets worse; NaN when it never moves.
        change: Change at the largest strength, positive when worse.
        is_monotone: It never gets better from one strength to the next beyond the error of ten such steps.
        told_from: Smallest strength from which on every change is beyond its error and goes the same way; None where
            there is none.
        judgement: Whether it does what it is meant to do; empty where nothing is asked of it. ``faint``: it gets worse
            as it should, but stays within its error, so that more clips would tell.
    """

    metric: str
    distortion: str
    meant: Meant
    rho: float
    change: float
    is_monotone: bool
    told_from: float | None
    judgement: Judgement

    @property
    def is_fault(self) -> bool:
        """The metric does not do what it is meant to do."""
        return self.judgement.isupper()


@dataclass
class Battery:
    """All of a run.

    Attributes:
        protocol: Id of the protocol whose windows were taken.
        n_recordings: Independent recordings.
        n_distorted: Windows of the distorted half.
        n_reference: Windows of the clean half.
        points: Every number.
        cells: One per metric and distortion.
        skipped: Metric to the reason why it was left out.
        failed: Clip to the reason why it was left out.
    """

    protocol: str
    n_recordings: int
    n_distorted: int
    n_reference: int
    points: list[Point] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run(
    clips: Path,
    protocol: Protocol,
    *,
    windows: int = 64,
    distortions: Sequence[Distortion] = DISTORTIONS,
    device: str = "cpu",
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> Battery:
    """Run the battery.

    Args:
        clips: A folder of real clips, or a finished dataset.
        protocol: Windows and metrics; its N, split and place of windows do not matter.
        windows: Most windows of each half.
        distortions: Which.
        device: Where feature networks run.
        workers: Processes for decoding and weight-free features.
        reporter: Progress.

    Raises:
        UserError: Too few clips are long enough, or the protocol has no frame rate.
    """
    if protocol.fps is None:
        raise UserError(f"protocol {protocol.name} has no frame rate of its own, so offsets and speeds have no meaning")
    names, networks, skipped = _runnable(protocol, device)
    frames = -(-round(1000 * seconds_needed(protocol.seconds()) * protocol.fps) // 1000)
    excerpt = protocol.model_copy(
        update={
            "metrics": names,
            "frames": frames,
            "windows": "tile",
            "sound_s": None,
            "reference_split": "all",
            "equal_n": False,
            "repeat_to_n": False,
            "n": 10**9,
        }
    )
    distortions = [distortion for distortion in distortions if distortion.acts_on & excerpt.modalities]
    items, _ = inputs.reference(clips, excerpt)
    per_item = -(-2 * windows // len(items))
    versions = [
        Version(item, place, version, per_item, protocol.frames)
        for place, item in enumerate(items)
        for version in (CLEAN, *(distortion.name for distortion in distortions))
    ]
    side = collect(versions, excerpt, networks, per_clip=True, workers=workers, reporter=reporter, description="clips")
    for name, reason in side.failed.items():
        if name.endswith(f"({CLEAN})"):
            reporter.warn(f"{name.removesuffix(f' ({CLEAN})')} left out: {reason}")
    keys = [Key.read(window_id) for window_id in side.window_ids]
    found = Battery(
        protocol=protocol.id,
        n_recordings=len(set(side.clusters)),
        n_distorted=keys.count(Key(CLEAN, 0, False)),
        n_reference=keys.count(Key(CLEAN, 0, True)),
        skipped=skipped,
        failed={name.removesuffix(f" ({CLEAN})"): why for name, why in side.failed.items() if name.endswith(")")},
    )
    _require(clips, found, seconds_needed(protocol.seconds()))
    for metric in names:
        _judge(found, metric, side, keys, distortions, protocol)
    return found


def _runnable(protocol: Protocol, device: str) -> tuple[tuple[str, ...], dict[str, Feature], dict[str, str]]:
    """Metrics that run here, the networks they need, and why the other metrics do not run."""
    names, networks, skipped = [], {}, {}
    for metric in protocol.metrics:
        module = registry.module("metric", metric)
        if module.KIND == "prompted":
            skipped[metric] = "it compares with a prompt, which real clips do not have"
            continue
        if module.FEATURE and registry.module("feature", module.FEATURE).WEIGHT is not None:
            try:
                options: dict[str, Any] = protocol.features.get(module.FEATURE, {})
                network = features.load(module.FEATURE, device=device, **options)
            except WeightsMissing as missing:
                skipped[metric] = str(missing)
                continue
            if network.batch_dependent:
                skipped[metric] = f"rows of {network.name} depend on the batch they are in"
                continue
            networks[module.FEATURE] = network
        names.append(metric)
    if not names:
        first = next(iter(skipped.values()))
        raise UserError(f"no metric of protocol {protocol.name} runs on this machine; the first: {first}")
    return tuple(names), networks, skipped


def _require(clips: Path, found: Battery, seconds: float) -> None:
    if found.n_recordings < MIN_GROUPS or min(found.n_distorted, found.n_reference) < MIN_WINDOWS:
        why = next(iter(found.failed.values()), "")
        raise UserError(
            f"{clips}: gives {found.n_distorted} + {found.n_reference} windows of {found.n_recordings} recordings; the "
            f"battery needs {MIN_WINDOWS} + {MIN_WINDOWS} of {MIN_GROUPS}, and {seconds:g} s of recording for each"
            + (f"; the first clip left out: {why}" if why else "")
        )


def _judge(
    found: Battery, metric: str, side: Side, keys: list[Key], distortions: Sequence[Distortion], protocol: Protocol
) -> None:
    """Add the points and cells of one metric; a metric that refuses these clips is skipped with its reason."""
    module = registry.module("metric", metric)
    sign = -1.0 if module.HIGHER_IS_BETTER else 1.0
    try:
        for distortion in distortions:
            curve = _curve(metric, side, keys, distortion, protocol)
            points = _points(metric, distortion, curve, found.n_distorted)
            found.points += points
            found.cells.append(_cell(points, meant(metric, distortion), sign))
    except UserError as error:
        found.skipped[metric] = str(error)
        found.points = [point for point in found.points if point.metric != metric]
        found.cells = [cell for cell in found.cells if cell.metric != metric]


def _curve(metric: str, side: Side, keys: list[Key], distortion: Distortion, protocol: Protocol) -> Array:
    """The metric at strength 0 and the ten others (columns): on all recordings (row 0), and on each drawn half."""
    steps = [Key(CLEAN, 0, False), *(Key(distortion.name, k + 1, False) for k in range(len(distortion.strengths)))]
    recordings = sorted(set(side.clusters))
    rng = np.random.default_rng([protocol.seed, 8])
    draws = min(DRAWS, getattr(registry.module("metric", metric), "INTERVAL_DRAWS", DRAWS))
    halves = [rng.permutation(recordings)[: len(recordings) // 2] for _ in range(draws)]
    evaluate = _alignment if registry.module("metric", metric).KIND == "per_clip" else _distance
    return np.stack([evaluate(metric, side, keys, step, halves, protocol) for step in steps], axis=1)


def _alignment(
    metric: str, side: Side, keys: list[Key], step: Key, halves: list[NDArray[np.str_]], protocol: Protocol
) -> Array:
    """Mean over the windows of a version that have a value: all of them, then those of each half."""
    pair, options = registry.module("metric", metric).pair, protocol.estimators.get(metric, {})
    places = [place for place, key in enumerate(keys) if key == step]
    evidence = [side.evidence[metric][place] for place in places]
    values = np.array([pair(found, found, **options) for found in evidence], dtype=np.float64)
    clusters, known = np.array([side.clusters[place] for place in places]), np.isfinite(values)
    chosen = [known, *(known & np.isin(clusters, half) for half in halves)]
    return np.array([values[rows].mean() if rows.any() else np.nan for rows in chosen])


def _distance(
    metric: str, side: Side, keys: list[Key], step: Key, halves: list[NDArray[np.str_]], protocol: Protocol
) -> Array:
    """Distance of a version to the clean reference: of all rows, then of those of each half on both sides."""
    module, options = registry.module("metric", metric), protocol.estimators.get(metric, {})
    values, owners = side.embeddings[module.FEATURE]
    clusters = np.array(side.clusters)[owners]
    mine, theirs = (
        np.array([keys[owner] == key for owner in owners], dtype=bool) for key in (step, Key(CLEAN, 0, True))
    )
    rows, reference = values[mine], values[theirs]
    picks = [np.flatnonzero(np.isin(clusters[mine], half)) for half in halves]
    reference_picks = [np.flatnonzero(np.isin(clusters[theirs], half)) for half in halves]
    if hasattr(module, "compute_subsets"):
        found = module.compute_subsets(rows, reference, picks, reference_picks, **options)
    else:
        pairs = zip(picks, reference_picks, strict=True)
        found = [module.compute(rows[some], reference[others], **options) for some, others in pairs]
    return np.array([module.compute(rows, reference, **options), *found], dtype=np.float64)


def _points(metric: str, distortion: Distortion, curve: Array, windows: int) -> list[Point]:
    values, halves = curve[0], curve[1:]

    def error(draws: Array) -> float:
        draws = draws[np.isfinite(draws)]
        return Z_95 * float(np.std(draws, ddof=1)) if len(draws) > 1 else np.nan

    return [
        Point(
            metric=metric,
            distortion=distortion.name,
            unit=distortion.unit,
            strength=float(strength),
            value=float(values[k]),
            error=error(halves[:, k]),
            change=float(values[k] - values[0]),
            change_error=error(halves[:, k] - halves[:, 0]),
            step_error=error(halves[:, k] - halves[:, max(k - 1, 0)]),
            windows=windows,
        )
        for k, strength in enumerate((0.0, *distortion.strengths))
    ]


def meant(metric: str, distortion: Distortion) -> Meant:
    """What a metric should make of a distortion."""
    name = registry.module("metric", metric).FEATURE
    if name is None:
        return "worse" if distortion.name in SYNCHRONY else "any"
    if distortion.is_shift or registry.module("feature", name).Feature.modality not in distortion.acts_on:
        return "still"
    return "worse" if distortion.name in SUBJECTS.get(name, {distortion.name}) else "any"


def _cell(points: Sequence[Point], should: Meant, sign: float) -> Cell:
    """Judge one curve; ``sign`` is -1 where a higher value is better."""
    known = [point for point in points if np.isfinite(point.value)]
    changes = np.array([sign * point.change for point in known])
    strengths = np.array([point.strength for point in known])
    moves = len(known) > 1 and bool(np.ptp(changes) > 0)
    rho = float(spearmanr(strengths, changes).statistic) if moves else float("nan")
    monotone = all(
        now - before >= -Z_TEN / Z_95 * point.step_error
        for before, now, point in zip(changes, changes[1:], known[1:], strict=False)
    )
    told = [
        abs(point.change) > point.change_error and change * changes[-1] > 0
        for point, change in zip(known, changes, strict=True)
    ]
    told_from = None
    for point, is_told in zip(reversed(known), reversed(told), strict=True):
        if not is_told:
            break
        told_from = point.strength
    return Cell(
        metric=points[0].metric,
        distortion=points[0].distortion,
        meant=should,
        rho=rho,
        change=float(changes[-1]) if len(changes) else float("nan"),
        is_monotone=monotone,
        told_from=told_from,
        judgement=_judgement(should, known, changes, rho, told_from, monotone),
    )


def _judgement(
    should: Meant, known: Sequence[Point], changes: Array, rho: float, told_from: float | None, monotone: bool
) -> Judgement:
    if should == "any":
        return ""
    if should == "still":
        moved = any(abs(point.change) > Z_TEN / Z_95 * point.change_error for point in known[1:])
        return "MOVES" if moved else "still"
    if told_from is None:
        return "faint" if rho >= FAINT_RHO and changes[-1] > 0 and monotone else "DOES NOT SEE"
    if changes[-1] < 0:
        return "WRONG WAY"
    return "sees" if monotone else "NOT MONOTONE"
