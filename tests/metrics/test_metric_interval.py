"""Intervals: their width has a closed form for a mean, sources stay whole, and the same seed gives the same ends."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.errors import UserError
from avbench.metrics import frechet_distance, polynomial_mmd
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._interval import Z_95, distance_interval, mean_interval
from avbench.metrics._kernel import polynomial_mmd_of_subsets


def difference_of_means(x, y) -> float:
    return float(x.mean() - y.mean())


def names(n: int) -> list[str]:
    return [f"clip{i}" for i in range(n)]


def clustered(seed: int, n_groups: int, size: int, d: int = 1):
    """Rows that agree within their group far more than between groups, and the group of each."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n_groups, d)), size, axis=0) + 0.1 * rng.standard_normal((n_groups * size, d))
    return rows, [f"s{i // size}" for i in range(len(rows))]


def half_width(interval) -> float:
    return (interval.high - interval.low) / 2


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 1)), 3 * rng.standard_normal((40, 1))
    found = distance_interval(
        difference_of_means, x, y, generated_groups=names(60), reference_groups=names(40), rng=rng, draws=4000
    )
    expected = np.sqrt(x.var(ddof=1) / 60 + y.var(ddof=1) / 40)
    assert half_width(found) / Z_95 == pytest.approx(expected, rel=0.05)
    assert (found.low + found.high) / 2 == pytest.approx(difference_of_means(x, y))


def test_the_jackknife_counts_sources_not_rows() -> None:
    x, groups = clustered(1, 30, 8)
    y, y_groups = clustered(2, 30, 8)
    rng = np.random.default_rng(0)
    found = distance_interval(
        difference_of_means, x, y, generated_groups=groups, reference_groups=y_groups, rng=rng, draws=4000
    )
    means = [np.asarray(s).reshape(30, 8).mean(axis=1) for s in (x, y)]
    expected = np.sqrt(sum(m.var(ddof=1) / 30 for m in means))
    assert half_width(found) / Z_95 == pytest.approx(expected, rel=0.05)


def test_subsamples_are_halves_of_whole_sources_without_repeats() -> None:
    x, groups = clustered(1, 6, 5)
    seen = []

    def spy(generated, reference) -> float:
        seen.append((generated, reference))
        return 0.0

    distance_interval(
        spy, x, x, generated_groups=groups, reference_groups=groups, rng=np.random.default_rng(0), draws=9
    )
    *halves, whole = seen
    assert len(halves) == 9
    assert len(whole[0]) == 30
    for side in (side for pair in halves for side in pair):
        members = sorted(int(np.flatnonzero((x == row).all(axis=1))[0]) for row in side)
        assert len(set(members)) == 15
        assert np.array(members).reshape(3, 5)[:, 0].tolist() == sorted({m - m % 5 for m in members})


def test_the_interval_of_a_frechet_distance_matches_its_spread_over_fresh_samples() -> None:
    def sample(seed: int):
        rng = np.random.default_rng(seed)
        return rng.standard_normal((150, 6)), 1.1 * rng.standard_normal((150, 6)) + 0.3

    spread = np.std([frechet_distance(*sample(seed)) for seed in range(200)])
    widths = [
        half_width(
            distance_interval(
                frechet_distance,
                *sample(seed),
                generated_groups=names(150),
                reference_groups=names(150),
                rng=np.random.default_rng(seed),
                draws=40,
            )
        )
        for seed in range(12)
    ]
    assert np.mean(widths) / Z_95 == pytest.approx(spread, rel=0.2)


def test_the_bootstrap_of_a_mean_is_its_standard_error_over_sources() -> None:
    values, groups = clustered(3, 40, 5)
    found = mean_interval(values[:, 0], groups=groups, rng=np.random.default_rng(0), draws=8000)
    expected = values.reshape(40, 5).mean(axis=1).std() / np.sqrt(40)
    assert half_width(found) / Z_95 == pytest.approx(expected, rel=0.05)
    assert found.low < values.mean() < found.high


