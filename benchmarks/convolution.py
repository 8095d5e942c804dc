"""Convolutions of MM-Diffusion at the paper's size: torch's, NNPACK's (3x3 only) and Winograd's way in avbench.

    python benchmarks/convolution.py --repeats 7

Float32, without gradients. NNPACK's time includes changing the memory layout there and back, which the network around
it would need. Errors are the largest ones beside a convolution in float64.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.heap import keep_freed_memory
from avbench.models._winograd import convolve

SHAPES = [
    (16, 128, 128, 64, 64, 3),
    (16, 256, 128, 64, 64, 3),
    (16, 256, 256, 32, 32, 3),
    (16, 640, 256, 32, 32, 3),
    (16, 384, 384, 16, 16, 3),
    (16, 512, 512, 8, 8, 3),
    (1, 128, 128, 16, 4096, 1),
    (1, 256, 256, 16, 1024, 1),
    (1, 384, 384, 16, 256, 1),
    (1, 512, 512, 16, 64, 1),
]
"""Images, channels in and out, height, width, width of the kernel, which is three high."""


def ways(images: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Each way of convolving the same images, the first is what the others are measured by."""
    across = weight.shape[3] // 2

    def nnpack() -> Tensor:
        out = torch._nnpack_spatial_convolution(images.contiguous(), weight, bias, 1)
        return out.contiguous(memory_format=torch.channels_last)

    made = {"torch": lambda: F.conv2d(images, weight, bias, padding=(1, across))}
    if across and torch._nnpack_available():
        made["NNPACK"] = nnpack
    return made | {"avbench": lambda: convolve(images, weight, bias)}


def measure(shape: tuple[int, ...], repeats: int) -> None:
    """Print the median milliseconds, the ratio to the first way and the error of each, taken in turn."""
    count, channels, made, height, width, across = shape
    images = torch.randn(count, height, width, channels).permute(0, 3, 1, 2)
    weight, bias = torch.randn(made, channels, 3, across) / (channels * 3 * across) ** 0.5, torch.randn(made)
    exact = F.conv2d(images.double(), weight.double(), bias.double(), padding=(1, across // 2))
    all_ways = ways(images, weight, bias)
    errors = {name: (way() - exact).abs().max().item() for name, way in all_ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in all_ways}
    for _ in range(repeats):
        for name, way in all_ways.items():
            begun = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - begun)
    print(f"{count} images of {height}x{width}, {channels} to {made} channels, kernel 3x{across}")
    first = statistics.median(taken["torch"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"  {name:8s} {middle * 1e3:8.2f} ms  {first / middle:5.2f}x  error {errors[name]:.1e}")


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    now, kernels = datetime.now(UTC), torch.backends.cpu.get_cpu_capability()
    print(f"{now:%Y-%m-%d %H:%M} UTC, {torch.get_num_threads()} threads, {kernels}, torch {torch.__version__}")
    with torch.inference_mode():
        for shape in SHAPES:
            measure(shape, options.repeats)


if __name__ == "__main__":
    main()
