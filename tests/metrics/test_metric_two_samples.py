"""The Kolmogorov-Smirnov statistic between samples of one number."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import ks_distance


def column(values) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)[:, None]


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    return max(abs((x <= v).mean() - (y <= v).mean()) for v in [*x.ravel(), *y.ravel()])


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2], [1, 2], 0.0),
        ([1, 2], [3, 4], 1.0),
        ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),
        ([0, 0, 0, 1], [0, 1, 1, 1], 0.5),
        ([1, 1], [1, 1, 1, 2], 0.25),
    ],
)
def test_small_cases(x: list[float], y: list[float], expected: float) -> None:
    assert ks_distance(column(x), column(y)).statistic == pytest.approx(expected)


def test_it_is_the_definition_both_ways_and_in_any_order() -> None:
    rng = np.random.default_rng(0)
    x, y = column(rng.normal(0, 1, 70).round(1)), column(rng.normal(0.4, 2, 90).round(1))
    found = ks_distance(x, y)
    assert found.statistic == pytest.approx(by_definition(x, y))
    assert ks_distance(y[::-1], x[::-1]).statistic == pytest.approx(found.statistic)
    assert found[1:] == pytest.approx((np.median(x), np.median(y)))


def test_a_change_of_unit_does_not_matter_and_a_shift_does() -> None:
    rng = np.random.default_rng(0)
    x, y = column(rng.uniform(1, 2, 300)), column(rng.uniform(1, 2, 300))
    assert ks_distance(np.exp(3 * x), np.exp(3 * y)).statistic == ks_distance(x, y).statistic
    values = [ks_distance(x + shift, y).statistic for shift in (0, 0.2, 0.4, 0.8, 1.6)]
    assert np.all(np.diff(values) > 0)
    assert values[-1] == 1.0


def test_impossible_input_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="2 dimensions; distributions are compared of one number"):
        ks_distance(np.ones((4, 2)), np.ones((4, 2)))
    with pytest.raises(UserError, match="1 row of reference features is too few"):
        ks_distance(column([1, 2]), column([1]))
