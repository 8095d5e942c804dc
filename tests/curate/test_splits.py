"""The split by source group: complete, stable, near its shares, and never without a held-out group."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from avbench.curate._splits import SPLITS, assign

SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}
durations = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=6), st.floats(1, 1000), min_size=1, max_size=40)


@given(durations, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_group_has_a_split_and_three_groups_fill_three_splits(groups: dict[str, float], seed: int) -> None:
    found = assign(groups, SHARES, seed)
    assert set(found) == set(groups)
    assert set(found.values()) <= set(SPLITS)
    if len(groups) >= 3:
        assert set(found.values()) == set(SPLITS)
    assert assign(dict(reversed(groups.items())), SHARES, seed) == found, "the order of the manifest does not matter"


@given(st.lists(st.floats(60, 600), min_size=60, max_size=120), st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_shares_of_the_duration_are_met_to_within_a_group(lengths: list[float], seed: int) -> None:
    groups = {f"g{n}": length for n, length in enumerate(lengths)}
    found = assign(groups, {"train": 0.7, "validation": 0.2, "test": 0.1}, seed)
    total = sum(lengths)
    for split, share in {"validation": 0.2, "test": 0.1}.items():
        have = sum(length for group, length in groups.items() if found[group] == split)
        assert abs(have - share * total) <= max(lengths) / 2


def test_long_groups_are_held_out_too() -> None:
    groups = {f"g{n}": 1000.0 if n % 2 else 100.0 for n in range(40)}
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    held = [group for group, split in assign(groups, shares, 0).items() if split == "test"]
    assert {groups[group] for group in held} == {100.0, 1000.0}


def test_the_seed_matters_and_a_new_group_moves_few() -> None:
    groups = {f"g{n}": 100.0 for n in range(50)}
    first = assign(groups, SHARES, 0)
    assert assign(groups, SHARES, 1) != first
    grown = assign({**groups, "new": 100.0}, SHARES, 0)
    assert sum(first[group] != grown[group] for group in groups) <= 4


@pytest.mark.parametrize(
    ("count", "expected"), [(1, {"train"}), (2, {"train", "test"}), (3, set(SPLITS))], ids=["one", "two", "three"]
)
def test_with_few_groups_train_comes_first_then_test(count: int, expected: set[str]) -> None:
    assert set(assign({f"g{n}": 10.0 * (n + 1) for n in range(count)}, SHARES, 3).values()) == expected


def test_a_split_without_a_share_stays_empty() -> None:
    found = assign({f"g{n}": 10.0 for n in range(9)}, {"train": 0.0, "validation": 0.0, "test": 1.0}, 0)
    assert set(found.values()) == {"test"}
    found = assign({f"g{n}": 10.0 for n in range(10)}, {"train": 0.5, "validation": 0.0, "test": 0.5}, 0)
    assert sorted(found.values()).count("test") == 5
    assert "validation" not in found.values()


def test_only_giants_still_fill_the_held_out_splits_with_the_shortest() -> None:
    found = assign({"a": 1000.0, "b": 3000.0, "c": 2000.0}, SHARES, 0)
    assert {found["a"], found["c"]} == {"validation", "test"}
    assert found["b"] == "train"
