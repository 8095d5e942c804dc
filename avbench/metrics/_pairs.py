"""Sums over pairs of rows, in blocks: memory does not grow with the product of the two sizes.

A kernel is a function of two blocks of rows that returns their matrix of values, float64 (len(x), len(y)).

Many subsets of the same rows cost about as much as all rows once: with one column of zeros and ones per subset in U and
V, the kernel sums of all subsets are the diagonal of ``U^T K V``, for which each block of K is computed a single time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features, check_same_width

BLOCK_ROWS = 1024
"""Rows per side of one block of a pair matrix: 8 MiB in float64."""

COINCIDENT = 1e-13
"""Squared distances below this share of the two squared lengths are rounding: the rows are equal."""

Kernel = Callable[[Rows, Rows], Rows]
"""Two blocks of rows to the matrix of their kernel values."""

Picks = Sequence[NDArray[np.intp]]
"""Row numbers of one subset after the other."""


def two_sides(x: ArrayLike, y: ArrayLike, names: tuple[str, str], at_least: int, what: str) -> tuple[Rows, Rows]:
    """Check both sides of a distance.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        names: What the two are called in an error.
        at_least: Fewest rows of a side.
        what: What needs them (``"a kernel distance"``).

    Raises:
        UserError: NaN or infinity in a row, different d, or fewer rows.
    """
    rows = as_features(x, names[0]), as_features(y, names[1])
    check_same_width(*rows, names)
    for side, name in zip(rows, names, strict=True):
        if len(side) < at_least:
            count = "1 row" if len(side) == 1 else f"{len(side)} rows"
            raise UserError(f"{count} of {name} features {_verb(len(side))} too few for {what}; it needs {at_least}")
    return rows


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"


def blocks(n: int) -> Iterator[slice]:
    """Slices of at most `BLOCK_ROWS` that cover ``n`` rows."""
    return (slice(start, min(start + BLOCK_ROWS, n)) for start in range(0, n, BLOCK_ROWS))


def within_means(rows: Rows, kernel: Kernel, picks: Picks) -> Rows:
    """Mean kernel over ordered pairs of two different rows, for each subset: float64 (subsets,).

    The kernel must be symmetric: blocks below the diagonal are those above it.
    """
    weights = _indicators(len(rows), picks)
    sums = np.zeros(len(picks))
    for i in blocks(len(rows)):
        square = kernel(rows[i], rows[i])
        np.fill_diagonal(square, 0.0)
        sums += _pair_sums(weights[i], square, weights[i])
        for j in blocks(len(rows)):
            if j.start > i.start:
                sums += 2 * _pair_sums(weights[i], kernel(rows[i], rows[j]), weights[j])
    sizes = np.array([len(pick) for pick in picks], dtype=np.float64)
    return sums / (sizes * (sizes - 1))


def cross_means(x: Rows, y: Rows, kernel: Kernel, picks_x: Picks, picks_y: Picks) -> Rows:
    """Mean kernel over all pairs of a row of x and a row of y, for each pair of subsets: float64 (subsets,)."""
    weights_x, weights_y = _indicators(len(x), picks_x), _indicators(len(y), picks_y)
    sums = np.zeros(len(picks_x))
    for i in blocks(len(x)):
        for j in blocks(len(y)):
            sums += _pair_sums(weights_x[i], kernel(x[i], y[j]), weights_y[j])
    return sums / np.array([len(a) * len(b) for a, b in zip(picks_x, picks_y, strict=True)], dtype=np.float64)


def mmd_unbiased(x: Rows, y: Rows, kernel: Kernel, picks_x: Picks | None = None, picks_y: Picks | None = None) -> Rows:
    """Unbiased squared MMD (Gretton et al. 2012, lemma 6) of each pair of subsets; of the whole sets without picks.

    Args:
        x: float64 (n, d).
        y: float64 (m, d).
        kernel: Symmetric kernel.
        picks_x: Row numbers of each subset of x, at least two each, none twice.
        picks_y: The same for y; as many subsets.

    Returns:
        float64 (subsets,).
    """
    picks_x = [np.arange(len(x))] if picks_x is None else picks_x
    picks_y = [np.arange(len(y))] if picks_y is None else picks_y
    # The whole matrix once, or each subset's own: whichever has fewer pairs.
    if len(x) * len(y) <= sum(len(a) * len(b) for a, b in zip(picks_x, picks_y, strict=True)):
        within = within_means(x, kernel, picks_x) + within_means(y, kernel, picks_y)
        return np.asarray(within - 2 * cross_means(x, y, kernel, picks_x, picks_y))
    return np.array([mmd_unbiased(x[a], y[b], kernel)[0] for a, b in zip(picks_x, picks_y, strict=True)])


def squared_distances(x: Rows, y: Rows) -> Rows:
    """Squared Euclidean distances, float64 (len(x), len(y)); exactly 0 where two rows are equal to rounding.

    The sum of squares less twice the product loses digits where rows lie far from the origin: centre them first.
    """
    lengths = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)
    squares = lengths - 2 * (x @ y.T)
    squares[squares < COINCIDENT * lengths] = 0.0
    return np.asarray(squares)


def _indicators(n: int, picks: Picks) -> Rows:
    """float64 (n, subsets): 1 where the row belongs to the subset."""
    weights = np.zeros((n, len(picks)))
    for column, pick in enumerate(picks):
        weights[pick, column] = 1.0
    return weights


def _pair_sums(left: Rows, matrix: Rows, right: Rows) -> Rows:
    """Diagonal of ``left.T @ matrix @ right``."""
    return np.asarray(np.einsum("ik,ik->k", left, matrix @ right))
