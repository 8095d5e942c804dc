"""What every filter is: thresholds in a frozen model, and one method that judges a clip.

A filter is one file with ``class Filter(ClipFilter)``, or ``class Filter(DatasetFilter)`` where it compares clips. Its
fields are its thresholds, set from a dataset recipe::

    [[filters]]
    name = "silence"
    max_ratio = 0.9
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from avbench import recipe, registry, weights
from avbench.errors import UserError
from avbench.filters._signals import ClipSignals
from avbench.recipe import FilterSpec, Strict
from avbench.schema import Verdict
from avbench.weights import Weight


class BaseFilter(Strict):
    """What all filters have in common: a frozen set of thresholds, a measured value, a verdict.

    Attributes:
        version: Raised when the measurement itself changes, so that verdicts of an older avbench are made anew.
        unit: What the measured value counts, in words for a person: ``share of the clip``, ``cuts per minute``.
        symbol: What stands behind a threshold in a reason: ``px``; ``%`` for a share of 0 to 1; empty where the words
            before it say enough.
        lowest: Name of the threshold below which a clip is dropped; empty where there is none.
        highest: Name of the threshold above which a clip is dropped; empty where there is none.
        weights: Published weights that it needs.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    symbol: ClassVar[str] = ""
    lowest: ClassVar[str] = ""
    highest: ClassVar[str] = ""
    weights: ClassVar[tuple[Weight, ...]] = ()

    @property
    def name(self) -> str:
        """Name in the registry: the name of the file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def limits(self) -> frozenset[str]:
        """Thresholds that are only compared with the measured value: changing them changes no measurement."""
        return frozenset({self.lowest, self.highest} - {""})

    def bounds(self) -> tuple[float | None, float | None]:
        """Lowest and highest measured value that is kept; None where there is no such bound."""
        low, high = (float(getattr(self, name)) if name else None for name in (self.lowest, self.highest))
        return low, high

    def verdict(self, value: float, reason: str) -> Verdict:
        """The verdict for a measured ``value``: a drop when there is a ``reason``, else a keep.

        Raises:
            ValueError: The value is not a finite number, which is a defect of the filter.
        """
        if not math.isfinite(value):
            raise ValueError(f"filter {self.name} measured {value}")
        return Verdict(self.name, not reason, float(value), reason)


class ClipFilter(BaseFilter):
    """A filter that judges each clip by itself: it says how to measure, the bounds decide."""

    @abstractmethod
    def measure(self, clip: ClipSignals) -> float:
        """The number that the decision rests on, in `unit`; finite for every clip that can be decoded."""

    @abstractmethod
    def said(self, value: float) -> str:
        """A measured value as a phrase: ``silent for 95.1% of the clip``."""

    def reason(self, value: float) -> str:
        """Why a clip of this value is dropped, with the value and the threshold; empty where it is kept."""
        low, high = self.bounds()
        if low is not None and value < low:
            return f"{self.said(value)}, under {self._amount(low)}"
        if high is not None and value > high:
            return f"{self.said(value)}, over {self._amount(high)}"
        return ""

    def judge(self, clip: ClipSignals) -> Verdict:
        """Measure ``clip`` and decide; the measured value stands in the verdict even when the clip is kept."""
        value = self.measure(clip)
        return self.verdict(value, self.reason(value))

    def _amount(self, limit: float) -> str:
        return f"{100 * limit:g}%" if self.symbol == "%" else f"{limit:g} {self.symbol}".rstrip()


class DatasetFilter(BaseFilter):
    """A filter that judges the clips of a dataset against each other, once all of them are measured.

    What each clip gives to the comparison does not depend on the thresholds, so changing one needs no second decode.
    """

    @abstractmethod
    def measure(self, clip: ClipSignals) -> dict[str, str]:
        """What is kept of ``clip`` for the comparison, as short text."""


def load(specs: Sequence[FilterSpec]) -> tuple[BaseFilter, ...]:
    """The filters a recipe names, in its order, with their thresholds checked.

    Raises:
        UserError: An unknown filter, a filter named twice, an unknown threshold or a wrong value.
    """
    filters: list[BaseFilter] = []
    for spec in specs:
        made = recipe.parse(spec.options, registry.module("filter", spec.name).Filter, f"filter {spec.name}")
        if any(other.name == made.name for other in filters):
            raise UserError(f"filter {spec.name}: the recipe names it twice; give it one set of thresholds")
        filters.append(made)
    return tuple(filters)


def resolved(specs: Sequence[FilterSpec]) -> tuple[FilterSpec, ...]:
    """The same filters with every threshold written out, so that a saved recipe does not depend on defaults."""
    return tuple(FilterSpec.model_validate({"name": made.name, **made.model_dump()}) for made in load(specs))


def check_weights(filters: Sequence[BaseFilter]) -> None:
    """Find the weights that ``filters`` need, before hours of work go into clips that cannot be judged.

    Raises:
        WeightsMissing: One is not on this machine; says which and how to get it.
        UserError: One is there but is another file.
    """
    for weight in {weight.name: weight for made in filters for weight in made.weights}.values():
        weights.locate(weight)