def test_sources_weigh_by_their_clips() -> None:
    values = np.r_[np.ones(96), np.zeros(4)]
    groups = ["big"] * 96 + names(4)
    found = mean_interval(values, groups=groups, rng=np.random.default_rng(0))
    assert found.low == 0.0  # a replicate without the big source
    assert found.high > 0.96


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = mean_interval(np.full(9, 0.3), groups=names(9), rng=np.random.default_rng(0))
    assert found[:2] == pytest.approx((0.3, 0.3))


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    x, groups = clustered(1, 8, 4, d=3)
    y, y_groups = clustered(2, 9, 4, d=3)
    order = np.random.default_rng(5).permutation(len(x))

    def ends(rows, row_groups, seed: int) -> tuple[float, float]:
        kinds = {"generated_groups": row_groups, "reference_groups": y_groups}
        return distance_interval(frechet_distance, rows, y, rng=np.random.default_rng(seed), draws=10, **kinds)[:2]

    shuffled = [groups[i] for i in order]
    assert ends(x, groups, 0) == ends(x, groups, 0)
    assert ends(x, groups, 0) != ends(x, groups, 1)
    assert ends(x[order], shuffled, 0) == pytest.approx(ends(x, groups, 0), rel=1e-9)
    one = mean_interval(x[:, 0], groups=groups, rng=np.random.default_rng(0))
    other = mean_interval(x[order, 0], groups=shuffled, rng=np.random.default_rng(0))
    assert one[:2] == pytest.approx(other[:2], rel=1e-12)


@pytest.mark.parametrize("d", [5, 40])
@pytest.mark.parametrize(
    ("distance", "of_subsets"),
    [(frechet_distance, frechet_distance_of_subsets), (polynomial_mmd, polynomial_mmd_of_subsets)],
    ids=["frechet", "kernel"],
)
def test_all_subsamples_at_once_give_the_interval_of_one_after_the_other(distance, of_subsets, d: int) -> None:
    x, groups = clustered(1, 30, 2, d)
    y, y_groups = clustered(2, 27, 2, d)
    known = {"generated_groups": groups, "reference_groups": y_groups, "draws": 20}
    slow = distance_interval(distance, x, y, rng=np.random.default_rng(0), **known)
    fast = distance_interval(distance, x, y, rng=np.random.default_rng(0), of_subsets=of_subsets, **known)
    assert fast[:2] == pytest.approx(slow[:2], rel=1e-6)
    assert fast.kind == slow.kind


def test_a_value_that_is_known_is_not_computed_again() -> None:
    x, groups = clustered(1, 8, 4)
    known = {"generated_groups": groups, "reference_groups": groups, "draws": 9}
    sizes = []

    def spy(a, b) -> float:
        sizes.append(len(a))
        return difference_of_means(a, b)

    given = distance_interval(spy, x, x, rng=np.random.default_rng(0), value=7.0, **known)
    assert sizes == [16] * 9
    plain = distance_interval(difference_of_means, x, x, rng=np.random.default_rng(0), **known)
    assert (given.low + given.high) / 2 == pytest.approx(7.0)
    assert half_width(given) == pytest.approx(half_width(plain))


def test_the_record_says_how_the_interval_was_made() -> None:
    x, groups = clustered(1, 8, 4)
    rng = np.random.default_rng(0)
    found = distance_interval(
        difference_of_means, x, x, generated_groups=groups, reference_groups=groups, rng=rng, draws=7
    )
    assert "7 subsamples without replacement of half the 8 generated and 8 reference groups" in found.kind
    assert "cluster bootstrap: 2000 replicates of 8 groups" in mean_interval(x[:, 0], groups=groups, rng=rng).kind


def test_too_few_sources_and_values_that_are_none_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"3 independent source\(s\) of generated clips"):
        mean_interval(np.arange(6.0), groups=["a", "b", "c"] * 2, rng=rng)
    with pytest.raises(UserError, match=r"3 independent source\(s\) of reference clips"):
        distance_interval(
            difference_of_means,
            np.ones((5, 1)),
            np.ones((3, 1)),
            generated_groups=names(5),
            reference_groups=names(3),
            rng=rng,
        )
    with pytest.raises(UserError, match="1 of 5 values"):
        mean_interval([0.1, np.nan, 0.2, 0.3, 0.4], groups=names(5), rng=rng)
    with pytest.raises(ValueError, match="4 generated group names for 5 rows"):
        mean_interval(np.ones(5), groups=names(4), rng=rng)
