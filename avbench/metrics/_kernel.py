"""Maximum mean discrepancy with a polynomial kernel, the estimator behind KVD.

``k(x, y) = (x.y / d + coef)^degree``; the unbiased U-statistic of Gretton et al. (2012), lemma 6: the diagonals of the
two within-set kernels are left out, the cross term is a plain mean. Being unbiased, it is negative about half the time
for two samples of one distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features, check_same_width

BLOCK_ROWS = 1024
"""Rows per side of one block of the kernel matrix: 8 MiB in float64."""


def polynomial_mmd(
    x: ArrayLike,
    y: ArrayLike,
    degree: int = 3,
    coef: float = 1.0,
    *,
    names: tuple[str, str] = ("first", "second"),
) -> float:
    """Unbiased squared MMD over all rows of both sets, with kernel ``(x.y / d + coef)^degree``.

    Computed in float64 and in blocks, so that memory does not grow with n times m.

    Args:
        x: Float array (n, d), n at least 2.
        y: Float array (m, d), m at least 2.
        degree: Power of the kernel, at least 1.
        coef: Constant of the kernel.
        names: What the two sets are called in an error.

    Returns:
        The estimate, without any factor; it may be negative.

    Raises:
        UserError: NaN or infinity in a row, different d, fewer than two rows on a side, or a degree below 1.
    """
    rows_x, rows_y = as_features(x, names[0]), as_features(y, names[1])
    check_same_width(rows_x, rows_y, names)
    if degree < 1:
        raise UserError(f"the degree of the polynomial kernel is {degree}; it must be 1 or more")
    for rows, name in zip((rows_x, rows_y), names, strict=True):
        if len(rows) < 2:
            raise UserError(f"1 row of {name} features is too few for a kernel distance; it needs 2")
    within = _within_mean(rows_x, degree, coef) + _within_mean(rows_y, degree, coef)
    return within - 2 * _cross_mean(rows_x, rows_y, degree, coef)


def _within_mean(rows: Rows, degree: int, coef: float) -> float:
    """Mean kernel over ordered pairs of two different rows; the blocks below the diagonal equal those above."""
    n, sums = len(rows), []
    for i in range(0, n, BLOCK_ROWS):
        square = _kernel(rows[i : i + BLOCK_ROWS], rows[i : i + BLOCK_ROWS], degree, coef)
        np.fill_diagonal(square, 0.0)
        sums.append(float(square.sum()))
        for j in range(i + BLOCK_ROWS, n, BLOCK_ROWS):
            sums.append(2 * float(_kernel(rows[i : i + BLOCK_ROWS], rows[j : j + BLOCK_ROWS], degree, coef).sum()))
    return math.fsum(sums) / (n * (n - 1))


def _cross_mean(x: Rows, y: Rows, degree: int, coef: float) -> float:
    """Mean kernel over all pairs of a row of ``x`` and a row of ``y``."""
    sums = [
        float(_kernel(x[i : i + BLOCK_ROWS], y[j : j + BLOCK_ROWS], degree, coef).sum())
        for i in range(0, len(x), BLOCK_ROWS)
        for j in range(0, len(y), BLOCK_ROWS)
    ]
    return math.fsum(sums) / (len(x) * len(y))


def _kernel(x: Rows, y: Rows, degree: int, coef: float) -> Rows:
    """One block of the kernel matrix, float64 (len(x), len(y))."""
    base = x @ y.T / x.shape[1] + coef
    block = base.copy()
    for _ in range(degree - 1):  # several times faster than numpy's general power
        block *= base
    return block
