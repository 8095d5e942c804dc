"""Kernel audio distance: unbiased Gaussian MMD between VGGish embeddings of generated and reference sound, times 100.

Rows are 0.96 s windows, as in FAD. It assumes no shape of distribution, is unbiased at any N, and may be slightly
negative where the two sets agree. The width of the kernel is the median distance within the reference; the public code
takes it from the generated set, which the option ``bandwidth_from`` repeats.
"""

from __future__ import annotations

import math
from typing import Literal

from numpy.typing import ArrayLike

from avbench.metrics._arrays import as_features
from avbench.metrics._gaussian import kernel_audio_distance, median_pairwise_distance

KIND = "distance"
FEATURE = "vggish"
ESTIMATOR = "unbiased Gaussian MMD, bandwidth of the reference, times 100"
HIGHER_IS_BETTER = False
UNIT = "kernel units times 100"
RANGE = (-math.inf, 200.0)
SOURCE = "Chung et al. 2025, arXiv 2502.15602; YoonjinXD/kadtk:kadtk/kad.py"
INTERVAL_DRAWS = 25


def compute(
    generated: ArrayLike, reference: ArrayLike, bandwidth_from: Literal["reference", "generated"] = "reference"
) -> float:
    """KAD of two sets of VGGish embeddings; see `avbench.metrics.kernel_audio_distance`.

    Args:
        generated: Float array (n, 128), one row per window.
        reference: Float array (m, 128).
        bandwidth_from: Side that gives the width of the kernel.
    """
    return kernel_audio_distance(generated, reference, bandwidth_from=bandwidth_from)


def details(
    generated: ArrayLike, reference: ArrayLike, bandwidth_from: Literal["reference", "generated"] = "reference"
) -> dict[str, float]:
    """Width of the kernel; see `compute`."""
    chosen = {"reference": reference, "generated": generated}[bandwidth_from]
    return {"bandwidth": median_pairwise_distance(as_features(chosen, bandwidth_from))}
