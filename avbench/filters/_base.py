"""What every filter is: thresholds in a frozen model, and one method that judges a clip.

A filter is one file with ``class Filter(ClipFilter)``. Its fields are its thresholds, set from a dataset recipe::

    [[filters]]
    name = "silence"
    max_ratio = 0.9
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from avbench import recipe, registry
from avbench.errors import UserError
from avbench.filters._signals import ClipSignals
from avbench.recipe import FilterSpec, Strict
from avbench.schema import Verdict


class ClipFilter(Strict):
    """Base of every filter: a frozen set of thresholds.

    Attributes:
        version: Raised when the measurement itself changes, so that verdicts of an older avbench are made anew.
        unit: Unit of the measured value, as a person reads it; empty for a share or a count without one.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """Name in the registry: the name of the file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def judge(self, clip: ClipSignals) -> Verdict:
        """Measure ``clip`` and decide; the measured value stands in the verdict even when the clip is kept."""

    def bounds(self) -> tuple[float | None, float | None]:
        """Lowest and highest measured value that is kept; None where there is no such bound."""
        return None, None

    def verdict(self, value: float, reason: str) -> Verdict:
        """The verdict for a measured ``value``: a drop when there is a ``reason``, else a keep.

        Raises:
            ValueError: The value is not a finite number, which is a defect of the filter.
        """
        if not math.isfinite(value):
            raise ValueError(f"filter {self.name} measured {value}")
        return Verdict(self.name, not reason, float(value), reason)


def load(specs: Sequence[FilterSpec]) -> tuple[ClipFilter, ...]:
    """The filters a recipe names, in its order, with their thresholds checked.

    Raises:
        UserError: An unknown filter, a filter named twice, an unknown threshold or a wrong value.
    """
    filters: list[ClipFilter] = []
    for spec in specs:
        made = recipe.parse(spec.options, registry.module("filter", spec.name).Filter, f"filter {spec.name}")
        if any(other.name == made.name for other in filters):
            raise UserError(f"filter {spec.name}: the recipe names it twice; give it one set of thresholds")
        filters.append(made)
    return tuple(filters)


def resolved(specs: Sequence[FilterSpec]) -> tuple[FilterSpec, ...]:
    """The same filters with every threshold written out, so that a saved recipe does not depend on defaults."""
    return tuple(FilterSpec.model_validate({"name": made.name, **made.model_dump()}) for made in load(specs))
