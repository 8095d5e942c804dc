"""What must stand beside a number: interval, floor, chance level, outliers and memorisation.

Each function takes rows or values and the clusters they come from; none of them reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from avbench.errors import UserError
from avbench.metrics._interval import OfSubsets, distance_interval, mean_interval
from avbench.metrics._neighbours import memorisation, nearest_neighbours
from avbench.sides import Side

FLOOR_SPLITS = 5
CHANCE_SHUFFLES = 10

Distance = Callable[[np.ndarray, np.ndarray], float]
Found = tuple[tuple[float, float] | None, str, str]
"""An interval or None, how it was made, and why there is none."""


def of_distance(
    distance: Distance,
    generated: tuple[np.ndarray, list[str]],
    reference: tuple[np.ndarray, list[str]],
    *,
    seed: int,
    draws: int,
    of_subsets: OfSubsets | None = None,
    value: float | None = None,
) -> Found:
    """Delete-half jackknife of a distance over the clusters of both sides; see `distance_interval`."""
    (x, x_groups), (y, y_groups) = generated, reference
    rng = np.random.default_rng([seed, 1])
    try:
        found = distance_interval(
            distance,
            x,
            y,
            generated_groups=x_groups,
            reference_groups=y_groups,
            rng=rng,
            draws=draws,
            of_subsets=of_subsets,
            value=value,
        )
    except UserError as error:
        return None, "", str(error)
    return (found.low, found.high), found.kind, ""


def of_mean(values: np.ndarray, groups: Sequence[str], *, seed: int) -> Found:
    """Cluster bootstrap of a mean over clips."""
    try:
        found = mean_interval(values, groups=groups, rng=np.random.default_rng([seed, 3]))
    except UserError as error:
        return None, "", str(error)
    return (found.low, found.high), found.kind, ""


def floor(
    distance: Distance, reference: tuple[np.ndarray, list[str]], n: int, *, seed: int
) -> tuple[float | None, str]:
    """Distance of the reference to itself: two halves that share no cluster, at most ``n`` rows each.

    It says what a perfect generator would score at this N. Mean over `FLOOR_SPLITS` seeded splits.
    """
    rows, groups = reference
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
        try:
            values.append(float(distance(rows[halves[0]], rows[halves[1]])))
        except UserError as error:  # halves are too small for some metrics whose whole sides are not
            return None, f"none: {error}"
    return float(np.mean(values)), f"real against real ({sizes[0]} and {sizes[1]} rows, mean of {FLOOR_SPLITS} splits)"


def chance(
    pair: Callable[[int, int], float], clusters: Sequence[str], seed: int, what: str
) -> tuple[float | None, str]:
    """A per-clip score with each clip paired with one of another cluster: what a blind generator would have.

    Mean over `CHANCE_SHUFFLES` seeded cyclic shifts of a random order.

    Args:
        pair: Score of one part of clip i with the other part of clip j.
        clusters: Cluster of each clip.
        seed: Of the shuffles.
        what: What comes from another clip, for the description.
    """
    found = []
    for shuffle in range(CHANCE_SHUFFLES):
        order = np.random.default_rng([seed, 4, shuffle]).permutation(len(clusters))
        for i, j in zip(order, np.roll(order, 1), strict=True):
            if clusters[i] != clusters[j]:
                found.append(pair(int(i), int(j)))
    values = np.array(found, dtype=np.float64)
    if not np.isfinite(values).any():
        return None, ""
    return float(np.nanmean(values)), f"chance: {what} of another clip ({np.isfinite(values).sum()} pairs)"


def outliers(generated: Side, real: Side, feature: str) -> np.ndarray:
    """How far each generated window lies from the reference: Euclidean distance to its nearest reference row.

    Mean over the rows of a window, in feature units, float64; NaN for a window without rows.
    """
    near = nearest_neighbours(generated.rows(feature)[0], real.rows(feature)[0], names=("generated", "reference"))
    owner, windows = generated.embeddings[feature].owner, len(generated.window_ids)
    counts = np.bincount(owner, minlength=windows)
    sums = np.bincount(owner, weights=near.distances, minlength=windows)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def memorised(generated: Side, real: Side, seen: Side) -> tuple[dict[str, dict[str, float]], list[str]]:
    """How near the generated clips lie to the training set, beside the reference clips, in each feature.

    Args:
        generated: The generated side.
        real: The reference side: real clips that were not trained on.
        seen: The training set.

    Returns:
        By feature the fields of `avbench.metrics.Memorisation`, and sentences on features that gave none.
    """
    found, warnings = {}, []
    for name in generated.embeddings:
        try:
            found[name] = memorisation(generated.rows(name)[0], seen.rows(name)[0], real.rows(name)[0])._asdict()
        except UserError as error:
            warnings.append(f"memorisation by {name}: {error}")
    return found, warnings
