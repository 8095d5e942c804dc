"""Frechet distance between two sets of features, and its streaming statistics.

``FD = |mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2)`` (Dowson and Landau, 1982; Heusel et al., 2017,
arXiv 1706.08500, equation 6).

No matrix square root is taken. With ``S_x = A^T A`` and ``S_y = B^T B``, where A and B are the centred rows over
``sqrt(n - ddof)``, the non-zero eigenvalues of ``S_x S_y`` are the squared singular values of ``A B^T``, so the trace
is the sum of those singular values: the nuclear norm. Singular values are found to machine precision relative to the
largest one; square roots of eigenvalues lose half the digits of the small ones, which is where other routes get
negative distances, complex parts and errors in the fourth digit once n is near or below d. Eigenvalues come four times
faster, though, and how many digits their roots lost can be told from the eigenvalues themselves. So they are taken
where the loss is below `LOST_DIGITS`, and the singular values everywhere else.

A set is kept as `Moments`: its count, mean and a factor F with ``F^T F = sum (x - mu)(x - mu)^T``. Where F has more
rows than columns its QR factor R stands in for it, which leaves ``F^T F`` the same, so memory and the cost of the
singular values are bounded by d. Keeping the scatter matrix ``F^T F`` itself would square the condition number and lose
the digits again; an orthogonal reduction is backward stable, so batch size, order of arrival and the number of
processes change the result only by rounding: well below 1e-10 of ``tr S_x + tr S_y``.
"""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from avbench.errors import UserError
from avbench.metrics._arrays import Rows, as_features, check_same_width

FOLD_ROWS = 1024
"""Fewest rows that are worth one QR; small batches wait for each other."""

ONE_THREAD_SIZE = 2048
"""Largest matrix, in columns, that is decomposed on one thread."""

LOST_DIGITS = 1e-11
"""Largest bound on the error, relative to the sum of the singular values, at which roots of eigenvalues stand in for
them. The bound adds up the errors of all roots as if they had one sign; what is lost was a hundredth of it or less."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and centred factor of one set of features: all that the distance needs of it.

    Attributes:
        count: Rows seen, n.
        mean: float64 (d,).
        factor: float64 (k, d), k at most d, with ``factor.T @ factor`` = sum of the centred outer products.
    """

    count: int
    mean: Rows
    factor: Rows


