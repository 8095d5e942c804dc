"""Maximum mean discrepancy with a polynomial kernel: the estimators behind KVD, KID and JEDi.

``k(x, y) = (x.y / d + coef)^degree``. The unbiased U-statistic of Gretton et al. (2012), lemma 6, leaves out the
diagonals of the two within-set kernels; the cross term is a plain mean. Being unbiased, it is negative about half the
time for two samples of one distribution. The biased V-statistic keeps the diagonals: it is never negative where
``coef`` is not, and lies above the truth by about ``1/n`` of the kernel's spread.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from avbench.errors import UserError
from avbench.metrics._arrays import Rows
from avbench.metrics._pairs import Kernel, Picks, blocks, mmd_unbiased, two_sides

WHAT = "a kernel distance"


class SubsetDistance(NamedTuple):
    """Mean and spread of a kernel distance over random subsets.

    Attributes:
        mean: Mean over the subsets.
        sd: Standard deviation over them (divided by their number, as published code reports it).
    """

    mean: float
    sd: float


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
    rows_x, rows_y = two_sides(x, y, names, 2, WHAT)
    return float(mmd_unbiased(rows_x, rows_y, polynomial_kernel(degree, coef))[0])


def polynomial_mmd_of_subsets(
    x: ArrayLike, y: ArrayLike, picks_x: Picks, picks_y: Picks, degree: int = 3, coef: float = 1.0
) -> list[float]:
    """`polynomial_mmd` of many pairs of subsets, for about the cost of one over all rows.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        picks_x: Row numbers of each subset of x, at least two each, none twice.
        picks_y: The same for y; as many subsets.
        degree: Power of the kernel.
        coef: Constant of the kernel.

    Raises:
        UserError: As `polynomial_mmd`.
    """
    rows_x, rows_y = two_sides(x, y, ("generated", "reference"), 2, WHAT)
    return [float(value) for value in mmd_unbiased(rows_x, rows_y, polynomial_kernel(degree, coef), picks_x, picks_y)]


def polynomial_mmd_biased(
    x: ArrayLike,
    y: ArrayLike,
    degree: int = 2,
    coef: float = 0.0,
    *,
    names: tuple[str, str] = ("first", "second"),
) -> float:
    """Biased squared MMD (V-statistic) with kernel ``(x.y / d + coef)^degree``; JEDi's, with its defaults.

    Source: Luo et al. 2024, arXiv 2410.05203 (JEDi), which reports it times 100.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        degree: Power of the kernel, at least 1.
        coef: Constant of the kernel.
        names: What the two sets are called in an error.

    Returns:
        The estimate, without any factor; at least 0 (to rounding) where ``coef`` is, and 0 for a set and itself.

    Raises:
        UserError: NaN or infinity in a row, different d, or a degree below 1.
    """
    rows_x, rows_y = two_sides(x, y, names, 1, WHAT)
    kernel = polynomial_kernel(degree, coef)
    within = _plain_mean(rows_x, rows_x, kernel) + _plain_mean(rows_y, rows_y, kernel)
    return within - 2 * _plain_mean(rows_x, rows_y, kernel)


def kernel_distance_subsets(
    x: ArrayLike,
    y: ArrayLike,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    coef: float = 1.0,
    seed: int = 2020,
    names: tuple[str, str] = ("first", "second"),
) -> SubsetDistance:
    """Unbiased squared MMD as mean and deviation over random subsets: the estimator of KID.

    Each subset takes ``subset_size`` rows of either side without replacement; the draws are those of torch-fidelity
    with the same seed, and so depend on the order of the rows. Source: Binkowski et al. 2018, arXiv 1801.01401.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        subsets: Number of subsets.
        subset_size: Rows of either side in a subset, from 2 to the smaller of n and m.
        degree: Power of the kernel.
        coef: Constant of the kernel.
        seed: Seed of the draws.
        names: What the two sets are called in an error.

    Raises:
        UserError: As `polynomial_mmd`, or a side has fewer rows than a subset.
    """
    rows_x, rows_y = two_sides(x, y, names, 2, WHAT)
    smaller = min(len(rows_x), len(rows_y))
    if not 2 <= subset_size <= smaller or subsets < 1:
        raise UserError(
            f"{subsets} subsets of {subset_size} rows cannot be drawn from {len(rows_x)} {names[0]} and {len(rows_y)} "
            f"{names[1]} rows; take at least one subset, of 2 to {smaller} rows"
        )
    draw = np.random.RandomState(seed)  # the legacy generator, whose draws the published numbers rest on
    picks_x, picks_y = [], []
    for _ in range(subsets):
        picks_x.append(draw.choice(len(rows_x), subset_size, replace=False))
        picks_y.append(draw.choice(len(rows_y), subset_size, replace=False))
    values = mmd_unbiased(rows_x, rows_y, polynomial_kernel(degree, coef), picks_x, picks_y)
    return SubsetDistance(float(values.mean()), float(values.std()))


def polynomial_kernel(degree: int, coef: float) -> Kernel:
    """The kernel ``(x.y / d + coef)^degree``.

    Raises:
        UserError: The degree is below 1.
    """
    if degree < 1:
        raise UserError(f"the degree of the polynomial kernel is {degree}; it must be 1 or more")
    return functools.partial(_polynomial, degree=degree, coef=coef)


def _polynomial(x: Rows, y: Rows, *, degree: int, coef: float) -> Rows:
    """One block of the kernel matrix, float64 (len(x), len(y))."""
    base = x @ y.T / x.shape[1] + coef
    block = base.copy()
    for _ in range(degree - 1):  # several times faster than numpy's general power
        block *= base
    return block


def _plain_mean(x: Rows, y: Rows, kernel: Kernel) -> float:
    """Mean kernel over all pairs, a row and itself among them."""
    sums = [float(kernel(x[i], y[j]).sum()) for i in blocks(len(x)) for j in blocks(len(y))]
    return float(np.sum(sums)) / (len(x) * len(y))
