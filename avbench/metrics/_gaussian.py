"""Kernel audio distance (KAD): unbiased MMD with a Gaussian kernel whose width comes from the data.

Source: Chung et al. 2025, arXiv 2502.15602, and YoonjinXD/kadtk:kadtk/kad.py. By its documentation the width comes from
the reference; the public code takes it from the evaluated set, so that the yardstick changes with what it measures.
Both can be had; the reference is the default. The public code computes in float32, which leaves four digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features
from avbench.metrics._pairs import blocks, mmd_unbiased, squared_distances, two_sides

SCALE = 100.0
"""Factor of the published numbers."""

EPSILON = 1e-8
"""Added to twice the squared width, as the public code has it."""

HELD_PAIRS = 1 << 22
"""Pair distances that are held and ordered in memory (32 MiB); more are narrowed down by counting first."""

BINS = 4096
"""Bins of one counting pass."""


def kernel_audio_distance(
    generated: ArrayLike,
    reference: ArrayLike,
    *,
    bandwidth_from: Literal["reference", "generated"] = "reference",
    names: tuple[str, str] = ("generated", "reference"),
) -> float:
    """KAD: 100 times the unbiased squared MMD with kernel ``exp(-|x - y|^2 / (2 s^2 + 1e-8))``.

    Args:
        generated: Float array (n, d), n at least 2.
        reference: Float array (m, d), m at least 2.
        bandwidth_from: Side whose median pairwise distance is the width s: ``reference`` as the paper says,
            ``generated`` as the public code does.
        names: What the two sets are called in an error.

    Returns:
        The estimate; it may be negative, and is at most 200.

    Raises:
        UserError: NaN or infinity in a row, different d, fewer than two rows, or a width of 0.
    """
    x, y = two_sides(generated, reference, names, 2, "a kernel distance")
    if bandwidth_from not in ("reference", "generated"):
        raise UserError(f"KAD takes its bandwidth from 'reference' or 'generated', not from {bandwidth_from!r}")
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    chosen, name = (y, names[1]) if bandwidth_from == "reference" else (x, names[0])
    width = median_pairwise_distance(chosen)
    if width == 0.0:
        raise UserError(
            f"half of the pairs of {name} features or more are equal rows: their median distance is 0, which is no "
            "bandwidth for KAD; look for repeated clips"
        )
    gamma = 1 / (2 * width**2 + EPSILON)

    def gaussian(a: Rows, b: Rows) -> Rows:
        return np.asarray(np.exp(-gamma * squared_distances(a, b)))

    return SCALE * float(mmd_unbiased(x, y, gaussian)[0])


def median_pairwise_distance(rows: ArrayLike) -> float:
    """Median Euclidean distance over the ``n (n - 1) / 2`` pairs of rows; the lower one where their number is even.

    Exact, at any n: what does not fit in memory is counted in bins first, pass by pass over the blocks, until the bin
    that holds the median does.

    Args:
        rows: Float array (n, d), n at least 2.

    Raises:
        UserError: NaN or infinity in a row.
    """
    checked = as_features(rows, "given")
    centred = checked - checked.mean(axis=0)
    rank = (len(centred) * (len(centred) - 1) // 2 - 1) // 2
    low, high = 0.0, 4 * float(np.einsum("ij,ij->i", centred, centred).max())
    held = len(centred) * (len(centred) - 1) // 2
    while held > HELD_PAIRS and low < high:
        edges = np.linspace(low, high, BINS + 1)
        counts = np.zeros(BINS, dtype=np.int64)
        for part in _pair_squares(centred, low, high):
            counts += np.histogram(part, edges)[0]
        before = np.cumsum(counts)
        bin_of_rank = int(np.searchsorted(before, rank, side="right"))
        rank -= int(before[bin_of_rank - 1]) if bin_of_rank else 0
        held = int(counts[bin_of_rank])
        # A bin ends just below the next edge; only the last one has its upper edge inside.
        last = bin_of_rank == BINS - 1
        low, high = edges[bin_of_rank], high if last else np.nextafter(edges[bin_of_rank + 1], -np.inf)
    if low >= high:  # all that is left is one value
        return float(np.sqrt(low))
    values = np.concatenate(list(_pair_squares(centred, low, high)))
    return float(np.sqrt(np.partition(values, rank)[rank]))


def _pair_squares(rows: Rows, low: float, high: float) -> Iterator[Rows]:
    """Squared distances in [low, high] of all pairs of two different rows, block by block."""
    for i in blocks(len(rows)):
        for j in blocks(len(rows)):
            if j.start < i.start:
                continue
            square = squared_distances(rows[i], rows[j])
            part = square[np.triu_indices(len(square), 1)] if i == j else square.ravel()
            yield part[(part >= low) & (part <= high)]
