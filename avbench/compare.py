"""Compare two results: only of one protocol and one reference, metric by metric, with a test of the difference."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from avbench import registry, statistics
from avbench.errors import UserError
from avbench.leaderboard import records
from avbench.leaderboard.records import ResultRecord
from avbench.metrics._difference import (
    Difference,
    distance_difference,
    holm,
    mean_difference,
    paired_mean_difference,
)
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.schema import Score
from avbench.scored import FEATURES_NAME, PER_CLIP_NAME, RESULT_NAME
from avbench.sides import Side

SIGNIFICANT = 0.05
DRAWS = 100


@dataclass(frozen=True)
class Row:
    """One metric of both results.

    Attributes:
        metric: Its name.
        a: Value of A.
        b: Value of B.
        difference: A minus B.
        interval: 95% interval of the difference.
        p: Two-sided p value.
        p_adjusted: The same after Holm's correction over all metrics compared.
        verdict: ``A is better``, ``B is better`` or ``no difference shown``.
        method: How it was tested.
        reason: Why there is no comparison; everything else is then empty.
    """

    metric: str
    a: float = 0.0
    b: float = 0.0
    difference: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)
    p: float = 1.0
    p_adjusted: float = 1.0
    verdict: str = ""
    method: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two results side by side.

    Attributes:
        a: Name of the first model.
        b: Name of the second.
        protocol_id: Protocol of both.
        pairing: Whether their clips pair, in words.
        rows: One per metric.
    """

    a: str
    b: str
    protocol_id: str
    pairing: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Result:
    record: ResultRecord
    per_clip: pd.DataFrame
    generated: Side
    reference: Side


def compare_results(a: Path, b: Path, *, reporter: Reporter = SILENT) -> Comparison:
    """Compare two results metric by metric.

    Args:
        a: ``result.json`` of one model, or the folder that holds it.
        b: The other.
        reporter: Progress.

    Raises:
        UserError: Other protocols or references (the sentence says what differs), or files that are missing.
    """
    first, second = _load(a), _load(b)
    _require_comparable(first.record, second.record)
    paired = _pair(first, second)
    scores = {score.metric: score for score in second.record.scores}
    rows = []
    with reporter.bar("comparing", total=len(first.record.scores)) as bar:
        for score in first.record.scores:
            rows.append(_row(score, scores.get(score.metric), first, second, paired))
            bar.advance(1, score.metric)
    tested = [row for row in rows if not row.reason]
    adjusted = dict(zip([row.metric for row in tested], holm([row.p for row in tested]), strict=True))
    return Comparison(
        a=first.record.display_name,
        b=second.record.display_name,
        protocol_id=first.record.protocol.id,
        pairing="clips pair by name" if paired else "clips do not pair",
        rows=tuple(_judged(row, adjusted[row.metric]) if not row.reason else row for row in rows),
    )


def _load(where: Path) -> _Result:
    path = where / RESULT_NAME if where.is_dir() else where
    if not path.is_file():
        raise UserError(f"{path}: there is no such result; make it with `avbench score`")
    record = records.load(path)
    table, rows = path.with_name(PER_CLIP_NAME), path.with_name(FEATURES_NAME)
    for needed in (table, rows):
        if not needed.is_file():
            raise UserError(f"{needed}: is missing beside {path.name}; score the clips again with this avbench")
    sides, head = statistics.load(rows)
    if head.protocol_id != record.protocol.id or not {"generated", "reference"} <= sides.keys():
        raise UserError(f"{rows}: does not belong to {path}; score the clips again")
    return _Result(record, pd.read_parquet(table), sides["generated"], sides["reference"])


def _require_comparable(a: ResultRecord, b: ResultRecord) -> None:
    if a.protocol.id != b.protocol.id:
        fields = statistics.differing(a.protocol.settings, b.protocol.settings)
        raise UserError(
            f"the protocols {a.protocol.id} and {b.protocol.id} differ in {fields}: their numbers do not compare; "
            "score both with one protocol"
        )
    other = [
        name for name in ("name", "version", "sha256", "split") if getattr(a.dataset, name) != getattr(b.dataset, name)
    ]
    if other:
        seen = " and ".join(f"{name} ({getattr(a.dataset, name)}, {getattr(b.dataset, name)})" for name in other)
        raise UserError(
            f"the references differ in {seen}: their numbers do not compare; score both against one reference"
        )
    if a.weights != b.weights:
        names = ", ".join(sorted(n for n in {*a.weights, *b.weights} if a.weights.get(n) != b.weights.get(n)))
        raise UserError(f"the weights of {names} differ: score both on a machine with the same weights")


def _pair(a: _Result, b: _Result) -> bool:
    """Clips pair when both sides have the same windows, and prompts, where there are some, agree."""
    if sorted(a.generated.window_ids) != sorted(b.generated.window_ids):
        return False
    if "prompt" in a.per_clip and "prompt" in b.per_clip:
        columns = [dict(zip(r.per_clip["window_id"], r.per_clip["prompt"], strict=True)) for r in (a, b)]
        return columns[0] == columns[1]
    return True


def _row(a: Score, b: Score | None, first: _Result, second: _Result, paired: bool) -> Row:
    if a.value is None or b is None or b.value is None:
        side = "A" if a.value is None else "B"
        reason = a.reason if a.value is None else b.reason if b is not None else "was not scored with it"
        return Row(a.metric, reason=f"{side}: {reason}")
    try:
        found = _difference(a.metric, first, second, paired)
    except UserError as error:
        return Row(a.metric, reason=str(error))
    interval = (found.low, found.high)
    return Row(a.metric, a.value, b.value, found.value, interval, found.p, method=found.method)


def _difference(metric: str, a: _Result, b: _Result, paired: bool) -> Difference:
    module, rng = registry.module("metric", metric), np.random.default_rng([0, 7])
    if module.KIND != "distance":
        return _of_means(metric, a, b, paired, rng)
    protocol = Protocol.model_validate(a.record.protocol.settings)
    options = protocol.estimators.get(metric, {})
    subsets = getattr(module, "compute_subsets", None)
    (rows_a, groups_a), (rows_b, groups_b) = a.generated.rows(module.FEATURE), b.generated.rows(module.FEATURE)
    rows_r, groups_r = a.reference.rows(module.FEATURE)
    return distance_difference(
        functools.partial(module.compute, **options),
        rows_a,
        rows_b,
        rows_r,
        a_groups=groups_a,
        b_groups=groups_b,
        reference_groups=groups_r,
        paired=paired and set(groups_a) == set(groups_b),
        rng=rng,
        draws=min(DRAWS, getattr(module, "INTERVAL_DRAWS", DRAWS)),
        of_subsets=functools.partial(subsets, **options) if subsets else None,
    )


def _of_means(metric: str, a: _Result, b: _Result, paired: bool, rng: np.random.Generator) -> Difference:
    columns = ["window_id", "cluster", metric]
    left, right = (r.per_clip[columns].dropna(subset=[metric]) for r in (a, b))
    if not paired:
        return mean_difference(left[metric], right[metric], list(left["cluster"]), list(right["cluster"]), rng)
    both = left.merge(right, on="window_id", suffixes=("_a", "_b"))
    return paired_mean_difference(both[f"{metric}_a"], both[f"{metric}_b"], list(both["cluster_a"]), rng)


def _judged(row: Row, adjusted: float) -> Row:
    better = "no difference shown"
    if adjusted < SIGNIFICANT:
        higher = registry.module("metric", row.metric).HIGHER_IS_BETTER
        better = "A is better" if (row.difference > 0) == higher else "B is better"
    return replace(row, p_adjusted=adjusted, verdict=better)
