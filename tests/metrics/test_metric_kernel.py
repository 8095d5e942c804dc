"""Polynomial MMD: golden values, the definition written out, and what an unbiased estimate must do."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import _kernel, polynomial_mmd


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
    monkeypatch.setattr(_kernel, "BLOCK_ROWS", 5)
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((13, 3)), rng.standard_normal((8, 3)) + 0.5
    assert polynomial_mmd(x, y, degree, coef) == pytest.approx(by_definition(x, y, degree, coef), rel=1e-11)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_the_block_size_does_not_matter(block: int, monkeypatch) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((130, 9)), rng.standard_normal((70, 9)) * 1.3
    whole = polynomial_mmd(x, y)
    monkeypatch.setattr(_kernel, "BLOCK_ROWS", block)
    assert polynomial_mmd(x, y) == pytest.approx(whole, rel=1e-11)


def test_no_block_is_larger_than_asked(monkeypatch) -> None:
    monkeypatch.setattr(_kernel, "BLOCK_ROWS", 16)
    seen = []
    inner = _kernel._kernel
    monkeypatch.setattr(_kernel, "_kernel", lambda *a: seen.append(inner(*a)) or seen[-1])
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
