"""When the clips of a source begin, and how much of it no clip holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from avbench.recipe import SegmentRecipe

SLACK_S = 0.010
"""A clip may reach this far beyond the end of its source; silence or the last picture fills it (see `media.cut`)."""

_ROUNDING_S = 0.0005
_MIN_NEW_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """The clips of one source.

    Attributes:
        starts_s: Times of their first frames, seconds, rising.
        n_scenes: Scenes of the source; 1 for a fixed grid.
        longest_scene_s: Length of the longest, from the end of the lead on, seconds.
        short_scenes_s: Time in scenes too short for a clip, seconds.
        unused_s: All time after the lead that no clip holds, seconds.
    """

    starts_s: tuple[float, ...]
    n_scenes: int
    longest_scene_s: float
    short_scenes_s: float
    unused_s: float


def plan(
    frame_starts_s: NDArray[np.float64],
    end_s: float,
    recipe: SegmentRecipe,
    cuts_s: NDArray[np.float64] | None = None,
) -> Plan:
    """Choose the starts.

    Clip k of a scene is asked for at ``begin + k * step_s`` and begins at the first source frame from there on. Where
    clips follow each other without overlap, none begins before the one before it has ended, so that no two share a
    frame even where the source's frame rate does not divide the clip length.

    Args:
        frame_starts_s: Times of the pictures, rising, seconds.
        end_s: End of the usable part: picture or sound, whichever ends first.
        recipe: Lead, length, step, tail.
        cuts_s: Times at which scenes after the first begin; None for a fixed grid.

    Returns:
        ``[t, t + clip_s)`` lies inside the usable part, and inside one scene, for each start.
    """
    within = [] if cuts_s is None else [float(cut) for cut in cuts_s if recipe.lead_s < cut < end_s]
    borders = [recipe.lead_s, *within, max(end_s, recipe.lead_s)]
    starts: list[float] = []
    short_s = longest_s = used_s = 0.0
    for begin, end in pairwise(borders):
        slack_s = SLACK_S if end == borders[-1] else 0.0
        scene = _scene(frame_starts_s, begin, end + slack_s, recipe)
        if not scene:
            short_s += end - begin
        longest_s = max(longest_s, end - begin)
        used_s += _covered(scene, recipe.clip_s)
        starts += scene
    unused_s = max(0.0, borders[-1] - borders[0] - used_s)
    return Plan(tuple(starts), len(borders) - 1, longest_s, short_s if cuts_s is not None else 0.0, unused_s)


def _scene(frame_starts_s: NDArray[np.float64], begin: float, end: float, recipe: SegmentRecipe) -> list[float]:
    """Starts inside ``[begin, end)``."""
    half_gap = float(np.median(np.diff(frame_starts_s))) / 2 if len(frame_starts_s) > 1 else 0.0
    rounding = min(_ROUNDING_S, half_gap)
    starts: list[float] = []
    while True:
        wanted = begin + len(starts) * recipe.step_s
        if starts and recipe.step_s >= recipe.clip_s:
            wanted = max(wanted, starts[-1] + recipe.clip_s)
        at = int(np.searchsorted(frame_starts_s, wanted - rounding))
        if at == len(frame_starts_s) or frame_starts_s[at] + recipe.clip_s > end + 1e-6:
            break
        starts.append(float(frame_starts_s[at]))
    if starts and recipe.tail == "shift":
        last = int(np.searchsorted(frame_starts_s, end + 1e-6 - recipe.clip_s, side="right")) - 1
        # a last clip that is nearly the one before it would be a duplicate
        if frame_starts_s[last] >= starts[-1] + _MIN_NEW_SHARE * recipe.clip_s:
            starts.append(float(frame_starts_s[last]))
    return starts


def _covered(starts: list[float], clip_s: float) -> float:
    """Length of the union of the clips, seconds."""
    total, reached = 0.0, -np.inf
    for start in starts:
        total += start + clip_s - max(start, reached)
        reached = start + clip_s
    return float(total)
