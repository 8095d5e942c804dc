"""Intervals of FVD and KVD at 2048 clips: all subsamples at once against one after the other.

    python benchmarks/metrics_intervals.py

Both routes take the same subsamples. One after the other, FVD takes QR factors and singular values of each, which is
exact to the last digits, and KVD all blocks of its kernel. Printed are the medians over alternating runs, their ratio,
and how far the two intervals differ.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np

from avbench import registry
from avbench.metrics import polynomial_mmd
from avbench.metrics._frechet import one_thread
from avbench.metrics._interval import Interval, distance_interval


def frechet_by_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    """Frechet distance by QR factors and the nuclear norm of their product."""
    factors = [np.linalg.qr(rows - rows.mean(axis=0), mode="r") / np.sqrt(len(rows) - 1) for rows in (x, y)]
    shift = x.mean(axis=0) - y.mean(axis=0)
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(shift @ shift + sum(np.sum(factor**2) for factor in factors) - 2 * root)


ONE_BY_ONE = {"fvd": frechet_by_singular_values, "kvd": polynomial_mmd}


def features(n: int, d: int, scale: float, seed: int) -> np.ndarray:
    """Rows whose deviations fall off exponentially, in mixed directions, as those of networks do."""
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((d, d)))[0]
    rng = np.random.default_rng(seed)
    return (scale * rng.standard_normal((n, d)) * np.exp(-np.arange(d) * 10 / d) @ turn).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    x, y = features(args.clips, args.dim, 1.1, 1), features(args.clips, args.dim, 1.0, 2)
    names = [f"clip{i}" for i in range(args.clips)]

    def interval(distance: Callable[..., float], of_subsets: Callable[..., list[float]] | None) -> Interval:
        rng = np.random.default_rng(0)
        sides = {"generated_groups": names, "reference_groups": names}
        with one_thread() if of_subsets is None else nullcontext():  # threads would slow small matrices down
            return distance_interval(distance, x, y, rng=rng, draws=args.draws, of_subsets=of_subsets, **sides)

    print(f"{args.clips} x {args.dim}, {args.draws} draws, {args.repeats} alternating runs")
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    for name, plain in ONE_BY_ONE.items():
        module = registry.module("metric", name)
        routes = {"one by one": (plain, None), "at once": (module.compute, module.compute_subsets)}
        seconds: dict[str, list[float]] = {route: [] for route in routes}
        found = {}
        for _ in range(args.repeats):
            for route, functions in routes.items():
                begun = time.perf_counter()
                found[route] = interval(*functions)
                seconds[route].append(time.perf_counter() - begun)
        slow, fast = (statistics.median(seconds[route]) for route in routes)
        widths = [found[route].high - found[route].low for route in routes]
        print(
            f"{name}  one by one {slow:7.2f} s   at once {fast:7.2f} s   ratio {slow / fast:5.1f}x   "
            f"half-width {widths[1] / 2:.6g}, relative difference {abs(widths[1] / widths[0] - 1):.1e}"
        )


if __name__ == "__main__":
    main()