def frechet_distance(
    x: ArrayLike, y: ArrayLike, ddof: int = 1, *, names: tuple[str, str] = ("first", "second")
) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features.

    Args:
        x: Float array (n, d).
        y: Float array (m, d).
        ddof: Covariances are divided by ``n - ddof``: 1 in most public code, 0 in StyleGAN-V and cd-fvd.
        names: What the two sets are called in an error.

    Returns:
        The distance, in squared units of the feature; at least 0.

    Raises:
        UserError: NaN or infinity in a row, different d, or too few rows for ``ddof``.
    """
    rows_x, rows_y = as_features(x, names[0]), as_features(y, names[1])
    check_same_width(rows_x, rows_y, names)
    return distance(moments(rows_x), moments(rows_y), ddof, names=names)


def distance(
    a: Moments,
    b: Moments,
    ddof: int = 1,
    *,
    names: tuple[str, str] = ("first", "second"),
    tolerance: float = LOST_DIGITS,
) -> float:
    """Frechet distance between two sets given by their moments; see `frechet_distance`.

    Args:
        a: One side.
        b: The other.
        ddof: Covariances are divided by ``n - ddof``.
        names: What the two are called in an error.
        tolerance: See `trace_sqrt_product`.

    Raises:
        UserError: Different d, too few rows for ``ddof``, or features so large that the distance overflows.
    """
    check_same_width(a.mean, b.mean, names)
    for moment, name in zip((a, b), names, strict=True):
        if moment.count <= ddof:
            raise UserError(
                f"{moment.count} row(s) of {name} features are too few for a Frechet distance; it needs {ddof + 1}"
            )
    shift = a.mean - b.mean
    factor_a = a.factor / math.sqrt(a.count - ddof)
    factor_b = b.factor / math.sqrt(b.count - ddof)
    with np.errstate(over="ignore", invalid="ignore"):
        traces = np.sum(factor_a**2) + np.sum(factor_b**2)
        square = float(shift @ shift + traces)
    if not math.isfinite(square):
        raise UserError(f"{names[0]} or {names[1]} features are too large: their squares overflow float64")
    # Rounding alone can put an exact zero below zero, by about 1e-15 of the traces.
    rank = min(a.count, b.count) - 1
    return max(square - 2 * trace_sqrt_product(factor_a, factor_b, rank, tolerance), 0.0)


def trace_sqrt_product(
    factor_a: Rows, factor_b: Rows, rank: int | None = None, tolerance: float = LOST_DIGITS
) -> float:
    """``tr (A^T A B^T B)^(1/2)`` as the nuclear norm of ``A B^T``.

    Args:
        factor_a: A, float64 (k, d).
        factor_b: B, float64 (l, d).
        rank: Highest rank the product can have by construction (n - 1 centred rows); None where that is not known.
        tolerance: Largest bound on the error, relative to the trace, at which eigenvalues will do.

    Returns:
        The trace.
    """
    with _threads_for(min(*factor_a.shape, *factor_b.shape)):
        product = _reduced(factor_a) @ _reduced(factor_b).T
        largest = float(np.abs(product).max())
        if largest == 0.0:
            return 0.0
        product /= largest  # the squares below neither overflow nor vanish
        gram = product @ product.T if product.shape[0] <= product.shape[1] else product.T @ product
        total = roots_of_eigenvalues(np.linalg.eigvalsh(gram), rank, tolerance)
        if total is None:
            total = float(np.linalg.svd(product, compute_uv=False).sum())
        return largest * total


def roots_of_eigenvalues(eigenvalues: NDArray[Any], rank: int | None, tolerance: float) -> float | None:
    """Sum of the square roots of eigenvalues, or None where rounding may have cost too many digits.

    The small eigenvalues of a symmetric matrix are known to an error t of about twice machine precision times the
    largest one (measured: 0.1 to 3.3 times, n = 64 to 1024). So a root is known to ``t / (2 root)``, and to ``sqrt(t)``
    at worst.

    Args:
        eigenvalues: float64 (k,), rising, at least 0 but for rounding.
        rank: At most so many differ from 0; the others are left out.
        tolerance: Largest error of the sum, relative to it.
    """
    kept = eigenvalues if rank is None else eigenvalues[max(len(eigenvalues) - rank, 0) :]
    error = 2 * float(np.finfo(np.float64).eps) * float(eigenvalues[-1])
    if error <= 0:
        return None
    roots = np.sqrt(np.maximum(kept, 0.0))
    total = float(roots.sum())
    lost = float(np.sum(error / np.maximum(2 * roots, math.sqrt(error))))
    return total if lost <= tolerance * total else None


def moments(rows: Rows) -> Moments:
    """Moments of one set, in two passes over it (the mean first, then the centred rows).

    Args:
        rows: float64 (n, d), finite, n at least 1.
    """
    mean = rows.mean(axis=0)
    return Moments(len(rows), mean, _reduced(rows - mean))


def combine(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two sets.

    The scatter of the union is the sum of the two plus ``n m / (n + m)`` times the outer product of the difference of
    the means (Chan, Golub and LeVeque, 1983), so its factor is the two factors and one more row on top of each other.
    """
    count = a.count + b.count
    shift = b.mean - a.mean
    mean = a.mean + shift * (b.count / count)
    between = shift * math.sqrt(a.count * (b.count / count))
    return Moments(count, mean, _reduced(np.vstack([a.factor, b.factor, between])))


def _reduced(factor: Rows) -> Rows:
    """The QR factor R of a tall matrix, which has the same ``F^T F``; other matrices as they are."""
    if factor.shape[0] <= factor.shape[1]:
        return factor
    with _threads_for(factor.shape[1]):
        return np.asarray(np.linalg.qr(factor, mode="r"))


