"""Frechet distances between many pairs of subsets of the same two sets, as an interval and an extrapolation need them.

Each subset has its own mean and covariance, and there is no way around one decomposition for each pair. What can be
spared is the rest. Where a subset has more rows than dimensions, its scatter matrix and a Cholesky factor L of it take
the place of centred rows and their QR factor, and ``L^T S L`` has the eigenvalues of the product of the two
covariances. Subsets overlap, so the rows of a few of them are dealt into cells by the subsets they belong to, and the
scatter of each cell is computed once.

That costs digits which a distance of its own is not to lose, but a subsample can spare: the loss is estimated for each
pair, and a pair that would lose more than `LOST_DIGITS` takes the long way.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from avbench import parallel
from avbench.errors import UserError
from avbench.metrics._arrays import Rows
from avbench.metrics._frechet import distance, moments, one_thread, roots_of_eigenvalues
from avbench.metrics._pairs import Picks, two_sides

LOST_DIGITS = 1e-7
"""Largest bound on the error of one subsample's trace of the root, relative to it."""

MOST_THREADS = 8
"""Subsets are computed side by side, `TOGETHER` on one thread."""

TOGETHER = 4
"""Subsets whose scatters are computed together: of halves of all rows, for half the price. A thread holds the rows and
two d x d matrices of each."""


def frechet_distance_of_subsets(
    x: ArrayLike,
    y: ArrayLike,
    picks_x: Picks,
    picks_y: Picks,
    ddof: int = 1,
    *,
    names: tuple[str, str] = ("generated", "reference"),
) -> list[float]:
    """`avbench.metrics.frechet_distance` of many pairs of subsets, several times faster than one by one.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        picks_x: Row numbers of each subset of x, none twice.
        picks_y: The same for y; as many subsets.
        ddof: Covariances are divided by the size of the subset less this.
        names: What the two sets are called in an error.

    Returns:
        One distance for each pair, the same for any number of threads.

    Raises:
        UserError: NaN or infinity in a row, different d, or a subset too small for ``ddof``.
    """
    rows_x, rows_y = two_sides(x, y, names, 1, "a Frechet distance")
    centre = rows_y.mean(axis=0)  # near the means of all subsets, so that taking those off later costs no digits
    rows_x, rows_y = rows_x - centre, rows_y - centre
    smallest = min(len(pick) for pick in [*picks_x, *picks_y])
    if smallest <= ddof:
        raise UserError(f"a subset of {smallest} row(s) is too small for a Frechet distance; it needs {ddof + 1}")

    def some(start: int) -> list[float]:
        few_x, few_y = picks_x[start : start + TOGETHER], picks_y[start : start + TOGETHER]
        found: list[float | None] = [None] * len(few_x)
        if min(len(pick) for pick in [*few_x, *few_y]) > rows_x.shape[1]:
            gaussians = zip(_gaussians(rows_x, few_x, ddof), _gaussians(rows_y, few_y, ddof), strict=True)
            found = [_by_covariance(a, b) for a, b in gaussians]
        return [
            distance(moments(rows_x[a]), moments(rows_y[b]), ddof, names=names, tolerance=LOST_DIGITS)
            if value is None
            else value
            for value, a, b in zip(found, few_x, few_y, strict=True)
        ]

    with one_thread(), ThreadPoolExecutor(min(MOST_THREADS, parallel.default_workers())) as pool:
        return [value for part in pool.map(some, range(0, len(picks_x), TOGETHER)) for value in part]


def _gaussians(rows: Rows, picks: Picks, ddof: int) -> list[tuple[Rows, Rows]]:
    """Mean and covariance of each of a few subsets."""
    n, d = len(picks), rows.shape[1]
    cell = np.zeros(len(rows), dtype=np.int64)
    for k, pick in enumerate(picks):
        cell[pick] |= 1 << k
    sums, scatters = np.zeros((n, d)), np.zeros((n, d, d))
    for code in np.unique(cell[cell > 0]):
        part = rows[cell == code]
        scatter, total = part.T @ part, part.sum(axis=0)
        for k in range(n):
            if code >> k & 1:
                sums[k] += total
                scatters[k] += scatter
    for k, pick in enumerate(picks):
        scatters[k] -= np.outer(sums[k], sums[k] / len(pick))
        scatters[k] /= len(pick) - ddof
        sums[k] /= len(pick)
    return list(zip(sums, scatters, strict=True))


def _by_covariance(a: tuple[Rows, Rows], b: tuple[Rows, Rows]) -> float | None:
    """Distance of two Gaussians given by mean and covariance; None where that loses too many digits."""
    (mean_a, covariance_a), (mean_b, covariance_b) = a, b
    traces = float(np.trace(covariance_a) + np.trace(covariance_b))
    lower, failed = lapack.dpotrf(covariance_a, lower=1, clean=0)
    if failed or not np.isfinite(traces):
        return None
    product, _ = lapack.dsygst(covariance_b, lower, itype=2, lower=1)  # L^T S_b L, in its lower triangle
    root = roots_of_eigenvalues(np.linalg.eigvalsh(product, UPLO="L"), None, LOST_DIGITS)
    if root is None:
        return None
    shift = mean_a - mean_b
    return max(float(shift @ shift) + traces - 2 * root, 0.0)
