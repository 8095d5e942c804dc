"""Kernel audio distance: the published numbers, the definition, and an exact median at any size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from avbench.errors import UserError
from avbench.metrics import _gaussian, _pairs, kernel_audio_distance
from avbench.metrics._gaussian import median_pairwise_distance


def uniform() -> tuple[np.ndarray, np.ndarray]:
    return np.random.RandomState(0).rand(500, 64), np.random.RandomState(1).rand(400, 64) * 1.05


def by_definition(x: np.ndarray, y: np.ndarray, width: float) -> float:
    def k(u, v):
        return np.exp(-cdist(u, v, "sqeuclidean") / (2 * width**2 + 1e-8))

    within = [(k(s, s).sum() - len(s)) / (len(s) * (len(s) - 1)) for s in (x, y)]
    return float(100 * (sum(within) - 2 * k(x, y).mean()))


def test_published_numbers() -> None:
    """The pins came out of the public code in float32, which holds them to 3e-5 (and the widths to 5e-8).

    The last two are the public code in float64 (`make_golden.py`), but for its width, which is always float32.
    """
    reference, evaluated = uniform()
    honest = kernel_audio_distance(evaluated, reference)
    as_coded = kernel_audio_distance(evaluated, reference, bandwidth_from="generated")
    assert median_pairwise_distance(reference) == pytest.approx(3.2729814, abs=5e-8)
    assert median_pairwise_distance(evaluated) == pytest.approx(3.4208119, abs=2e-7)
    assert honest == pytest.approx(0.3235340, rel=4e-5)
    assert as_coded == pytest.approx(0.3072739, rel=4e-5)
    assert honest == pytest.approx(0.32354394580089707, rel=2e-7)
    assert as_coded == pytest.approx(0.3072803770475918, rel=2e-7)


@pytest.mark.parametrize("block", [9, 1024])
def test_it_is_the_definition_in_any_block_size(block: int, monkeypatch) -> None:
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", block)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 6)) + 30, 1.3 * rng.standard_normal((33, 6)) + 30.2
    for side, rows in (("reference", y), ("generated", x)):
        expected = by_definition(x, y, float(np.sort(pdist(rows))[(len(pdist(rows)) - 1) // 2]))
        assert kernel_audio_distance(x, y, bandwidth_from=side) == pytest.approx(expected, rel=1e-9)


def test_order_does_not_matter_and_directions_agree_where_the_bandwidths_do() -> None:
    x, y = uniform()
    rng = np.random.default_rng(0)
    assert kernel_audio_distance(rng.permutation(x), y) == pytest.approx(kernel_audio_distance(x, y), rel=1e-10)
    assert kernel_audio_distance(x, y) == pytest.approx(
        kernel_audio_distance(y, x, bandwidth_from="generated"), rel=1e-10
    )


def test_further_away_is_more_up_to_two_hundred() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 8)), rng.standard_normal((50, 8))
    values = [kernel_audio_distance(x + shift, y) for shift in (0, 0.3, 1, 3, 10, 1e3)]
    assert np.all(np.diff(values[:5]) > 0)
    assert abs(values[0]) < 3
    assert values[-1] <= 200


def test_it_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [kernel_audio_distance(rng.standard_normal((9, 5)), rng.standard_normal((12, 5))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("held", [1, 10, 5000, 1 << 22])
@pytest.mark.parametrize("n", [2, 3, 4, 61])
def test_the_median_is_exact_however_few_distances_are_held(n: int, held: int, monkeypatch) -> None:
    monkeypatch.setattr(_gaussian, "HELD_PAIRS", held)
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", 16)
    rows = np.random.default_rng(n).standard_normal((n, 3)) ** 3
    distances = np.sort(pdist(rows))
    assert median_pairwise_distance(rows) == pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-12)


def test_the_median_of_many_equal_distances_is_found(monkeypatch) -> None:
    monkeypatch.setattr(_gaussian, "HELD_PAIRS", 3)
    assert median_pairwise_distance(np.eye(50)) == pytest.approx(np.sqrt(2))
    assert median_pairwise_distance(np.arange(9.0)[:, None]) == 3.0
    assert median_pairwise_distance(np.ones((20, 2))) == 0.0


def test_impossible_input_is_refused_in_a_sentence() -> None:
    x, y = uniform()
    with pytest.raises(UserError, match="half of the pairs of reference features or more are equal"):
        kernel_audio_distance(x, np.ones((10, 64)))
    with pytest.raises(UserError, match="1 row of generated features is too few"):
        kernel_audio_distance(x[:1], y)
    with pytest.raises(UserError, match="not from 'both'"):
        kernel_audio_distance(x, y, bandwidth_from="both")
