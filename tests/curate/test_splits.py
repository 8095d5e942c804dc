"""The split by source group: complete, stable, near its shares, and never without a held-out group."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from avbench.curate._splits import SPLITS, Stored, assign, divide, load, save
from avbench.errors import UserError
from avbench.recipe import ShardRecipe

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


def rows(**sources: tuple[str, float]) -> list[dict[str, object]]:
    return [
        {"source_id": source_id, "group": group or source_id, "clip_s": clip_s}
        for source_id, (group, clip_s) in sources.items()
    ]


def empty(seed: int = 0) -> Stored:
    return Stored(schema_version=1, seed=seed, shares=SHARES, sources=())


@given(st.integers(5, 40), st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_later_build_never_moves_a_source_and_fills_towards_the_shares(first: int, more: int, seed: int) -> None:
    one = divide(rows(**{f"s{n}": ("", 100.0) for n in range(first)}), empty(seed))
    grown = divide(rows(**{f"s{n}": ("", 100.0) for n in range(first + more)}), one.stored)
    assert {name: split for name, split in grown.of_source.items() if name in one.of_source} == one.of_source
    assert grown.stored.sources[: len(one.stored.sources)] == one.stored.sources
    for split in ("validation", "test"):
        held = sum(100.0 for name in grown.of_source.values() if name == split)
        assert held <= max(100.0, SHARES[split] * 100.0 * (first + more) + 50.0, 100.0 * first * SHARES[split] + 50.0)
    if (first + more) * SHARES["test"] >= 2:
        assert sum(split == "test" for split in grown.of_source.values()) >= 2


def test_a_new_source_joins_its_group_even_when_the_others_are_not_in_this_build() -> None:
    one = divide(rows(a=("band", 10.0), b=("", 10.0), c=("", 10.0), d=("", 10.0)), empty())
    later = divide(rows(new=("band", 10.0), b=("", 10.0)), one.stored)
    assert later.of_source == {"new": one.of_source["a"], "b": one.of_source["b"]}
    back = divide(rows(a=("band", 10.0), new=("band", 10.0)), later.stored)
    assert set(back.of_source.values()) == {one.of_source["a"]}
    assert back.stored == later.stored


def test_a_new_source_found_to_repeat_a_stored_one_stands_with_it() -> None:
    one = divide(rows(a=("", 10.0), b=("", 10.0), c=("", 10.0)), empty())
    joined = divide(rows(a=("same", 10.0), b=("", 10.0), c=("", 10.0), new=("same", 10.0)), one.stored)
    assert joined.of_source == {**one.of_source, "new": one.of_source["a"]}
    assert joined.dropped == {}


def test_two_stored_sources_found_to_be_one_recording_stay_in_one_split_and_the_later_one_is_dropped() -> None:
    one = divide(rows(a=("", 10.0), b=("", 10.0), c=("", 10.0)), empty())
    first, second = (place.source_id for place in one.stored.sources[:2])
    assert one.of_source[first] != one.of_source[second]
    groups = {name: ("same" if name in (first, second) else "", 10.0) for name in "abc"}
    found = divide(rows(**groups), one.stored)
    assert found.of_source == {name: split for name, split in one.of_source.items() if name != second}
    assert found.dropped == {
        second: f"its recording stands in {one.of_source[first]} already, it was placed in {one.of_source[second]}"
    }
    assert found.stored == one.stored, "what is stored stays, so that the next build decides the same"


def test_another_seed_or_other_shares_are_refused_once_splits_are_stored(tmp_path: Path) -> None:
    recipe = ShardRecipe()
    save(tmp_path, divide(rows(a=("", 10.0), b=("", 1.0), c=("", 1.0)), load(tmp_path, recipe)).stored)
    before = (tmp_path / "splits.json").stat().st_mtime_ns
    save(tmp_path, load(tmp_path, recipe))
    assert (tmp_path / "splits.json").stat().st_mtime_ns == before, "what is stored already is not written again"
    with pytest.raises(UserError, match=r"drawn with seed 0 and shares 0.9/0.05/0.05, the recipe has seed 1"):
        load(tmp_path, ShardRecipe(seed=1))
    with pytest.raises(UserError, match=r"delete the file to divide everything anew"):
        load(tmp_path, ShardRecipe(train=0.8, validation=0.1, test=0.1))


def test_eight_thousand_sources_are_divided_in_a_moment() -> None:
    many = rows(**{f"s{n}": (f"g{n // 3}", 34.0) for n in range(8000)})
    one = divide(many, empty())
    assert divide(many, one.stored).of_source == one.of_source
