"""Which clips to show: those nearest to a threshold on both sides, every drop, and some that were kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from avbench.inspection.reading import Bounds, FilterFacts, Judged, by_chance
from avbench.parallel import without_numbers

MAX_DRAWN = 100
"""Drops of one filter that are drawn; of more, the nearest to the threshold are."""
MAX_LISTED = 400
"""Drops of one filter that are listed by name below the drawn ones."""


@dataclass(frozen=True)
class Reason:
    """Drops of one filter for one reason.

    Attributes:
        text: The reason with ``#`` for each number; the reason itself where there is one drop.
        drawn: Clips shown with their pictures, nearest to the threshold first.
        listed: Clips shown by name.
        more: How many are only counted.
    """

    text: str
    drawn: tuple[Judged, ...]
    listed: tuple[Judged, ...]
    more: int

    @property
    def total(self) -> int:
        """All drops for this reason."""
        return len(self.drawn) + len(self.listed) + self.more


@dataclass(frozen=True)
class Judgement:
    """What one filter did to a dataset, and the clips to judge it by.

    Attributes:
        facts: The filter.
        kept: Values of the clips that no filter drops.
        dropped_elsewhere: Values of clips that only other filters drop.
        dropped: Values of clips that it drops.
        alone: Clips that it alone drops.
        together: How many clips it drops together with each other filter.
        near_kept: Clips that it keeps, nearest to the threshold first; none where all values are the same.
        near_dropped: Clips that it drops, nearest first.
        reasons: Every drop, by reason.
        odd: Verdicts that the thresholds in ``facts`` do not explain: the clips were judged by others.
    """

    facts: FilterFacts
    kept: tuple[float, ...]
    dropped_elsewhere: tuple[float, ...]
    dropped: tuple[float, ...]
    alone: int
    together: tuple[tuple[str, int], ...]
    near_kept: tuple[Judged, ...]
    near_dropped: tuple[Judged, ...]
    reasons: tuple[Reason, ...]
    odd: int

    @property
    def values(self) -> tuple[float, ...]:
        """Every measured value."""
        return (*self.kept, *self.dropped_elsewhere, *self.dropped)


def judgement(facts: FilterFacts, clips: Sequence[Judged], examples: int) -> Judgement:
    """Sort a dataset's clips by what one filter says of them.

    Args:
        facts: The filter.
        clips: Clips of the dataset.
        examples: How many to show on each side of the threshold.
    """
    name = facts.name
    judged = [clip for clip in clips if name in clip.verdicts and not clip.error]
    judged.sort(key=lambda clip: (distance(clip.verdicts[name].value, facts.bounds), by_chance(clip.clip.clip_id)))
    kept = [clip for clip in judged if clip.verdicts[name].keep]
    dropped = [clip for clip in judged if not clip.verdicts[name].keep]
    together = Counter(other.filter for clip in dropped for other in clip.drops if other.filter != name)
    odd = sum(clip.verdicts[name].keep != _inside(clip.verdicts[name].value, facts.bounds) for clip in judged)
    return Judgement(
        facts=facts,
        kept=tuple(clip.verdicts[name].value for clip in kept if clip.is_kept),
        dropped_elsewhere=tuple(clip.verdicts[name].value for clip in kept if not clip.is_kept),
        dropped=tuple(clip.verdicts[name].value for clip in dropped),
        alone=sum(len(clip.drops) == 1 for clip in dropped),
        together=tuple(sorted(together.items(), key=lambda item: (-item[1], item[0]))),
        near_kept=tuple(kept[:examples]) if len({clip.verdicts[name].value for clip in judged}) > 1 else (),
        near_dropped=tuple(dropped[:examples]),
        reasons=tuple(_reasons(name, dropped)),
        odd=odd if any(bound is not None for bound in facts.bounds) else 0,
    )


def distance(value: float, bounds: Bounds) -> float:
    """How far a value is from the nearest bound; 0 where there is no bound, so that chance decides."""
    return min((abs(value - bound) for bound in bounds if bound is not None), default=0.0)


def _inside(value: float, bounds: Bounds) -> bool:
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)


def _reasons(name: str, dropped: Sequence[Judged]) -> list[Reason]:
    """Drops by reason, most frequent first; `dropped` has the nearest to the threshold first."""
    groups: dict[str, list[Judged]] = {}
    for clip in dropped:
        groups.setdefault(without_numbers(clip.verdicts[name].reason), []).append(clip)
    found = []
    drawn, listed = MAX_DRAWN, MAX_LISTED
    for text, clips in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        shown, named = clips[:drawn], clips[drawn : drawn + listed]
        drawn, listed = drawn - len(shown), listed - len(named)
        whole = clips[0].verdicts[name].reason if len(clips) == 1 else text
        found.append(Reason(whole, tuple(shown), tuple(named), len(clips) - len(shown) - len(named)))
    return found


def sample(clips: Sequence[Judged], count: int) -> tuple[Judged, ...]:
    """Kept clips at random, always the same ones."""
    return tuple(
        sorted((clip for clip in clips if clip.is_kept), key=lambda clip: by_chance(clip.clip.clip_id))[:count]
    )
