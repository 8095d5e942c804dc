"""MM-Diffusion's audio distance: 10,000 times the Frechet distance between AudioCLIP embeddings of sound.

Rows are whole clips: 1024-d embeddings of AudioCLIP's audio tower, before normalisation. MM-Diffusion and JavisBench
report it as FAD; it is another network, another window and another factor than FAD, and compares only with itself. What
the network is fed (batch statistics, scale of the sound) are options of the feature.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "audioclip"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared AudioCLIP units times 10,000"
RANGE = (0.0, math.inf)
SOURCE = "Ruan et al. 2023, arXiv 2212.09478; researchmm/MM-Diffusion:mm_diffusion/evaluator.py at 7250222"

SCALE = 10_000.0
"""Factor of the published code since June 2024; before it was 1000."""


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """10,000 times the Frechet distance of two sets of AudioCLIP embeddings; see `avbench.metrics.frechet_distance`.

    Args:
        generated: Float array (n, 1024), one row per clip.
        reference: Float array (m, 1024).
        ddof: Covariances are divided by ``n - ddof``.
    """
    return SCALE * frechet_distance(generated, reference, ddof, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks, ddof: int = 1
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    values = frechet_distance_of_subsets(generated, reference, generated_picks, reference_picks, ddof)
    return [SCALE * value for value in values]
