"""Which clips are shown: nearest first on both sides, every drop, always the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avbench.inspection import choose
from avbench.inspection.reading import FilterFacts, Judged
from avbench.schema import Clip, Verdict

LOUD = FilterFacts("loudness", unit="LUFS", bounds=(-50.0, None))


def judged(name: str, value: float, *others: str) -> Judged:
    """A clip that `loudness` measured, and that ``others`` dropped."""
    clip = Clip(name, "s", "", 0.0, 2.0, 10.0, 64, 48, 8000, 1, f"{name}.mp4")
    reason = "" if value >= -50 else f"loudness {value} LUFS, under -50"
    verdicts = {"loudness": Verdict("loudness", not reason, value, reason)}
    return Judged(clip, verdicts | {other: Verdict(other, False, 1.0, "no") for other in others})


def names(clips: tuple[Judged, ...]) -> list[str]:
    return [clip.clip.clip_id for clip in clips]


CLIPS = [
    judged("far", -10), judged("near", -49), judged("mid", -30, "black"), judged("out", -51), judged("deep", -80),
    judged("both", -60, "black", "freeze"),
]  # fmt: skip


def test_nearest_to_the_threshold_come_first_on_both_sides() -> None:
    found = choose.judgement(LOUD, CLIPS, 2)
    assert names(found.near_kept) == ["near", "mid"]
    assert names(found.near_dropped) == ["out", "both"]


def test_values_are_sorted_by_who_dropped_the_clip() -> None:
    found = choose.judgement(LOUD, CLIPS, 2)
    assert sorted(found.kept) == [-49, -10]
    assert found.dropped_elsewhere == (-30,)
    assert sorted(found.dropped) == [-80, -60, -51]
    assert (found.alone, found.together) == (2, (("black", 1), ("freeze", 1)))
    assert found.odd == 0


def test_verdicts_made_with_another_threshold_are_noticed() -> None:
    assert choose.judgement(FilterFacts("loudness", bounds=(-20.0, None)), CLIPS, 2).odd == 2


def test_every_drop_has_a_place_and_only_the_nearest_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MAX_DRAWN", 3)
    monkeypatch.setattr(choose, "MAX_LISTED", 4)
    (reason,) = choose.judgement(LOUD, [judged(f"c{k}", -51.0 - k) for k in range(9)], 1).reasons
    assert names(reason.drawn) == ["c0", "c1", "c2"]
    assert names(reason.listed) == ["c3", "c4", "c5", "c6"]
    assert (reason.more, reason.total) == (2, 9)
    assert reason.text == "loudness # LUFS, under #"


def test_drops_for_several_reasons_share_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MAX_DRAWN", 4)
    monkeypatch.setattr(choose, "MAX_LISTED", 2)
    clips = [judged(f"c{k}", -51.0 - k) for k in range(3)]
    verdict = Verdict("loudness", False, -90.0, "no sound at all")
    clips += [replace(clip, verdicts={"loudness": verdict}) for clip in (judged("x", -1), judged("y", -1))]
    often, rarely = choose.judgement(LOUD, clips, 1).reasons
    assert (len(often.drawn), len(often.listed), often.more) == (3, 0, 0)
    assert (len(rarely.drawn), len(rarely.listed), rarely.more) == (1, 1, 0)


def test_clips_that_are_all_the_same_are_not_examples_of_a_threshold() -> None:
    assert choose.judgement(LOUD, [judged("a", -20), judged("b", -20)], 4).near_kept == ()


def test_the_sample_is_of_kept_clips_and_does_not_depend_on_order() -> None:
    clips = [judged(f"c{k:02d}", -20 if k % 2 else -60) for k in range(40)]
    first = names(choose.sample(clips, 5))
    assert first == names(choose.sample(clips[::-1], 5))
    assert len(first) == 5
    assert all(int(name[1:]) % 2 for name in first)
    assert first != sorted(name for name in first)


@pytest.mark.parametrize(
    ("value", "bounds", "away"),
    [(3.0, (1.0, None), 2.0), (3.0, (1.0, 4.0), 1.0), (9.0, (None, 4.0), 5.0), (9.0, (None, None), 0.0)],
)
def test_distance_is_to_the_nearest_bound(value: float, bounds: tuple[float | None, float | None], away: float) -> None:
    assert choose.distance(value, bounds) == away
