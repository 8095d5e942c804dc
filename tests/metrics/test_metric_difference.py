"""Tests of a difference: right size under no difference, found where there is one, sharper where clips pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from avbench.errors import UserError
from avbench.metrics import frechet_distance
from avbench.metrics._difference import distance_difference, holm, mean_difference, paired_mean_difference


def rows(seed: int, n: int, shift: float = 0.0, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def names(n: int, prefix: str = "c") -> list[str]:
    return [f"{prefix}{i:04d}" for i in range(n)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def distances(a: np.ndarray, b: np.ndarray, paired: bool, draws: int = 60) -> object:
    reference = rows(99, 200)
    return distance_difference(
        frechet_distance, a, b, reference, a_groups=names(len(a)), b_groups=names(len(b)),
        reference_groups=names(len(reference)), paired=paired, rng=rng(), draws=draws,
    )  # fmt: skip


def test_a_set_does_not_differ_from_itself() -> None:
    a = rows(1, 100)
    found = distances(a, a, paired=True)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_shifted_set_is_found_worse_and_the_sign_turns_with_the_order() -> None:
    good, bad = rows(1, 100), rows(2, 100, shift=0.6)
    found, turned = distances(bad, good, paired=False), distances(good, bad, paired=False)
    assert found.value == pytest.approx(frechet_distance(bad, rows(99, 200)) - frechet_distance(good, rows(99, 200)))
    assert found.p < 0.001
    assert found.low > 0
    assert turned.value == pytest.approx(-found.value)
    assert turned.high < 0


def test_pairs_make_the_interval_narrower() -> None:
    a = rows(1, 150)
    b = a + 0.05 * rows(2, 150)
    paired, alone = distances(a, b, paired=True), distances(a, b, paired=False)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


@pytest.mark.slow
def test_the_distance_test_keeps_its_level_where_there_is_no_difference() -> None:
    p = [
        distance_difference(
            frechet_distance, rows(3 * k, 120), rows(3 * k + 1, 120), rows(3 * k + 2, 120), a_groups=names(120),
            b_groups=names(120, "d"), reference_groups=names(120), paired=False, rng=rng(), draws=40,
        ).p
        for k in range(60)
    ]  # fmt: skip
    # 60 tests at 5%: 3 expected; more than 9 happens once in two thousand times
    assert sum(value < 0.05 for value in p) <= 9
    assert max(p) > 0.5


def test_paired_means_agree_with_the_exact_permutation_of_scipy() -> None:
    a, b = rows(1, 9, d=1)[:, 0], rows(2, 9, shift=0.4, d=1)[:, 0]
    found = paired_mean_difference(a, b, names(9), rng())
    exact = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.value == pytest.approx(np.mean(a - b))
    assert found.p == pytest.approx(exact.pvalue, abs=0.02)
    assert found.low < found.value < found.high


def test_independent_means_agree_with_scipy() -> None:
    a, b = rows(1, 30, d=1)[:, 0], rows(2, 40, shift=0.5, d=1)[:, 0]
    found = mean_difference(a, b, names(30), names(40), rng())
    other = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), n_resamples=9999, rng=np.random.default_rng(1), vectorized=False
    )
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.p == pytest.approx(other.pvalue, abs=0.02)


def test_windows_of_one_source_count_as_one() -> None:
    a, b = np.repeat(rows(1, 8, d=1)[:, 0], 50), np.repeat(rows(2, 8, shift=0.3, d=1)[:, 0], 50)
    single = [f"s{i}" for i in range(8) for _ in range(50)]
    clustered = paired_mean_difference(a, b, single, rng())
    pretended = paired_mean_difference(a, b, names(400), rng())
    assert clustered.p > pretended.p
    assert clustered.high - clustered.low > 3 * (pretended.high - pretended.low)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_too_few_sources_are_refused() -> None:
    with pytest.raises(UserError, match="an interval needs at least"):
        mean_difference([1.0, 2.0], [1.0, 2.0], ["a", "b"], ["a", "b"], rng())