def _threads_for(size: int) -> AbstractContextManager[Any]:
    """One thread for matrices up to `ONE_THREAD_SIZE`, the machine's default beyond.

    QR and SVD meet at a barrier for every column. On small matrices threads bring little, and where other work shares
    the cores each barrier waits for it: an SVD took fourteen times as long on two busy cores as on one of them, and a
    distance at 2048 x 2048 five times.
    """
    return nullcontext() if size > ONE_THREAD_SIZE else one_thread()


def one_thread() -> AbstractContextManager[Any]:
    """Linear algebra on one thread, for the whole process while it lasts."""
    return _blas().limit(limits=1, user_api="blas")


@functools.cache
def _blas() -> ThreadpoolController:
    """The loaded linear algebra libraries; numpy has loaded its own by now."""
    return ThreadpoolController()


def rank_warning(n: int, d: int, name: str = "generated") -> str:
    """What a reader must know when n rows are too few for a covariance of d dimensions.

    Args:
        n: Rows of one side.
        d: Feature dimension.
        name: What the side is called.

    Returns:
        One sentence when ``n <= d``, else an empty string.
    """
    if n > d:
        return ""
    return (
        f"{n} rows of {name} features in {d} dimensions: the covariance has at most rank {max(n - 1, 0)} and the "
        "Frechet distance is biased far upward; compare it only at equal N, or use KVD, which is unbiased at any N"
    )


class FrechetStatistics:
    """Streaming statistics of one side of a Frechet distance.

    Rows go in by `update`; statistics of other processes by `merge`; the distance to another side comes out of
    `compute`. Memory is O(d^2), whatever n is. The result does not depend on batch size, order or number of processes
    (see the module's text).

    Args:
        name: What this side is called in an error.
    """

    def __init__(self, name: str = "generated") -> None:
        self.name = name
        self._folded: Moments | None = None
        self._waiting: list[Rows] = []
        self._n_waiting = 0

    @classmethod
    def of(cls, found: Moments, name: str = "generated") -> FrechetStatistics:
        """Statistics that have seen what ``found`` was made from."""
        made = cls(name)
        made._folded = found
        return made

    @property
    def count(self) -> int:
        """Rows seen so far."""
        return self._n_waiting + (self._folded.count if self._folded else 0)

    def update(self, features: ArrayLike) -> None:
        """Add rows.

        Args:
            features: Float array (n, d), n at least 1; copied.

        Raises:
            UserError: NaN or infinity in a row, or another d than before. Nothing is added then.
        """
        rows = as_features(features, self.name)
        before = self._waiting[-1] if self._waiting else self._folded.mean if self._folded else rows
        check_same_width(before, rows, (f"earlier {self.name}", f"further {self.name}"))
        self._waiting.append(rows.copy())
        self._n_waiting += len(rows)
        if self._n_waiting >= max(FOLD_ROWS, rows.shape[1]):
            self.moments()

    def merge(self, other: FrechetStatistics) -> None:
        """Add all rows another accumulator has seen; ``other`` stays as it is.

        Raises:
            UserError: ``other`` has another d.
        """
        if not other.count:
            return
        theirs = other.moments()
        if not self.count:
            self._folded = theirs
            return
        mine = self.moments()
        check_same_width(mine.mean, theirs.mean, (self.name, other.name))
        self._folded = combine(mine, theirs)

    def moments(self) -> Moments:
        """Moments of everything seen so far: what to store or to send to another process.

        Raises:
            UserError: No row was seen.
        """
        if self._waiting:
            fresh = moments(np.concatenate(self._waiting))
            self._folded = combine(self._folded, fresh) if self._folded else fresh
            self._waiting, self._n_waiting = [], 0
        if self._folded is None:
            raise UserError(f"there are no {self.name} features to compare")
        return self._folded

    def compute(self, other: FrechetStatistics, ddof: int = 1) -> float:
        """Frechet distance to another side; see `frechet_distance`.

        Raises:
            UserError: A side is empty or too small, or the two have different d.
        """
        return distance(self.moments(), other.moments(), ddof, names=(self.name, other.name))
