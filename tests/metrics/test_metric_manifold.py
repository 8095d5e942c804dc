"""Precision, recall, density, coverage: hand-made cases, published numbers, and what they must not depend on.

The golden values come from `make_golden.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import _pairs, density_coverage, precision_recall

GOLDEN = {
    (200, 300, 16, 1.2, 0.3, 5): (0.61, 0.97, 0.417, 0.6866666666666666),
    (200, 300, 16, 1.2, 0.3, 1): (0.25, 0.6933333333333334, 0.36, 0.19),
    (150, 150, 5, 1.0, 0.0, 5): (0.9666666666666667, 0.96, 0.9146666666666667, 0.9866666666666667),
    (100, 80, 64, 0.8, 0.1, 5): (1.0, 0.1125, 5.792, 1.0),
}
"""(n, m, d, scale, shift, k) to precision, recall, density and coverage of clovaai/generative-evaluation-prdc."""


def pair(n: int, m: int, d: int, scale: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    return rng.randn(n, d) * scale + shift, rng.randn(m, d)


@pytest.mark.parametrize("block", [37, 1024])
@pytest.mark.parametrize("case", GOLDEN)
def test_golden_values(case: tuple[int, int, int, float, float, int], block: int, monkeypatch) -> None:
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", block)
    *shape, k = case
    x, y = pair(*shape)
    assert (*precision_recall(x, y, k=k), *density_coverage(x, y, k=k)) == pytest.approx(GOLDEN[case], rel=1e-12)


def test_balls_on_a_line() -> None:
    real = np.array([[0.0], [1.0], [3.0], [6.0]])  # radii at k = 1: 1, 1, 2, 3
    generated = np.array([[0.5], [5.5], [20.0]])  # lies in the balls of 0 and 1; of 6; of none; radii 5, 5, 14.5
    assert precision_recall(generated, real, k=1) == (2 / 3, 1.0)
    assert density_coverage(generated, real, k=1) == (3 / 3, 3 / 4)
    assert precision_recall(generated[:2], real, k=1) == (1.0, 1.0)
    assert density_coverage(np.array([[-1.0]]), real, k=1) == (0.0, 0.0)  # as near as the radius does not count


def test_a_set_covers_itself_and_a_far_set_nothing() -> None:
    _, y = pair(2, 90, 7, 1, 0)
    assert precision_recall(y[::-1], y) == (1.0, 1.0)
    assert density_coverage(y[::-1], y) == (1.0, 1.0)
    assert precision_recall(y + 100, y) == (0.0, 0.0)
    assert density_coverage(y + 100, y) == (0.0, 0.0)


def test_precision_and_recall_change_places_with_the_sides() -> None:
    x, y = pair(70, 110, 6, 1.1, 0.2)
    assert precision_recall(x, y) == precision_recall(y, x)[::-1]


def test_order_and_a_common_shift_do_not_matter() -> None:
    x, y = pair(70, 110, 6, 1.1, 0.2)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(x), rng.permutation(y)
    for measure in (precision_recall, density_coverage):
        assert measure(*shuffled) == pytest.approx(measure(x, y))
        assert measure(x + 1000, y + 1000) == pytest.approx(measure(x, y))


def test_a_perfect_generator_covers_what_theory_says() -> None:
    # E[coverage] = 1 - (m-1)...(m-k) / ((m+n-1)...(m+n-k)) for equal distributions
    found = [density_coverage(*pair(200, 200, 3, 1, 0)).coverage]
    rng = np.random.default_rng(0)
    found += [
        density_coverage(rng.standard_normal((200, 3)), rng.standard_normal((200, 3))).coverage for _ in range(30)
    ]
    expected = 1 - np.prod([(200 - i) / (400 - i) for i in range(1, 6)])
    assert np.mean(found) == pytest.approx(expected, abs=0.01)


def test_a_collapsed_generator_is_precise_and_covers_little() -> None:
    _, y = pair(2, 300, 4, 1, 0)
    collapsed = 0.01 * np.random.default_rng(0).standard_normal((300, 4))
    assert precision_recall(collapsed, y).precision == 1.0
    assert precision_recall(collapsed, y).recall < 0.05
    assert density_coverage(collapsed, y).coverage < 0.2
    assert density_coverage(collapsed, y).density == pytest.approx(1, abs=0.1)


def test_moving_away_lowers_all_four() -> None:
    x, y = pair(200, 200, 4, 1, 0)
    values = [(*precision_recall(x + shift, y), *density_coverage(x + shift, y)) for shift in (0, 0.7, 1.4, 2.1, 4)]
    assert np.all(np.diff(values, axis=0) < 0)


def test_equal_rows_have_balls_of_no_size() -> None:
    same = np.full((20, 3), 0.1)
    assert density_coverage(same, same) == (0.0, 0.0)
    assert precision_recall(same + 1e-9, same) == (0.0, 0.0)


def test_repeated_rows_have_balls_of_no_size_whatever_the_rounding(monkeypatch) -> None:
    rows = np.random.default_rng(0).standard_normal((3, 30)).repeat(7, axis=0)
    monkeypatch.setattr(_pairs, "BLOCK_ROWS", 5)
    assert density_coverage(rows[::-1], rows) == (0.0, 0.0)
    table = _pairs.squared_distances(rows, rows.copy())
    assert (table == 0).sum() == 3 * 7 * 7
    near = rows[:1] + 1e-5
    assert _pairs.squared_distances(rows[:1], near)[0, 0] == pytest.approx(30 * 1e-10, rel=1e-3)


def test_a_row_as_far_as_the_radius_is_outside_whatever_the_rounding() -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((400, 30))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    first, others = directions[0], directions[1:][directions[1:] @ directions[0] < 0.4]
    centre = rng.standard_normal(30)
    real = np.vstack([centre, centre + 0.1 * first, centre + 50])
    found = density_coverage(centre + 0.1 * others, real[:2], k=1)
    assert len(others) > 300
    assert found == (0.0, 0.0)
    assert density_coverage(centre + 0.0999 * others, real[:2], k=1).density >= 1


def test_impossible_input_is_refused_in_a_sentence() -> None:
    x, y = pair(9, 9, 3, 1, 0)
    with pytest.raises(UserError, match=r"5 row\(s\) of reference features have no 5 neighbours each; 6 are needed"):
        density_coverage(x, y[:5])
    with pytest.raises(UserError, match=r"5 row\(s\) of generated features"):
        precision_recall(x[:5], y)
    assert density_coverage(x[:1], y).coverage >= 0
    with pytest.raises(UserError, match="0 nearest neighbours"):
        density_coverage(x, y, k=0)
