"""FAD extrapolated to infinitely many windows: what is left of it once the bias of a finite N is gone.

Rows are 0.96 s windows, as in FAD. At least 258 of each side are needed, twice the dimension of the embedding. Unlike
the FAD-inf of fadtk and kadtk it draws both sides, and no window twice. The details hold the slope
over ``1/n`` and the R2 of the line.
"""

from __future__ import annotations

import math

from avbench.metrics._infinity_metric import compute, details

__all__ = ["compute", "details"]

KIND = "distance"
FEATURE = "vggish"
ESTIMATOR = "frechet over 1/n at 15 sizes from a quarter to all rows, both sides drawn without replacement, value at 0"
HIGHER_IS_BETTER = False
UNIT = "squared VGGish units"
RANGE = (-math.inf, math.inf)
SOURCE = "Gui et al. 2024, arXiv 2311.01616, after Chong and Forsyth 2020, arXiv 1911.07023"
INTERVAL_DRAWS = 25
