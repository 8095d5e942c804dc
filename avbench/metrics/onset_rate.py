"""Onset rate: do things sound as often in generated clips as in real ones?

One number per clip (onsets per second), and the largest difference of its distribution functions on the two
sides: 0 where they agree, 1 where they do not overlap. Two fresh samples of one distribution are about
``0.87 sqrt((n + m) / (n m))`` apart. The details hold both medians.
"""

from __future__ import annotations

from avbench.metrics._two_samples_metric import compute, details

__all__ = ["compute", "details"]

KIND = "distance"
FEATURE = "onset_rate"
ESTIMATOR = "two-sample Kolmogorov-Smirnov statistic"
HIGHER_IS_BETTER = False
UNIT = "difference of distribution functions"
RANGE = (0.0, 1.0)
SOURCE = "avbench; statistic of Kolmogorov 1933 and Smirnov 1939"
