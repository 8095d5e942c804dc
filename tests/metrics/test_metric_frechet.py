"""Frechet distance: closed forms, golden values, and statistics that do not depend on how the rows arrive."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avbench.errors import UserError
from avbench.metrics import FrechetStatistics, _frechet, _frechet_subsets, frechet_distance
from avbench.metrics._frechet import combine, distance, moments, rank_warning, roots_of_eigenvalues, trace_sqrt_product
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets

Array = NDArray[np.float64]


def rows_with(mean: Array, factor: Array, n: int, ddof: int, seed: int) -> Array:
    """n rows whose sample mean is ``mean`` and whose sample covariance is ``factor.T @ factor``, to rounding."""
    raw = np.random.default_rng(seed).standard_normal((n, len(factor)))
    white = np.linalg.qr(raw - raw.mean(axis=0))[0]
    return mean + math.sqrt(n - ddof) * white @ factor


def oracle() -> tuple[Array, Array, Array, Array]:
    """Two rank-deficient covariances over twelve decades with common eigenvectors: factors and eigenvalues."""
    q = np.linalg.qr(np.random.RandomState(3).randn(256, 256))[0]
    a, b = np.zeros(256), np.zeros(256)
    a[:100], b[:100] = 10 ** np.linspace(3, -9, 100), 10 ** np.linspace(2, -10, 100)
    return np.sqrt(a)[:, None] * q.T, np.sqrt(b)[:, None] * q.T, a, b


def pin(n: int, m: int, d: int, scale: float, shift: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.RandomState(0)
    x = rng.randn(n, d).astype(np.float32)
    return x, (rng.randn(m, d) * scale + shift).astype(np.float32)


@pytest.mark.parametrize("ddof", [0, 1])
def test_commuting_gaussians_have_their_closed_form(ddof: int) -> None:
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    a, b = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    mean_a, mean_b = rng.standard_normal(6), rng.standard_normal(6)
    x = rows_with(mean_a, np.sqrt(a)[:, None] * q.T, 40, ddof, 1)
    y = rows_with(mean_b, np.sqrt(b)[:, None] * q.T, 70, ddof, 2)
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(x, y, ddof) == pytest.approx(expected, rel=1e-12)


def test_two_by_two_gaussians_that_do_not_commute_have_their_closed_form() -> None:
    # tr (S1 S2)^(1/2) of 2 x 2 matrices is sqrt(tr S1 S2 + 2 sqrt(det S1 S2)), from Cayley-Hamilton
    a, b = np.array([[2.0, 0.3], [0.0, 1.0]]), np.array([[1.0, -1.2], [0.0, 0.7]])
    s1, s2 = a.T @ a, b.T @ b
    assert np.abs(s1 @ s2 - s2 @ s1).max() > 0.1
    root = math.sqrt(np.trace(s1 @ s2) + 2 * math.sqrt(np.linalg.det(s1 @ s2)))
    expected = np.trace(s1) + np.trace(s2) - 2 * root
    x, y = rows_with(np.zeros(2), a, 9, 1, 1), rows_with(np.zeros(2), b, 30, 1, 2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_rank_deficient_oracle_is_met_to_ten_digits() -> None:
    factor_a, factor_b, _, _ = oracle()
    assert trace_sqrt_product(factor_a, factor_b) == pytest.approx(1298.4810987246008, rel=1e-10)


@pytest.mark.parametrize("n", [140, 600], ids=["fewer-rows-than-dimensions", "more-rows"])
def test_rank_deficient_oracle_is_met_from_features_too(n: int) -> None:
    factor_a, factor_b, a, b = oracle()
    x = rows_with(np.zeros(256), factor_a[:100], n, 1, 1)
    y = rows_with(np.zeros(256), factor_b[:100], n + 7, 1, 2)
    assert frechet_distance(x, y) == pytest.approx(a.sum() + b.sum() - 2 * 1298.4810987246008, rel=1e-10)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ((64, 64, 400, 1.1, 0.05), 603.0741896),
        ((512, 512, 400, 1.1, 0.05), 179.736993090),
        ((200, 300, 128, 1.5, 0.2), 91.374136778),
        ((2048, 2048, 400, 1.1, 0.05), 48.186797675),
    ],
)
def test_golden_values(case: tuple[int, int, int, float, float], expected: float) -> None:
    assert frechet_distance(*pin(*case)) == pytest.approx(expected, rel=2e-11 if case[0] > 64 else 1e-10)


def test_divisor_n_is_the_other_convention() -> None:
    assert frechet_distance(*pin(64, 64, 400, 1.1, 0.05), ddof=0) == pytest.approx(593.88, abs=0.005)


def test_a_set_is_at_no_distance_from_itself_in_any_order() -> None:
    x = pin(300, 2, 64, 1, 0)[0]
    assert 0 <= frechet_distance(x, x[::-1]) < 1e-10
    assert 0 <= frechet_distance(x[:20], x[:20]) < 1e-10


def test_both_directions_agree() -> None:
    x, y = pin(90, 130, 40, 1.4, 0.3)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-12)


def test_a_shift_adds_its_square() -> None:
    x = pin(200, 2, 30, 1, 0)[0].astype(np.float64)
    shift = np.linspace(-1, 2, 30)
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift @ shift), rel=1e-12)


def test_more_noise_is_further_away() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((400, 20)), rng.standard_normal((400, 20))
    values = [frechet_distance(x, x + strength * noise) for strength in np.linspace(0, 3, 10)]
    assert np.all(np.diff(values) > 0)


@pytest.mark.parametrize("sizes", [[1] * 700, [700], [3, 350, 347], [64] * 10 + [60]], ids=len)
def test_streaming_equals_the_whole_set_whatever_the_batches(sizes: list[int], monkeypatch) -> None:
    monkeypatch.setattr("avbench.metrics._frechet.FOLD_ROWS", 48)  # fold often
    rng = np.random.default_rng(2)
    x = rng.standard_normal((700, 40)) * np.logspace(0, -7, 40) + 50
    y = rng.standard_normal((300, 40)) * np.logspace(0, -7, 40) + 50.1
    whole = frechet_distance(x, y)
    stream, other = FrechetStatistics(), FrechetStatistics("reference")
    for batch in np.split(rng.permutation(x), np.cumsum(sizes)[:-1]):
        stream.update(batch)
    other.update(y)
    assert stream.count == 700
    assert stream.compute(other) == pytest.approx(whole, rel=1e-10)
    assert stream.compute(other, ddof=0) == pytest.approx(frechet_distance(x, y, 0), rel=1e-10)


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_merging_processes_equals_one_process(parts: int) -> None:
    x, y = pin(500, 400, 60, 1.2, 0.1)
    sides = [FrechetStatistics() for _ in range(parts)]
    for i, row in enumerate(x):
        sides[i % parts].update(row[None])
    total, other = FrechetStatistics(), FrechetStatistics("reference")
    for side in reversed(sides):
        total.merge(pickle.loads(pickle.dumps(side)))
    total.merge(FrechetStatistics())
    other.update(y)
    assert total.count == len(x)
    assert sum(side.count for side in sides) == len(x)
    assert total.compute(other) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_streaming_keeps_small_directions_beside_a_large_mean() -> None:
    # a running sum of x x^T in float64 loses a standard deviation of 1 beside a mean of 1e8 altogether
    rng = np.random.default_rng(3)
    offset, rows = 1e8, rng.standard_normal((4000, 3))
    stream, other = FrechetStatistics(), FrechetStatistics()
    for batch in np.split(rows + offset, 40):
        stream.update(batch)
    other.update(2 * rows + offset)
    expected = frechet_distance(rows, 2 * rows)
    assert stream.compute(other) == pytest.approx(expected, rel=1e-6)


def test_memory_of_the_statistics_is_bounded_by_the_dimension() -> None:
    stream = FrechetStatistics()
    for seed in range(12):
        stream.update(np.random.default_rng(seed).standard_normal((500, 10)))
    assert stream.moments().factor.shape == (10, 10)


def test_updates_copy_their_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 4))
    stream, other = FrechetStatistics(), FrechetStatistics()
    stream.update(rows)
    other.update(rows.copy())
    rows += 9
    assert stream.compute(other) < 1e-12


def test_moments_combine_to_those_of_the_union() -> None:
    x, y = pin(30, 80, 12, 2, 1)
    both = combine(moments(x.astype(float)), moments(y.astype(float)))
    union = np.concatenate([x, y]).astype(float)
    assert both.count == 110
    np.testing.assert_allclose(both.mean, union.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(both.factor.T @ both.factor / 109, np.cov(union.T), rtol=1e-12, atol=1e-12)


def test_torch_tensors_are_taken() -> None:
    x, y = pin(50, 60, 8, 1.1, 0.1)
    tensor = torch.from_numpy(x).requires_grad_()
    assert frechet_distance(tensor, torch.from_numpy(y)) == frechet_distance(x, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_and_named(bad: float) -> None:
    x, y = pin(20, 20, 5, 1, 0)
    y[3, 1] = y[3, 2] = y[17, 0] = bad
    with pytest.raises(UserError, match=r"2 of 20 rows of the reference features .* row 3"):
        frechet_distance(x, y, names=("generated", "reference"))
    stream = FrechetStatistics("reference")
    stream.update(y[:3])
    with pytest.raises(UserError, match="1 of 7 rows"):
        stream.update(y[3:10])
    assert stream.count == 3


def test_impossible_input_is_refused_in_a_sentence() -> None:
    x, y = pin(5, 5, 4, 1, 0)
    with pytest.raises(UserError, match="first features have 4 dimensions and second features 3"):
        frechet_distance(x, y[:, :3])
    with pytest.raises(UserError, match=r"1 row\(s\) of second features"):
        frechet_distance(x, y[:1])
    with pytest.raises(UserError, match=r"shape \(0, 4\)"):
        frechet_distance(x[:0], y)
    with pytest.raises(UserError, match="overflow"):
        frechet_distance(x.astype(float) * 1e200, y)
    with pytest.raises(UserError, match="no reference features"):
        FrechetStatistics("reference").moments()
    stream, other = FrechetStatistics(), FrechetStatistics()
    stream.update(x)
    with pytest.raises(UserError, match="4 dimensions and further generated features 3"):
        stream.update(y[:, :3])
    other.update(y[:, :3])
    with pytest.raises(UserError, match="dimensions"):
        stream.merge(other)
    assert stream.count == 5


@pytest.mark.parametrize("n", [2, 3, 5, 64, 400, 401])
def test_no_number_of_rows_gives_nan(n: int) -> None:
    x, y = pin(n, n + 1, 400, 1.1, 0)
    assert math.isfinite(distance(moments(x.astype(float)), moments(y.astype(float))))


def test_the_rank_warning_appears_up_to_n_equal_d() -> None:
    assert "at most rank 399" in rank_warning(400, 400)
    assert "KVD" in rank_warning(64, 400)
    assert rank_warning(401, 400) == ""


def decaying(n: int, d: int, decades: float, seed: int) -> Array:
    """n rows whose d deviations span some decades, in mixed directions."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((d, d)))[0]
    return rng.standard_normal((n, d)) * np.logspace(0, -decades, d) @ turn


