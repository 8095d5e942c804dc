"""Frechet distance at 2048 x 2048: avbench's nuclear norm against the scipy sqrtm route of public FVD and FAD code.

    python benchmarks/metrics_frechet.py

The two routes run in turn on the same features; printed are the medians, their ratio, and how far each route is from
the analytic value on a rank-deficient pair of covariances, where the true distance is known.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

import numpy as np
import scipy.linalg

from avbench.metrics import frechet_distance


def sqrtm_route(x: np.ndarray, y: np.ndarray) -> float:
    """The textbook formula: covariance matrices, their product, a general matrix square root, its real part."""
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(axis=0) - y.mean(axis=0)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    return float(shift @ shift + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root.real))


def rank_deficient(n: int = 300, d: int = 256, rank: int = 100) -> tuple[np.ndarray, np.ndarray, float]:
    """Features whose sample covariances have spectra over twelve decades and common eigenvectors; true distance."""
    q = np.linalg.qr(np.random.RandomState(3).randn(d, d))[0].T[:rank]
    spectra = 10 ** np.linspace(3, -9, rank), 10 ** np.linspace(2, -10, rank)
    sets = []
    for seed, spectrum in enumerate(spectra):
        raw = np.random.default_rng(seed).standard_normal((n, rank))
        white = np.linalg.qr(raw - raw.mean(axis=0))[0]
        sets.append(np.sqrt(n - 1) * white @ (np.sqrt(spectrum)[:, None] * q))
    return sets[0], sets[1], float(np.sum((np.sqrt(spectra[0]) - np.sqrt(spectra[1])) ** 2))


def timed(function, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Value and wall seconds of one call."""
    begun = time.perf_counter()
    value = function(x, y)
    return value, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((args.clips, args.dim)).astype(np.float32)
    y = (1.1 * rng.standard_normal((args.clips, args.dim)) + 0.05).astype(np.float32)

    routes = {"avbench": frechet_distance, "scipy sqrtm": sqrtm_route}
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    values = {}
    for _ in range(args.repeats):
        for name, route in routes.items():
            values[name], taken = timed(route, x, y)
            seconds[name].append(taken)

    print(f"{args.clips} x {args.dim}, {args.repeats} alternating runs, {platform.machine()}, {os.cpu_count()} cores")
    print(f"numpy {np.__version__}, scipy {scipy.__version__}")
    hard_x, hard_y, truth = rank_deficient()
    for name, route in routes.items():
        error = abs(route(hard_x, hard_y) / truth - 1)
        print(
            f"{name:12s} median {statistics.median(seconds[name]):8.2f} s   value {values[name]:.9f}   "
            f"error on the rank-deficient pair {error:.1e}"
        )
    print(f"ratio {statistics.median(seconds['scipy sqrtm']) / statistics.median(seconds['avbench']):.1f}x")


if __name__ == "__main__":
    main()
