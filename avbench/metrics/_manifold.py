"""Precision and recall, density and coverage: how two sets overlap, judged by nearest neighbours.

Each row of a set owns a ball that reaches to its k-th nearest neighbour in the same set. Precision and density ask
whether generated rows lie in the balls of real ones (are they good), recall and coverage whether real rows are reached
by generated ones (is all there).

Sources: Kynkaanniemi et al. 2019, arXiv 1904.06991 (precision, recall); Naeem et al. 2020, arXiv 2002.09797 (density,
coverage), whose published code (clovaai/generative-evaluation-prdc) gives the same numbers. A row lies in a ball when
it is nearer than the radius; as near does not count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from avbench.errors import UserError
from avbench.metrics._arrays import Rows
from avbench.metrics._pairs import blocks, squared_distances, two_sides

NEAREST = 5
"""Neighbours that fix the radius of a ball, as Naeem et al. recommend."""

CLEARLY = 1 - 1e-9
"""A squared distance below this share of a squared radius is nearer; beyond that the two differ by rounding only."""


class PrecisionRecall(NamedTuple):
    """Overlap judged by any ball.

    Attributes:
        precision: Share of generated rows in the ball of some real row, in [0, 1].
        recall: Share of real rows in the ball of some generated row, in [0, 1].
    """

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Overlap judged by the balls of the real rows alone.

    Attributes:
        density: Balls of real rows that hold a generated row, mean over generated rows, over k; about 1 where the two
            sets agree, at least 0, and without an upper limit.
        coverage: Share of real rows whose ball holds a generated row, in [0, 1].
    """

    density: float
    coverage: float


def precision_recall(
    generated: ArrayLike,
    reference: ArrayLike,
    *,
    k: int = NEAREST,
    names: tuple[str, str] = ("generated", "reference"),
) -> PrecisionRecall:
    """Precision and recall of a generated set; higher is better.

    Both grow with the radius, so compare them only at equal k and equal N.

    Args:
        generated: Float array (n, d), n above k.
        reference: Float array (m, d), m above k.
        k: Neighbours that fix a radius.
        names: What the two sets are called in an error.

    Raises:
        UserError: NaN or infinity in a row, different d, or at most k rows on a side.
    """
    x, y = _sides(generated, reference, k, names, both=True)
    reached_x, reached_y = np.zeros(len(x), dtype=bool), np.zeros(len(y), dtype=bool)
    radii_x, radii_y = _squared_radii(x, k), _squared_radii(y, k)
    for i in blocks(len(y)):
        for j in blocks(len(x)):
            squares = squared_distances(y[i], x[j])
            reached_x[j] |= (squares < radii_y[i, None]).any(axis=0)
            reached_y[i] |= (squares < radii_x[j]).any(axis=1)
    return PrecisionRecall(float(reached_x.mean()), float(reached_y.mean()))


def density_coverage(
    generated: ArrayLike,
    reference: ArrayLike,
    *,
    k: int = NEAREST,
    names: tuple[str, str] = ("generated", "reference"),
) -> DensityCoverage:
    """Density and coverage of a generated set; higher is better.

    Coverage of a perfect generator at n = m is about ``1 - 2^-k``: 0.97 at k = 5.

    Args:
        generated: Float array (n, d), n at least 1.
        reference: Float array (m, d), m above k.
        k: Neighbours that fix a radius.
        names: What the two sets are called in an error.

    Raises:
        UserError: NaN or infinity in a row, different d, or at most k reference rows.
    """
    x, y = _sides(generated, reference, k, names, both=False)
    radii = _squared_radii(y, k)
    inside, covered = 0, np.zeros(len(y), dtype=bool)
    for i in blocks(len(y)):
        for j in blocks(len(x)):
            holds = squared_distances(y[i], x[j]) < radii[i, None]
            inside += int(holds.sum())
            covered[i] |= holds.any(axis=1)
    return DensityCoverage(inside / (k * len(x)), float(covered.mean()))


def _sides(
    generated: ArrayLike, reference: ArrayLike, k: int, names: tuple[str, str], *, both: bool
) -> tuple[Rows, Rows]:
    """Both sides, checked and centred at the mean of the reference."""
    if k < 1:
        raise UserError(f"{k} nearest neighbours fix no radius; take 1 or more")
    x, y = two_sides(generated, reference, names, 1, "nearest neighbours")
    for rows, name in ((x, names[0]), (y, names[1])) if both else ((y, names[1]),):
        if len(rows) <= k:
            raise UserError(f"{len(rows)} row(s) of {name} features have no {k} neighbours each; {k + 1} are needed")
    centre = y.mean(axis=0)
    return x - centre, y - centre


def _squared_radii(rows: Rows, k: int) -> Rows:
    """Just below the squared distance of each row to its k-th nearest other row, float64 (n,)."""
    radii = np.empty(len(rows))
    for i in blocks(len(rows)):
        nearest = np.full((i.stop - i.start, k), np.inf)
        for j in blocks(len(rows)):
            squares = squared_distances(rows[i], rows[j])
            if i == j:
                np.fill_diagonal(squares, np.inf)
            nearest = np.partition(np.concatenate([nearest, squares], axis=1), k - 1, axis=1)[:, :k]
        radii[i] = nearest.max(axis=1)
    return radii * CLEARLY
