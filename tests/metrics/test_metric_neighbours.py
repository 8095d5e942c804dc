"""Nearest training rows: exact distances, and memorisation told from invention."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from avbench.errors import UserError
from avbench.metrics import _pairs, memorisation, nearest_neighbours


def rows(n: int, seed: int, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) + 5


@pytest.mark.parametrize("block", [7, 1024])
def test_distances_and_indices_are_those_of_the_full_table(block: int, monkeypatch) -> None:
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", block)
    x, y = rows(40, 0), rows(55, 1)
    table = cdist(x, y)
    found = nearest_neighbours(x, y)
    np.testing.assert_allclose(found.distances, table.min(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(found.indices, table.argmin(axis=1))


def test_copies_are_at_distance_zero_and_almost_copies_keep_their_digits() -> None:
    y = rows(50, 1)
    found = nearest_neighbours(np.vstack([y[7], y[9] + 1e-9]), y + 0.0)
    assert found.indices.tolist() == [7, 9]
    assert found.distances[0] == 0.0
    assert found.distances[1] == pytest.approx(1e-9 * np.sqrt(6), rel=1e-5)


def test_reality_against_reality_has_ratio_one_and_one_in_a_hundred_near() -> None:
    found = [memorisation(rows(1000, 3 * s + 1), rows(300, 3 * s), rows(1000, 3 * s + 2)) for s in range(20)]
    assert np.mean([f.ratio for f in found]) == pytest.approx(1, abs=0.01)
    assert np.mean([f.share_near for f in found]) == pytest.approx(0.01, abs=0.005)
    assert found[0].ratio == pytest.approx(found[0].generated_median / found[0].held_out_median)


def test_the_more_is_copied_the_lower_the_ratio_and_the_higher_the_share() -> None:
    training, held_out, fresh = rows(300, 0), rows(300, 1), rows(300, 2)
    found = [memorisation(np.vstack([training[:n] + 1e-3, fresh[n:]]), training, held_out) for n in (0, 60, 160, 300)]
    assert np.all(np.diff([f.share_near for f in found]) > 0)
    assert np.all(np.diff([f.ratio for f in found]) < 0)
    assert found[-1].share_near == 1.0
    assert found[-1].ratio < 0.01


def test_order_does_not_matter() -> None:
    training, held_out, fresh = rows(60, 0), rows(70, 1), rows(80, 2)
    assert memorisation(fresh[::-1], training[::-1], held_out[::-1]) == pytest.approx(
        memorisation(fresh, training, held_out)
    )


def test_held_out_rows_that_were_trained_on_are_refused() -> None:
    training = rows(40, 0)
    with pytest.raises(UserError, match="half of the held-out rows or more are rows of the training set"):
        memorisation(rows(9, 1), training, training[:20])
    with pytest.raises(UserError, match="held-out features have 5 dimensions and training features 6"):
        memorisation(rows(9, 1), training, rows(9, 1, 5))
