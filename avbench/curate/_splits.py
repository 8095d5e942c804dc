"""Which source group goes to which split: whole groups, by duration, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

SPLITS = ("train", "validation", "test")


def assign(durations: Mapping[str, float], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign every group to a split so that the durations come near the shares.

    The groups stand in an order drawn from ``seed`` and their own names, so a new source does not reorder the others.
    Every split but the largest takes from that order each group that brings it nearer its share, at least one; the
    largest gets the rest.

    Args:
        durations: Seconds of each group.
        shares: Share of each of `SPLITS`, summing to 1. A split with share 0 stays empty.
        seed: Another seed gives another split.

    Returns:
        The split of each group. With fewer groups than splits the largest split is served first, then test.
    """
    wanted = [split for split in SPLITS if shares[split] > 0]
    largest = max(wanted, key=lambda split: shares[split])
    held_out = [split for split in wanted if split != largest]
    free = sorted(durations, key=lambda group: (hashlib.sha256(f"{seed}:{group}".encode()).digest(), group))
    total = sum(durations.values())
    found: dict[str, str] = {}
    for number, split in enumerate(held_out):
        room = len(free) - (len(held_out) - number)
        for group in _take(free, durations, shares[split] * total, room):
            found[group] = split
            free.remove(group)
    return found | dict.fromkeys(free, largest)


def _take(free: list[str], durations: Mapping[str, float], target_s: float, room: int) -> list[str]:
    """At most ``room`` groups whose duration is near ``target_s``; at least one, the shortest, if there is room."""
    taken: list[str] = []
    have_s = 0.0
    for group in free:
        nearer = abs(have_s + durations[group] - target_s) < abs(have_s - target_s)
        if nearer and len(taken) < room:
            taken.append(group)
            have_s += durations[group]
    if not taken and room > 0:
        taken.append(min(free, key=lambda group: durations[group]))
    return taken