@pytest.mark.parametrize(("n", "d"), [(20, 60), (60, 60), (61, 60), (62, 60), (300, 60), (2, 60)])
@pytest.mark.parametrize("decades", [0, 2, 6])
def test_eigenvalues_and_singular_values_agree_wherever_eigenvalues_are_taken(
    n: int, d: int, decades: float, monkeypatch
) -> None:
    x, y = decaying(n, d, decades, 1), 1.1 * decaying(n + 3, d, decades, 2) + 0.01
    found = frechet_distance(x, y)
    monkeypatch.setattr(_frechet, "roots_of_eigenvalues", lambda *_: None)
    assert found == pytest.approx(frechet_distance(x, y), rel=1e-11)


@pytest.mark.parametrize(("n", "d"), [(20, 60), (60, 60), (300, 60)])
def test_well_conditioned_sets_need_no_singular_values(n: int, d: int, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("singular values were computed")

    x, y = decaying(n, d, 0, 1), decaying(n + 30, d, 1, 2)
    expected = frechet_distance(x, y)
    monkeypatch.setattr(np.linalg, "svd", refused)
    assert frechet_distance(x, y) == expected
    with pytest.raises(AssertionError, match="singular values"):
        frechet_distance(decaying(n, d, 9, 1), decaying(n, d, 9, 2))


def test_the_estimate_of_lost_digits_lies_above_what_is_lost() -> None:
    losses = []
    for decades in (0, 1, 2, 3, 4):
        matrix = decaying(80, 80, decades, 3)
        singular = np.linalg.svd(matrix, compute_uv=False).sum()
        eigenvalues = np.linalg.eigvalsh(matrix @ matrix.T)
        tolerances = np.logspace(-16, -4, 100)
        accepted = [tolerance for tolerance in tolerances if roots_of_eigenvalues(eigenvalues, None, tolerance)]
        losses.append(abs(roots_of_eigenvalues(eigenvalues, None, 1) / singular - 1))
        assert losses[-1] <= max(accepted[0], 4e-16)
    assert losses[-1] > 1e-14  # there was something to lose


def test_eigenvalues_that_cannot_be_told_from_zero_are_not_taken() -> None:
    assert roots_of_eigenvalues(np.array([0.0, 1.0]), None, 1e-10) is None
    assert roots_of_eigenvalues(np.array([-1e-17, 1.0]), 1, 1e-10) == 1.0
    assert roots_of_eigenvalues(np.array([4.0, 9.0]), None, 1e-10) == 5.0
    assert roots_of_eigenvalues(np.zeros(3), None, 1e-10) is None


def test_tiny_and_huge_features_keep_their_digits() -> None:
    x, y = pin(30, 40, 6, 1.2, 0.1)
    expected = frechet_distance(x, y)
    for scale in (1e-100, 1e100):
        assert frechet_distance(x * np.float64(scale), y * np.float64(scale)) == pytest.approx(
            expected * scale**2, rel=1e-10
        )


@pytest.mark.parametrize(("n", "d", "decades"), [(300, 40, 0), (300, 40, 5), (300, 40, 9), (60, 40, 1), (82, 40, 0)])
def test_distances_of_subsets_are_those_one_by_one(n: int, d: int, decades: float) -> None:
    x, y = decaying(n, d, decades, 1) + 3, 1.1 * decaying(n, d, decades, 2) + 3.01
    rng = np.random.default_rng(0)
    picks = [(rng.permutation(n)[: n // 2], rng.permutation(n)[: n // 2 + 1]) for _ in range(6)]
    for ddof in (0, 1):
        expected = [frechet_distance(x[a], y[b], ddof) for a, b in picks]
        found = frechet_distance_of_subsets(x, y, [a for a, _ in picks], [b for _, b in picks], ddof)
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("allowed", "long_ways", "rel"), [(1e-7, 0, 1e-7), (1e-10, 1, 1e-10)])
def test_a_subset_that_would_lose_too_many_digits_takes_the_long_way(
    allowed: float, long_ways: int, rel: float, monkeypatch
) -> None:
    x, y = decaying(200, 10, 0, 1), decaying(200, 10, 0, 2)
    x[:100, 3] = x[:100, 4]  # the covariance of the first hundred rows is singular
    calls = []
    monkeypatch.setattr(_frechet_subsets, "LOST_DIGITS", allowed)
    monkeypatch.setattr(_frechet_subsets, "distance", lambda *a, **k: calls.append(a) or distance(*a, **k))
    picks = [np.arange(100), np.arange(100, 200)]
    found = frechet_distance_of_subsets(x, y, picks, picks)
    assert found == pytest.approx([frechet_distance(x[p], y[p]) for p in picks], rel=rel)
    assert len(calls) == long_ways


def test_subsets_too_small_are_refused() -> None:
    x = pin(9, 2, 3, 1, 0)[0]
    with pytest.raises(UserError, match=r"a subset of 1 row\(s\) is too small"):
        frechet_distance_of_subsets(x, x, [np.array([1])], [np.arange(4)])
