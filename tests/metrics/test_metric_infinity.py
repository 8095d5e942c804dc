"""FD-infinity: the bias goes, the line is reported, and the draws depend on nothing but the rows and the seed."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import frechet_distance, frechet_infinity
from avbench.metrics._infinity import _default_sizes


def gaussians(n: int, seed: int, d: int = 24) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows of two Gaussians whose true Frechet distance is known."""
    rng = np.random.default_rng(seed)
    deviation = np.exp(-np.arange(d) / 12)
    x = 1.1 * deviation * rng.standard_normal((n, d)) + 0.05
    return x, deviation * rng.standard_normal((n, d)), float(d * 0.05**2 + np.sum((0.1 * deviation) ** 2))


def test_the_bias_of_a_finite_n_goes() -> None:
    found, plain = [], []
    for seed in range(12):
        x, y, truth = gaussians(400, seed)
        found.append(frechet_infinity(x, y, seed=seed).value)
        plain.append(frechet_distance(x, y))
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(plain) > 2.5 * truth
    assert np.mean(found) == pytest.approx(truth, abs=3 * error)
    assert error < 0.2 * truth


def test_the_line_is_the_one_through_its_points() -> None:
    x, y, _ = gaussians(300, 0)
    line = frechet_infinity(x, y)
    assert line.r2 > 0.9
    assert line.slope > 0
    assert line.smallest == 75
    assert line.value + line.slope / 300 == pytest.approx(frechet_distance(x, y), rel=0.1)
    both = frechet_infinity(x, y, sizes=[150, 300, 150])
    assert both.r2 == pytest.approx(1)
    assert both.value + both.slope / 300 == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert both.smallest == 150


def test_order_does_not_matter_and_the_seed_does() -> None:
    x, y, _ = gaussians(200, 1)
    rng = np.random.default_rng(0)
    line = frechet_infinity(x, y, seed=5)
    assert frechet_infinity(rng.permutation(x), rng.permutation(y), seed=5) == pytest.approx(line, rel=1e-9)
    assert frechet_infinity(x, y, seed=6).value != line.value


def test_further_away_is_more() -> None:
    x, y, _ = gaussians(400, 2)
    values = [frechet_infinity(x + shift, y).value for shift in (0, 0.3, 0.6, 1.2)]
    assert np.all(np.diff(values) > 0)


def test_sides_of_two_sizes_shrink_together() -> None:
    x, y, truth = gaussians(600, 3)
    line = frechet_infinity(x[:300], y)
    assert line.smallest == 75
    assert line.value == pytest.approx(truth, abs=0.4)


@pytest.mark.parametrize(("fewest", "d", "first"), [(2048, 400, 512), (1000, 400, 401), (802, 400, 401), (100, 3, 25)])
def test_sizes_run_from_a_quarter_but_never_from_below_the_dimension(fewest: int, d: int, first: int) -> None:
    sizes = _default_sizes(fewest, d)
    assert (sizes[0], sizes[-1], len(sizes)) == (first, fewest, 15)


def test_equal_rows_lie_on_a_flat_line() -> None:
    assert frechet_infinity(np.ones((40, 2)), np.ones((40, 2))) == (0.0, 0.0, 1.0, 10)


def test_impossible_input_is_refused_in_a_sentence() -> None:
    x, y, _ = gaussians(49, 0)
    with pytest.raises(UserError, match=r"49 rows in 24 dimensions are too few to extrapolate.*KVD"):
        frechet_infinity(x, y)
    for sizes in ([], [20], [20, 20], [1, 20], [20, 50]):
        with pytest.raises(UserError, match="from 2 to the 49 rows of the smaller side"):
            frechet_infinity(x, y, sizes=sizes)
