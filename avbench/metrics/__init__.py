"""Metrics, one file each, and the mathematics they share as plain functions of arrays.

``frechet_distance``, ``FrechetStatistics`` and ``polynomial_mmd`` are loaded when first used, so that listing the
metrics stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# A submodule takes its name in the package when it is first imported. Importing it here, and the function of the same
# name after it, leaves that name to the function; the registry finds the module by its full name all the same.
from avbench.metrics.av_align import av_align, av_align_score

if TYPE_CHECKING:
    from avbench.metrics._frechet import FrechetStatistics, frechet_distance
    from avbench.metrics._kernel import polynomial_mmd

__all__ = ["FrechetStatistics", "av_align", "av_align_score", "frechet_distance", "polynomial_mmd"]

_LAZY = {"FrechetStatistics": "_frechet", "frechet_distance": "_frechet", "polynomial_mmd": "_kernel"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
