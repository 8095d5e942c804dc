"""95% intervals beside a score, clustered by source: clips of one source are not independent draws.

Two cases need two methods.

**Set distances** (FVD, KVD, FAD) take the delete-half jackknife: subsampling *without* replacement of half the groups
of both sides (Wu, 1990; Politis and Romano, 1994). The ordinary bootstrap is wrong here: rows drawn twice lower the
rank and add a pair of identical clips to the kernel, so every replicate is biased upward. A subsample of b out of G
groups drawn without replacement has, over the draws, the variance ``(1/b - 1/G) / (1/G) = (G - b) / b`` times that of
the whole-set estimate, so at b = G/2 the spread of the subsampled values *is* the standard error and no rescaling is
needed. (At odd G, b is rounded down, which widens the interval by less than ``1 / (G - 1)``, on the safe side.) The
interval is ``value +- 1.96 sd``. It is centred on the whole-set value, not on the mean of the subsamples, whose bias
belongs to half the size. It speaks of the spread at this N; it does not say how far FVD at this N lies above FVD at
infinite N. Where n is at or below d the distance falls with n faster than its spread does, and the interval comes out
wider than the spread over fresh samples (1.4 times at n = d / 2 on Gaussians; within 7% from n = 16 d on).

**Means of per-clip values** (AV-align) take a cluster bootstrap: groups drawn with replacement, percentiles of the
mean over all clips drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features
from avbench.metrics._pairs import Picks

MIN_GROUPS = 4
"""Fewest independent groups of one side that can tell a spread."""

Z_95 = 1.959963984540054
"""Half-width of a 95% interval in standard deviations of a normal distribution."""


OfSubsets = Callable[[Rows, Rows, Picks, Picks], Sequence[float]]
"""Both sets and the rows of each subset of either, to one distance for each pair of subsets."""


class Interval(NamedTuple):
    """A 95% interval and how it was made.

    Attributes:
        low: Lower end.
        high: Upper end.
        kind: Name of the method with its numbers, for the result record.
    """

    low: float
    high: float
    kind: str


def distance_interval(
    distance: Callable[[Rows, Rows], float],
    generated: ArrayLike,
    reference: ArrayLike,
    *,
    generated_groups: Sequence[str],
    reference_groups: Sequence[str],
    rng: np.random.Generator,
    draws: int = 100,
    of_subsets: OfSubsets | None = None,
    value: float | None = None,
) -> Interval:
    """Delete-half jackknife interval of a distance between two sets of features.

    Args:
        distance: The metric's ``compute``.
        generated: Float array (n, d).
        reference: Float array (m, d).
        generated_groups: Source of each generated row; the clip id where each clip stands alone.
        reference_groups: Source of each reference row.
        rng: Where the subsamples come from.
        draws: Subsamples; the standard error itself is good to ``1 / sqrt(2 draws)``.
        of_subsets: The metric's ``compute_subsets``, where it has one: the distances of all subsamples at once.
        value: The distance of the whole sets, where it is known already.

    Raises:
        UserError: A side has fewer than `MIN_GROUPS` groups, or bad features.
    """
    rows_g, rows_r = as_features(generated, "generated"), as_features(reference, "reference")
    clusters_g = cluster_rows(generated_groups, len(rows_g), "generated")
    clusters_r = cluster_rows(reference_groups, len(rows_r), "reference")
    picks = [(half_of(clusters_g, rng), half_of(clusters_r, rng)) for _ in range(draws)]
    if of_subsets is not None:
        halves = of_subsets(rows_g, rows_r, [pick for pick, _ in picks], [pick for _, pick in picks])
    else:
        halves = [distance(rows_g[pick_g], rows_r[pick_r]) for pick_g, pick_r in picks]
    reach = Z_95 * float(np.std(halves, ddof=1))
    value = distance(rows_g, rows_r) if value is None else value
    kind = (
        f"delete-half jackknife: {draws} subsamples without replacement of half the "
        f"{len(clusters_g)} generated and {len(clusters_r)} reference groups, value +- 1.96 sd"
    )
    return Interval(value - reach, value + reach, kind)


def mean_interval(values: ArrayLike, *, groups: Sequence[str], rng: np.random.Generator, draws: int = 2000) -> Interval:
    """Cluster-bootstrap percentile interval of the mean of per-clip values.

    Args:
        values: Float array (n,) without NaN: clips that gave no value are left out by the caller, who counts them.
        groups: Source of each clip; the clip id where each clip stands alone.
        rng: Where the replicates come from.
        draws: Replicates.

    Raises:
        UserError: A value is NaN or infinite, or there are fewer than `MIN_GROUPS` groups.
    """
    numbers = np.asarray(values, dtype=np.float64)
    n_bad = int((~np.isfinite(numbers)).sum())
    if n_bad:
        raise UserError(f"{n_bad} of {len(numbers)} values are not numbers; leave them out")
    clusters = cluster_rows(groups, len(numbers), "generated")
    sums = np.array([numbers[cluster].sum() for cluster in clusters])
    sizes = np.array([len(cluster) for cluster in clusters])
    picks = rng.integers(len(clusters), size=(draws, len(clusters)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    kind = f"cluster bootstrap: {draws} replicates of {len(clusters)} groups, percentiles"
    return Interval(float(low), float(high), kind)


def cluster_rows(groups: Sequence[str], n_rows: int, name: str) -> list[NDArray[np.intp]]:
    """Row numbers of each group, groups in sorted order so that the draws do not depend on the order of rows."""
    if len(groups) != n_rows:
        raise ValueError(f"{len(groups)} {name} group names for {n_rows} rows")
    labels, inverse = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(labels) < MIN_GROUPS:
        raise UserError(f"{len(labels)} independent source(s) of {name} clips; an interval needs at least {MIN_GROUPS}")
    return [np.flatnonzero(inverse == k) for k in range(len(labels))]


def half_of(clusters: list[NDArray[np.intp]], rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows of half the groups, drawn without replacement."""
    chosen = rng.permutation(len(clusters))[: len(clusters) // 2]
    return np.concatenate([clusters[k] for k in chosen])
