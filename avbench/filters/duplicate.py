"""Drops clips whose picture and sound an earlier source of the dataset has already given."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from avbench.filters._base import DatasetFilter
from avbench.filters._fingerprints import Likeness, Prints
from avbench.filters._signals import ClipSignals


class Filter(DatasetFilter):
    """Share of the clip, in seconds, whose picture and sound are found again in one clip of an earlier source.

    Sources count in the order of the manifest. A clip whose sound alone or whose picture alone is found again stays,
    but its source then goes to the same split as the other.

    Attributes:
        max_share: Largest share kept, 0 to 1. Default 0.25: two grids of clips overlap by a half at least, and a hard
            re-encode costs up to half of that; unrelated recordings measured 0 (docs/duplicates.md).
        max_bits: Pictures whose 64-bit hashes differ in at most so many bits are alike. Default 12: our measurement on
            real re-encodes; unrelated pictures differ in 32 on average.
        min_views: A picture alone joins two sources only where it shows so many views that differ. Default 3: our
            choice; a title card or a menu is no sign of one recording.
        within_source: Compare clips of one source too, where they do not overlap. Default 0: a chorus comes again.
    """

    max_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    max_bits: Annotated[int, Field(ge=0, le=24)] = 12
    min_views: PositiveInt = 3
    within_source: bool = False

    unit: ClassVar[str] = "share of the clip"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_share"

    def measure(self, clip: ClipSignals) -> dict[str, str]:
        """See `DatasetFilter.measure`: base64 of the fingerprints of picture and sound."""
        return Prints.of(clip).to_text()

    def reason(self, value: float, other: str) -> str:
        """Why a clip is dropped that repeats ``value`` of itself from the clip ``other``; empty where it is kept."""
        if value <= self.max_share:
            return ""
        return f"repeats picture and sound of {other} for {value:.1%} of the clip, over {100 * self.max_share:g}%"

    def what(self, found: Likeness) -> str:
        """What of a clip repeats another: ``picture and sound``, ``sound``, ``picture`` or nothing."""
        if found.both > self.max_share:
            return "picture and sound"
        if found.sound > self.max_share:
            return "sound"
        return "picture" if found.picture > self.max_share and found.views >= self.min_views else ""
