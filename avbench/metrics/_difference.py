"""Is the difference of two results real? Tests for distances to one reference and for means over clips.

**Distances** (FVD, KVD, FAD): the delete-half jackknife of `avbench.metrics._interval`, applied to the difference
``d(A, R) - d(B, R)``: each draw takes the same half of the reference for both, and where the clips of A and B pair, the
same half of the pairs. What the two share cancels, so the difference is known better than either distance. The
difference over its standard deviation is taken as normal.

**Means over clips** (AV-align): a permutation test over clusters. Paired: the sign of each cluster's difference is
drawn at random. Unpaired: clusters are dealt to A and B at random. The interval is a cluster bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features
from avbench.metrics._interval import Z_95, OfSubsets, cluster_rows, half_of, mean_interval
from avbench.metrics._pairs import Picks

PERMUTATIONS = 9999
BOOTSTRAPS = 2000

Group = Sequence[str]


class Difference(NamedTuple):
    """A minus B.

    Attributes:
        value: The difference.
        low: Lower end of its 95% interval.
        high: Upper end.
        p: Two-sided probability of a difference at least as large if there were none.
        method: What was done, in words.
    """

    value: float
    low: float
    high: float
    p: float
    method: str


def distance_difference(
    distance: Callable[[Rows, Rows], float],
    a: ArrayLike,
    b: ArrayLike,
    reference: ArrayLike,
    *,
    a_groups: Group,
    b_groups: Group,
    reference_groups: Group,
    paired: bool,
    rng: np.random.Generator,
    draws: int = 100,
    of_subsets: OfSubsets | None = None,
) -> Difference:
    """Difference of two distances to one reference.

    Args:
        distance: The metric's ``compute``.
        a: Float array (n, d).
        b: Float array (m, d).
        reference: Float array (r, d).
        a_groups: Cluster of each row of ``a``.
        b_groups: Cluster of each row of ``b``.
        reference_groups: Cluster of each row of ``reference``.
        paired: Clusters of equal name belong together; the names must then be the same on both sides.
        rng: Where the draws come from.
        draws: Subsamples.
        of_subsets: The metric's ``compute_subsets``, where it has one.

    Raises:
        UserError: Bad features, or too few clusters on a side.
    """
    rows_a, rows_b, rows_r = as_features(a, "A"), as_features(b, "B"), as_features(reference, "reference")
    in_a, in_b = cluster_rows(a_groups, len(rows_a), "A"), cluster_rows(b_groups, len(rows_b), "B")
    in_r = cluster_rows(reference_groups, len(rows_r), "reference")
    if paired and set(a_groups) != set(b_groups):
        raise ValueError("paired sides must have the same clusters")
    picks_a, picks_b, picks_r = [], [], []
    for _ in range(draws):
        picks_r.append(half_of(in_r, rng))
        state = rng.bit_generator.state
        picks_a.append(half_of(in_a, rng))
        if paired:  # clusters come in the order of their names: the same draw takes the same ones
            rng.bit_generator.state = state
        picks_b.append(half_of(in_b, rng))

    def halves(rows: Rows, picks: Picks) -> NDArray[np.float64]:
        if of_subsets is not None:
            return np.asarray(of_subsets(rows, rows_r, picks, picks_r))
        return np.array([distance(rows[p], rows_r[r]) for p, r in zip(picks, picks_r, strict=True)])

    found = halves(rows_a, picks_a) - halves(rows_b, picks_b)
    value = distance(rows_a, rows_r) - distance(rows_b, rows_r)
    sd = float(np.std(found, ddof=1))
    p = float(2 * stats.norm.sf(abs(value) / sd)) if sd > 0 else float(value == 0)
    kind = "same halves of pairs" if paired else "independent halves"
    method = (
        f"delete-half jackknife of the difference, {draws} draws, {kind} of the clips and one half of the reference"
    )
    return Difference(value, value - Z_95 * sd, value + Z_95 * sd, p, method)


def paired_mean_difference(a: ArrayLike, b: ArrayLike, groups: Group, rng: np.random.Generator) -> Difference:
    """Difference of the means of values that pair, row by row.

    Args:
        a: Float array (n,), finite.
        b: Float array (n,), finite.
        groups: Cluster of each pair.
        rng: Where permutations and replicates come from.

    Raises:
        UserError: Too few clusters, or a value that is not finite.
    """
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    interval = mean_interval(differences, groups=groups, rng=rng, draws=BOOTSTRAPS)
    sums = np.array([differences[rows].sum() for rows in cluster_rows(groups, len(differences), "paired")])
    signs = rng.choice([-1.0, 1.0], size=(PERMUTATIONS, len(sums)))
    p = _share_as_large(signs @ sums, float(sums.sum()))
    method = f"paired by clip: {PERMUTATIONS} random signs of {len(sums)} clusters"
    return Difference(float(differences.mean()), interval.low, interval.high, p, method)


def mean_difference(
    a: ArrayLike, b: ArrayLike, a_groups: Group, b_groups: Group, rng: np.random.Generator
) -> Difference:
    """Difference of the means of two independent sets of values.

    Args:
        a: Float array (n,), finite.
        b: Float array (m,), finite.
        a_groups: Cluster of each value of ``a``.
        b_groups: Cluster of each value of ``b``.
        rng: Where permutations and replicates come from.

    Raises:
        UserError: Too few clusters on a side.
    """
    (sums_a, sizes_a), (sums_b, sizes_b) = _totals(a, a_groups, "A"), _totals(b, b_groups, "B")
    value = sums_a.sum() / sizes_a.sum() - sums_b.sum() / sizes_b.sum()
    sums, sizes = np.r_[sums_a, sums_b], np.r_[sizes_a, sizes_b]
    dealt = rng.permuted(np.tile(np.arange(len(sums)) < len(sums_a), (PERMUTATIONS, 1)), axis=1)
    statistics = (dealt @ sums) / (dealt @ sizes) - (~dealt @ sums) / (~dealt @ sizes)
    replicates = _replicates(sums_a, sizes_a, rng) - _replicates(sums_b, sizes_b, rng)
    low, high = np.percentile(replicates, [2.5, 97.5])
    method = f"not paired: {PERMUTATIONS} random deals of {len(sums_a)} and {len(sums_b)} clusters"
    return Difference(float(value), float(low), float(high), _share_as_large(statistics, float(value)), method)


def holm(p: Sequence[float]) -> list[float]:
    """p values after Holm's correction for several tests, in their order (Holm 1979)."""
    order = np.argsort(p)
    adjusted, running = np.zeros(len(p)), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = running
    return adjusted.tolist()


def _totals(values: ArrayLike, groups: Group, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise UserError(f"values of {name} are not all numbers; leave out those that are not")
    clusters = cluster_rows(groups, len(numbers), name)
    return np.array([numbers[c].sum() for c in clusters]), np.array([float(len(c)) for c in clusters])


def _replicates(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> Rows:
    picks = rng.integers(len(sums), size=(BOOTSTRAPS, len(sums)))
    return sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)


def _share_as_large(drawn: NDArray[np.float64], seen: float) -> float:
    """Two-sided p value of a permutation test; the arrangement that was seen is one of them."""
    slack = 1e-12 * max(abs(seen), math.ulp(1.0))
    return float((1 + np.sum(np.abs(drawn) >= abs(seen) - slack)) / (1 + len(drawn)))
