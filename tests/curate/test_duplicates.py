"""Clips that repeat another source: which one stays, what joins two sources, and that thousands are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.curate import _duplicates
from avbench.curate._duplicates import compare
from avbench.errors import UserError
from avbench.filters._fingerprints import BINS, HASHES_PER_S, SECOND, Prints
from avbench.filters.duplicate import Filter

CLIP_S = 16


def random_prints(seed: int, seconds: int = CLIP_S) -> Prints:
    """Fingerprints of nothing in particular: ten peaks a second, every picture unlike the others."""
    rng = np.random.default_rng(seed)
    steps, bins = rng.integers(0, round(seconds * SECOND), 10 * seconds), rng.integers(*BINS, 10 * seconds)
    hashes = rng.integers(1, 2**63, seconds * HASHES_PER_S, dtype=np.uint64)
    return Prints(hashes, np.unique(steps << 9 | bins).astype(np.uint32))


def later(prints: Prints, seconds: int, seed: int) -> Prints:
    """The same recording from ``seconds`` on, something else after its end."""
    rest = random_prints(seed)
    first, cut = round(seconds * SECOND), CLIP_S - seconds
    mine = prints.peaks[prints.peaks >> 9 >= first] - np.uint32(first << 9)
    theirs = rest.peaks[rest.peaks >> 9 >= round(cut * SECOND)]
    hashes = [prints.hashes[seconds * HASHES_PER_S :], rest.hashes[cut * HASHES_PER_S :]]
    return Prints(np.concatenate(hashes), np.concatenate([mine, theirs]))


def noisy(prints: Prints, bits: int, seed: int) -> Prints:
    """Every hash with ``bits`` bits turned over, a third of the peaks gone."""
    rng = np.random.default_rng(seed)
    turned = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in prints.hashes]
    return Prints(prints.hashes ^ np.array(turned, np.uint64), prints.peaks[rng.random(len(prints.peaks)) > 1 / 3])


class Dataset:
    """Clips and their prints, source after source."""

    def __init__(self) -> None:
        self.clips: list[dict[str, Any]] = []
        self.prints: list[dict[str, str]] = []

    def add(self, source_id: str, *prints: Prints, group: str = "") -> Dataset:
        for number, told in enumerate(prints):
            clip = {"clip_id": f"{source_id}_{number:04d}", "source_id": source_id, "group": group}
            self.clips.append({**clip, "start_s": float(CLIP_S * number), "clip_s": float(CLIP_S)})
            self.prints.append(told.to_text())
        return self

    def found(self, **thresholds: Any) -> _duplicates.Repeats:
        return compare(Filter(**thresholds), self.clips, self.prints)


def dropped(repeats: _duplicates.Repeats) -> list[str]:
    return [clip_id for clip_id, verdict in repeats.verdicts.items() if not verdict.keep]


A, B, C = random_prints(1), random_prints(2), random_prints(3)


def test_the_first_source_of_the_manifest_keeps_its_clip_and_the_reason_names_it() -> None:
    found = Dataset().add("zoo", A, B).add("alpha", C, noisy(A, 6, 0)).found()
    assert dropped(found) == ["alpha_0001"]
    verdict = found.verdicts["alpha_0001"]
    assert verdict.filter == "duplicate"
    assert verdict.value > 0.8
    assert verdict.reason == f"repeats picture and sound of zoo_0000 for {verdict.value:.1%} of the clip, over 25%"
    assert [found.verdicts[name].value for name in ("zoo_0000", "zoo_0001", "alpha_0000")] == [0, 0, 0]
    assert found.groups == {"alpha": "zoo", "zoo": "zoo"}
    (pair,) = found.pairs
    assert (pair["clip_id"], pair["other_clip_id"], pair["what"]) == ("alpha_0001", "zoo_0000", "picture and sound")


def test_two_grids_that_differ_by_seconds_still_meet_and_the_larger_overlap_is_named() -> None:
    found = Dataset().add("first", A, B).add("second", later(A, 6, 9)).found()
    (pair,) = found.pairs
    assert pair["shift_s"] == pytest.approx(6, abs=0.05)
    assert pair["both"] == pytest.approx(10 / 16, abs=0.13)
    assert dropped(found) == ["second_0000"]


def test_sound_alone_or_picture_alone_joins_the_sources_and_drops_nothing() -> None:
    cover = Prints(C.hashes, A.peaks)
    rescored = Prints(B.hashes, random_prints(8).peaks)
    found = Dataset().add("one", A, B).add("two", cover).add("three", rescored).add("four", random_prints(5)).found()
    assert dropped(found) == []
    assert {pair["source_id"]: pair["what"] for pair in found.pairs} == {"two": "sound", "three": "picture"}
    assert found.groups == {"one": "one", "three": "one", "two": "one"}


def test_a_clip_repeats_only_what_stays_in_the_dataset() -> None:
    # two is dropped; three repeats the end of two, which one does not hold: it is the only copy left
    two = later(A, 8, 20)
    three = later(two, 8, 21)
    found = Dataset().add("one", A).add("two", two).add("three", three).found(max_share=0.3)
    assert dropped(found) == ["two_0000"]
    assert set(found.groups) == {"one", "two", "three"}, "they share what they show all the same"


def test_one_source_may_repeat_itself_unless_the_recipe_says_otherwise() -> None:
    song = Dataset().add("song", A, B, A)
    assert dropped(song.found()) == []
    assert song.found().groups == {}
    assert dropped(song.found(within_source=True)) == ["song_0002"]
    assert song.found(within_source=True).groups == {}


def test_clips_of_one_source_that_overlap_are_never_compared() -> None:
    sliding = Dataset().add("song", A, later(A, 4, 30))
    sliding.clips[1]["start_s"] = 4.0
    assert sliding.found(within_source=True).pairs == []


def test_groups_of_the_manifest_are_joined_whole() -> None:
    found = (
        Dataset()
        .add("solo", B)
        .add("x1", random_prints(40), group="x")
        .add("x2", A, group="x")
        .add("y1", A, group="y")
        .add("y2", random_prints(41), group="y")
        .add("other", random_prints(42), group="z")
        .found()
    )
    assert found.groups == {"x1": "x", "x2": "x", "y1": "x", "y2": "x"}


def test_joins_chain_and_the_name_comes_from_the_first_of_the_manifest() -> None:
    mixed = Prints(A.hashes, B.peaks)
    found = Dataset().add("m", B).add("a", A).add("k", C).add("z", mixed).found()
    assert dropped(found) == []
    assert found.groups == {"a": "m", "m": "m", "z": "m"}


def test_nothing_alike_and_no_clips_at_all_give_no_groups() -> None:
    assert Dataset().add("a", A).add("b", B).found() == _duplicates.Repeats(
        {name: Filter().verdict(0, "") for name in ("a_0000", "b_0000")}
    )
    assert Dataset().found() == _duplicates.Repeats()


def test_clips_without_pictures_or_sound_to_compare_are_kept() -> None:
    nothing = Prints(np.zeros(64, np.uint64), np.zeros(0, np.uint32))
    assert dropped(Dataset().add("a", nothing).add("b", nothing).found()) == []


def test_searching_in_small_parts_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset()
    for source in range(8):
        dataset.add(f"s{source}", *(noisy(random_prints(100 + n), 5, source) for n in range(6)))
    whole = dataset.found()
    assert len(dropped(whole)) == 42
    monkeypatch.setattr(_duplicates, "BLOCK", 5)
    monkeypatch.setattr(_duplicates, "MAX_HITS", 10)
    assert dataset.found() == whole


def test_more_clips_than_an_index_can_tell_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_duplicates, "MAX_CLIPS", 1)
    clips = [{"clip_id": f"{name}_0", "source_id": name, "group": "", "start_s": 0, "clip_s": 34} for name in "ab"]
    with pytest.raises(UserError, match=r"2 clips are more than the 1 that can be compared.*divide the manifest"):
        compare(Filter(), clips, [])


def test_what_everybody_holds_is_no_reason_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    # an intro of four seconds in front of every clip
    monkeypatch.setattr(_duplicates, "CROWD", 10)
    intro = random_prints(7)
    dataset = Dataset()
    for source in range(30):
        own = random_prints(200 + source)
        peaks = np.concatenate([intro.peaks[intro.peaks >> 9 < 125], own.peaks[own.peaks >> 9 >= 125]])
        dataset.add(f"s{source}", Prints(np.concatenate([intro.hashes[:8], own.hashes[8:]]), peaks))
    compared: list[tuple[Prints, Prints]] = []
    like = _duplicates.likeness

    def counted(*pair: Any) -> Any:
        compared.append(pair[:2])
        return like(*pair)

    monkeypatch.setattr(_duplicates, "likeness", counted)
    dataset.found()
    assert len(compared) < 30 * 29 / 2 / 2


@pytest.mark.slow
def test_two_thousand_clips_are_compared_within_bounded_memory() -> None:
    # benchmarks/curate_duplicates.py does the same with 8,000
    import tracemalloc

    dataset = Dataset()
    for source in range(50):
        dataset.add(f"s{source:03d}", *(random_prints(1000 + 40 * source + n) for n in range(40)))
    dataset.prints[-1] = noisy(random_prints(1000), 6, 1).to_text()
    dataset.prints[-2] = later(random_prints(1001), 8, 2).to_text()
    tracemalloc.start()
    found = dataset.found()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dropped(found) == ["s049_0038", "s049_0039"]
    assert found.groups == {"s000": "s000", "s049": "s000"}
    assert peak < 125e6, f"{peak / 1e6:.0f} MB"
