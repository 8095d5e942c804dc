"""Distance to the nearest training clip: does a generator invent, or does it repeat what it was shown?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError
from avbench.metrics._arrays import Rows
from avbench.metrics._pairs import blocks, squared_distances, two_sides

NEAR_PERCENTILE = 1.0
"""Percentile of the real distances below which a generated row is called near."""


class Neighbours(NamedTuple):
    """The nearest row of another set, for each row.

    Attributes:
        distances: float64 (n,), Euclidean; 0 for an exact copy.
        indices: int64 (n,): row of the other set.
    """

    distances: Rows
    indices: NDArray[np.int64]


class Memorisation(NamedTuple):
    """Nearest-training-row distances of generated rows beside those of real rows the training never saw.

    Attributes:
        ratio: Median distance of the generated rows over that of the held-out real rows. 1: the generator keeps the
            distance that reality keeps; towards 0: it repeats its training set.
        share_near: Share of generated rows nearer to a training row than the nearest hundredth of the held-out rows;
            0.01 is what reality gives.
        generated_median: Median distance of the generated rows.
        held_out_median: Median distance of the held-out rows.
    """

    ratio: float
    share_near: float
    generated_median: float
    held_out_median: float


def nearest_neighbours(
    rows: ArrayLike, others: ArrayLike, *, names: tuple[str, str] = ("first", "second")
) -> Neighbours:
    """Nearest row of ``others`` for each of ``rows``, in blocks and float64.

    Args:
        rows: Float array (n, d).
        others: Float array (m, d).
        names: What the two sets are called in an error.

    Raises:
        UserError: NaN or infinity in a row, different d, or an empty side.
    """
    x, y = two_sides(rows, others, names, 1, "nearest neighbours")
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    nearest, squared = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
    for i in blocks(len(x)):
        for j in blocks(len(y)):
            squares = squared_distances(x[i], y[j])
            best = squares.argmin(axis=1)
            found = np.take_along_axis(squares, best[:, None], axis=1)[:, 0]
            nearer = found < squared[i]
            squared[i] = np.where(nearer, found, squared[i])
            nearest[i] = np.where(nearer, best + j.start, nearest[i])
    # Written out, the distance of the one row chosen has all its digits.
    distances = np.concatenate([np.linalg.norm(x[i] - y[nearest[i]], axis=1) for i in blocks(len(x))])
    return Neighbours(distances, nearest)


def memorisation(generated: ArrayLike, training: ArrayLike, held_out: ArrayLike) -> Memorisation:
    """Compare how near generated and held-out real rows come to the training rows.

    Args:
        generated: Float array (n, d).
        training: Float array (t, d): what the generator was trained on.
        held_out: Float array (m, d): real rows of other sources, which it never saw.

    Returns:
        Ratio, share and medians. Where the held-out median is 0 (the held-out rows are in the training set), the ratio
        says nothing and is an error.

    Raises:
        UserError: NaN or infinity in a row, different d, an empty side, or held-out rows that are training rows.
    """
    ours = nearest_neighbours(generated, training, names=("generated", "training")).distances
    real = nearest_neighbours(held_out, training, names=("held-out", "training")).distances
    median = float(np.median(real))
    if median == 0.0:
        raise UserError(
            "half of the held-out rows or more are rows of the training set too; memorisation is judged against real "
            "clips that were not trained on, such as the test split"
        )
    near = float(np.percentile(real, NEAR_PERCENTILE))
    return Memorisation(
        ratio=float(np.median(ours)) / median,
        share_near=float((ours < near).mean()),
        generated_median=float(np.median(ours)),
        held_out_median=median,
    )
