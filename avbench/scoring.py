"""Score a folder of generated clips against a reference under a protocol.

A number comes with its interval, with the distance between two halves of the reference (the floor), and with what a
reader must know before using it. A network whose weights are not here leaves its cells empty, with the reason.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avbench import features, inputs, registry
from avbench.errors import UserError, WeightsMissing
from avbench.features._base import Feature
from avbench.metrics._frechet import rank_warning
from avbench.metrics._interval import distance_interval, mean_interval
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.schema import Score
from avbench.sides import Side, collect, feature_names, subset

FLOOR_SPLITS = 5
CHANCE_SHUFFLES = 10


@dataclass(frozen=True)
class ScoreResult:
    """Everything a result record needs from scoring.

    Attributes:
        scores: One per metric of the protocol, absent ones with their reason.
        n_asked: Windows the protocol asks for.
        n_used: Generated windows scored.
        n_reference: Reference windows.
        failed: Generated file to reason.
        reference: Name, version, sha256 and split of the reference.
        weights: Feature network to sha256 of the weights used.
        per_clip: Window id, cluster, and the per-clip metrics.
        seconds: Wall time.
    """

    scores: tuple[Score, ...]
    n_asked: int
    n_used: int
    n_reference: int
    failed: dict[str, str]
    reference: dict[str, str]
    weights: dict[str, str]
    per_clip: list[dict[str, Any]]
    seconds: float


def score(
    outputs: Path,
    reference: Path,
    protocol: Protocol,
    *,
    workers: int = 1,
    device: str = "cpu",
    reporter: Reporter = SILENT,
) -> ScoreResult:
    """Score ``outputs`` against ``reference``.

    Args:
        outputs: Folder of generated clips.
        reference: A finished dataset of avbench, or a folder of real clips.
        protocol: How.
        workers: Processes for decoding and weight-free features.
        device: Where feature networks run.
        reporter: Progress.

    Raises:
        UserError: Nothing to score, or too little of it is usable.
    """
    begun = time.monotonic()
    if outputs.resolve() == reference.resolve():
        raise UserError(f"{outputs}: is given both as outputs and as reference; a set is at distance 0 from itself")
    files, unreadable = inputs.outputs(outputs, protocol)
    items, about = inputs.reference(reference, protocol)
    networks, missing = _load_networks(protocol, device)
    generated = collect(
        subset(files, protocol.n, protocol.seed),
        protocol,
        networks,
        per_clip=True,
        workers=workers,
        reporter=reporter,
        description="generated clips",
    )
    failed = {**unreadable, **generated.failed}
    _require(outputs, generated, failed, protocol)
    real = collect(
        subset(items, protocol.n, protocol.seed),
        protocol,
        networks,
        per_clip=False,
        workers=workers,
        reporter=reporter,
        description="reference clips",
    )
    _require(reference, real, real.failed, protocol)
    for item, reason in real.failed.items():
        reporter.warn(f"reference {item} left out: {reason}")
    scores = tuple(_score(name, generated, real, protocol, missing) for name in protocol.metrics)
    return ScoreResult(
        scores=scores,
        n_asked=protocol.n,
        n_used=len(generated.window_ids),
        n_reference=len(real.window_ids),
        failed=failed,
        reference=about,
        weights={name: network.weights_sha256 or "" for name, network in networks.items()},
        per_clip=_per_clip_rows(generated),
        seconds=time.monotonic() - begun,
    )


def _load_networks(protocol: Protocol, device: str) -> tuple[dict[str, Feature], dict[str, str]]:
    """Networks with published weights on this machine, and for the others the sentence that says what is missing."""
    networks, missing = {}, {}
    for name in feature_names(protocol, with_weights=True):
        try:
            networks[name] = features.load(name, device=device)
        except WeightsMissing as error:
            missing[name] = str(error)
    return networks, missing


def _require(where: Path, side: Side, failed: dict[str, str], protocol: Protocol) -> None:
    """Refuse a side with fewer usable windows than the protocol needs."""
    if len(side.window_ids) >= protocol.min_n:
        return
    first = next(iter(failed.values()), "")
    raise UserError(
        f"{where}: gives {len(side.window_ids)} usable windows of {protocol.seconds:g} s and the protocol "
        f"{protocol.name} needs {protocol.min_n}"
        + (f"; {len(failed)} files failed, the first: {first}" if first else "")
    )


def _per_clip_rows(side: Side) -> list[dict[str, Any]]:
    """One row per window for the per-clip table."""
    columns = {metric: _values(metric, side) for metric in side.evidence}
    return [
        {"window_id": name, "cluster": cluster, **{metric: values[i] for metric, values in columns.items()}}
        for i, (name, cluster) in enumerate(zip(side.window_ids, side.clusters, strict=True))
    ]


def _values(name: str, side: Side) -> np.ndarray:
    """A per-clip metric of every window, float64, NaN where undefined."""
    pair = registry.module("metric", name).pair
    return np.array([pair(item, item) for item in side.evidence[name]], dtype=np.float64)


def _chance(name: str, side: Side, seed: int) -> tuple[float | None, str]:
    """The score when every picture gets the sound of another source: what a blind generator would have.

    Mean over `CHANCE_SHUFFLES` seeded cyclic shifts of a random order.
    """
    pair, evidence = registry.module("metric", name).pair, side.evidence[name]
    found = []
    for shuffle in range(CHANCE_SHUFFLES):
        order = np.random.default_rng([seed, 4, shuffle]).permutation(len(evidence))
        for sound, picture in zip(order, np.roll(order, 1), strict=True):
            if side.clusters[sound] != side.clusters[picture]:
                found.append(pair(evidence[sound], evidence[picture]))
    values = np.array(found, dtype=np.float64)
    if not np.isfinite(values).any():
        return None, ""
    return float(np.nanmean(values)), f"chance: sound of another clip ({np.isfinite(values).sum()} pairs)"


def _score(name: str, generated: Side, real: Side, protocol: Protocol, missing: dict[str, str]) -> Score:
    """One metric of the protocol, or the reason why it is absent."""
    module = registry.module("metric", name)
    if module.KIND == "per_clip":
        return _mean(name, generated, protocol)
    if module.FEATURE in missing:
        return Score(name, None, protocol.n, 0, reason=missing[module.FEATURE])
    x, x_groups = generated.rows(module.FEATURE)
    y, y_groups = real.rows(module.FEATURE)
    if min(len(x), len(y)) < 2:
        reason = f"{len(x)} generated and {len(y)} reference feature rows; at least 2 of each are needed"
        return Score(name, None, protocol.n, len(x), reason=reason)
    warnings = _count_warnings(len(generated.window_ids), len(real.window_ids), protocol)
    if module.ESTIMATOR == "frechet" and (warning := rank_warning(min(len(x), len(y)), x.shape[1])):
        warnings.append(f"{name}: {warning}")
    interval, kind = None, ""
    try:
        found = distance_interval(
            module.compute,
            x,
            y,
            generated_groups=x_groups,
            reference_groups=y_groups,
            rng=np.random.default_rng([protocol.seed, 1]),
            draws=protocol.interval_draws,
        )
        interval, kind = (found.low, found.high), found.kind
    except UserError as error:
        warnings.append(f"{name}: no interval ({error})")
    floor, floor_kind = _floor(module.compute, y, y_groups, len(x), protocol.seed)
    return Score(
        metric=name,
        value=float(module.compute(x, y)),
        n_asked=protocol.n,
        n_used=len(generated.window_ids),
        interval=interval,
        interval_kind=kind,
        floor=floor,
        floor_kind=floor_kind,
        warnings=tuple(warnings),
    )


def _count_warnings(n: int, m: int, protocol: Protocol) -> list[str]:
    if min(n, m) >= protocol.n:
        return []
    return [f"N = {n} generated and {m} reference windows where the protocol asks for {protocol.n} of each"]


def _floor(distance: Any, rows: np.ndarray, groups: list[str], n: int, seed: int) -> tuple[float | None, str]:
    """Distance of the reference to itself: two halves that share no group, at most ``n`` rows each.

    It says what a perfect generator would score at this N. Mean over `FLOOR_SPLITS` seeded splits.
    """
    labels, inverse = np.unique(np.asarray(groups), return_inverse=True)
    if len(labels) < 4:
        return None, ""
    values, sizes = [], (0, 0)
    for split in range(FLOOR_SPLITS):
        rng = np.random.default_rng([seed, 2, split])
        order = rng.permutation(len(labels))
        first = np.isin(inverse, order[: len(labels) // 2])
        halves = [rng.permutation(np.flatnonzero(mask))[:n] for mask in (first, ~first)]
        sizes = (len(halves[0]), len(halves[1]))
        if min(sizes) < 2:
            return None, ""
        values.append(float(distance(rows[halves[0]], rows[halves[1]])))
    return float(np.mean(values)), f"real against real ({sizes[0]} and {sizes[1]} rows, mean of {FLOOR_SPLITS} splits)"


def _mean(name: str, generated: Side, protocol: Protocol) -> Score:
    """Mean over the windows where the metric is defined; the others are counted, not averaged as zero."""
    values = _values(name, generated)
    defined = np.isfinite(values)
    if not defined.any():
        return Score(name, None, protocol.n, 0, reason=f"undefined on all {len(values)} windows")
    warnings = [] if defined.all() else [f"{name}: undefined on {(~defined).sum()} of {len(values)} windows, left out"]
    interval, kind = None, ""
    try:
        found = mean_interval(
            values[defined],
            groups=[g for g, use in zip(generated.clusters, defined, strict=True) if use],
            rng=np.random.default_rng([protocol.seed, 3]),
        )
        interval, kind = (found.low, found.high), found.kind
    except UserError as error:
        warnings.append(f"{name}: no interval ({error})")
    floor, floor_kind = _chance(name, generated, protocol.seed)
    return Score(
        metric=name,
        value=float(values[defined].mean()),
        n_asked=protocol.n,
        n_used=int(defined.sum()),
        interval=interval,
        interval_kind=kind,
        floor=floor,
        floor_kind=floor_kind,
        warnings=tuple(warnings),
    )
