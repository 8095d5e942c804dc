"""Polynomial MMD, unbiased, biased and over subsets: golden values, the definition written out, what each must do."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import _kernel, _pairs, kernel_distance_subsets, polynomial_mmd, polynomial_mmd_biased
from avbench.metrics._kernel import polynomial_mmd_of_subsets


def by_definition(x, y, degree: int, coef: float) -> float:
    """The U-statistic as the paper writes it: sums over pairs i != j."""

    def k(u, v) -> float:
        return float((u @ v / len(u) + coef) ** degree)

    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    return float(sum(within) - 2 * np.mean([k(u, v) for u in x for v in y]))


@pytest.mark.parametrize(
    ("case", "expected", "digits"),
    [
        ((64, 64, 400, 1.1, 0.05), 0.005603169, 9),
        ((512, 512, 400, 1.1, 0.05), 0.006269195, 9),
        ((200, 300, 128, 1.5, 0.2), 0.173792366, 9),
        ((2048, 2048, 400, 1.1, 0.05), 0.006739292, 9),
    ],
)
def test_golden_values(case: tuple[int, int, int, float, float], expected: float, digits: int) -> None:
    n, m, d, scale, shift = case
    rng = np.random.RandomState(0)
    x = rng.randn(n, d).astype(np.float32)
    y = (rng.randn(m, d) * scale + shift).astype(np.float32)
    assert round(polynomial_mmd(x, y), digits) == expected


def test_golden_values_to_all_digits() -> None:
    x, y = np.random.RandomState(0).rand(500, 64), np.random.RandomState(1).rand(400, 64) * 1.05
    assert polynomial_mmd(x, y) == pytest.approx(0.005713754419348405, rel=1e-11)
    assert polynomial_mmd(x, x) == pytest.approx(-0.0016901544715381966, rel=1e-11)


@pytest.mark.parametrize(("degree", "coef"), [(1, 0.0), (2, 0.0), (3, 1.0), (4, 0.5)])
def test_it_is_the_definition(degree: int, coef: float, monkeypatch) -> None:
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", 5)
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((13, 3)), rng.standard_normal((8, 3)) + 0.5
    assert polynomial_mmd(x, y, degree, coef) == pytest.approx(by_definition(x, y, degree, coef), rel=1e-11)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_the_block_size_does_not_matter(block: int, monkeypatch) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((130, 9)), rng.standard_normal((70, 9)) * 1.3
    whole = polynomial_mmd(x, y)
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", block)
    assert polynomial_mmd(x, y) == pytest.approx(whole, rel=1e-11)


def test_no_block_is_larger_than_asked(monkeypatch) -> None:
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", 16)
    seen = []
    inner = _kernel._polynomial
    monkeypatch.setattr(_kernel, "_polynomial", lambda *a, **options: seen.append(inner(*a, **options)) or seen[-1])
    polynomial_mmd(np.ones((100, 4)), np.ones((70, 4)))
    assert max(block.size for block in seen) == 256


def test_both_directions_agree_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 6)), rng.standard_normal((80, 6)) + 0.2
    assert polynomial_mmd(x, y) == pytest.approx(polynomial_mmd(y, x), rel=1e-11)
    assert polynomial_mmd(rng.permutation(x), y) == pytest.approx(polynomial_mmd(x, y), rel=1e-11)


def test_it_is_unbiased_where_the_frechet_distance_is_not() -> None:
    rng = np.random.default_rng(0)
    values = [polynomial_mmd(rng.standard_normal((8, 40)), rng.standard_normal((11, 40))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0 < max(values)


def test_a_larger_shift_is_further_away() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 10)), rng.standard_normal((200, 10))
    assert np.all(np.diff([polynomial_mmd(x, y + shift) for shift in np.linspace(0, 2, 10)]) > 0)


def test_impossible_input_is_refused_in_a_sentence() -> None:
    x = np.ones((4, 3))
    with pytest.raises(UserError, match="1 row of second features"):
        polynomial_mmd(x, x[:1])
    with pytest.raises(UserError, match="dimensions"):
        polynomial_mmd(x, x[:, :2])
    with pytest.raises(UserError, match=r"degree .* is 0"):
        polynomial_mmd(x, x, degree=0)
    with pytest.raises(UserError, match="1 of 4 rows of the first features"):
        polynomial_mmd(np.where(np.eye(4, 3) * [1, 0, 0] > 0, np.nan, x), x)


def uniform() -> tuple[np.ndarray, np.ndarray]:
    return np.random.RandomState(0).rand(500, 64), np.random.RandomState(1).rand(400, 64) * 1.05


def test_the_biased_estimate_is_that_of_jedi() -> None:
    x, y = uniform()
    assert 100 * polynomial_mmd_biased(x, y) == pytest.approx(0.11388627515201977, rel=1e-11)
    a = np.arange(1, 10).reshape(3, 3)
    b = np.array([[7, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])
    assert polynomial_mmd_biased(a, b) == pytest.approx(270.7222, abs=5e-5)
    assert polynomial_mmd_biased(a, b, degree=3, coef=1) == pytest.approx(23088.083, abs=5e-4)


def test_the_biased_estimate_keeps_the_diagonals_in_any_block_size(monkeypatch) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((30, 5)), rng.standard_normal((21, 5)) + 0.1
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", 8)

    def mean(u, v) -> float:
        return float(((u @ v.T / 5) ** 2).mean())

    assert polynomial_mmd_biased(x, y) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-11)
    assert polynomial_mmd_biased(x, x[::-1]) == pytest.approx(0, abs=1e-13)
    assert polynomial_mmd_biased(x, y) == pytest.approx(polynomial_mmd_biased(y, x), rel=1e-11)


def test_subsets_are_those_of_torch_fidelity() -> None:
    found = kernel_distance_subsets(*uniform(), subsets=100, subset_size=200)
    assert round(found.mean, 12) == 0.005441230817
    assert found.sd == pytest.approx(0.001367360663, abs=1e-12)  # the last digit given is rounding of its own


def test_few_subsets_of_many_rows_are_computed_one_by_one_with_the_same_numbers(monkeypatch) -> None:
    x, y = uniform()
    rows = []
    inner = _kernel._polynomial
    monkeypatch.setattr(_kernel, "_polynomial", lambda *a, **options: rows.append(len(a[0])) or inner(*a, **options))
    few = kernel_distance_subsets(x, y, subsets=4, subset_size=50)
    assert max(rows) == 50
    picks = np.random.RandomState(2020)
    pairs = [(picks.choice(500, 50, replace=False), picks.choice(400, 50, replace=False)) for _ in range(4)]
    expected = [polynomial_mmd(x[a], y[b]) for a, b in pairs]
    assert few.mean == pytest.approx(np.mean(expected), rel=1e-10)
    assert few.sd == pytest.approx(np.std(expected), rel=1e-10)


def test_the_mean_over_subsets_is_that_of_all_rows_within_its_error() -> None:
    x, y = uniform()
    found = kernel_distance_subsets(x, y, subsets=300, subset_size=100, seed=1)
    assert found.mean == pytest.approx(polynomial_mmd(x, y), abs=4 * found.sd / np.sqrt(300))
    whole = kernel_distance_subsets(x[:400], y, subsets=3, subset_size=400)
    assert whole.mean == pytest.approx(polynomial_mmd(x[:400], y), rel=1e-10)
    assert whole.sd == pytest.approx(0, abs=1e-12)


def test_many_subsets_at_once_equal_one_after_the_other() -> None:
    x, y = uniform()
    rng = np.random.default_rng(0)
    picks = [(rng.permutation(500)[:n], rng.permutation(400)[: n + 9]) for n in (2, 250, 100, 250, 250, 391)]
    at_once = polynomial_mmd_of_subsets(x, y, [a for a, _ in picks], [b for _, b in picks])
    assert at_once == pytest.approx([polynomial_mmd(x[a], y[b]) for a, b in picks], rel=1e-9)


def test_subsets_that_cannot_be_drawn_are_refused() -> None:
    x, y = uniform()
    for size in (401, 1, 0):
        with pytest.raises(UserError, match=f"subsets of {size} rows cannot be drawn .* of 2 to 400 rows"):
            kernel_distance_subsets(x, y, subset_size=size)
    with pytest.raises(UserError, match="0 subsets"):
        kernel_distance_subsets(x, y, subsets=0, subset_size=9)
