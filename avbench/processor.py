"""What a processor is fast at: the same sums take other ways on another one."""

from __future__ import annotations

import functools

import torch

from avbench.progress import Reporter


@functools.cache
def has_avx512() -> bool:
    """Whether torch's kernels for this CPU are those of AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@functools.cache
def has_avx2_only() -> bool:
    """Whether torch's kernels for this CPU are those of AVX2."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


@functools.cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether torch has fast kernels for bfloat16 on a device.

    Without them the results are the same, but on a CPU a matrix product takes 30 times as long as in float32, a 3D
    convolution 270 times (torch 2.11 on an AMD Zen 3, which has AVX2 and no AVX-512).
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


def warn_of_imitation(device: torch.device | str, reporter: Reporter, what: str, instead: str) -> None:
    """Say that bfloat16 is the slow way on this device, where it is.

    Args:
        device: Where to compute.
        reporter: Told.
        what: What asks for bfloat16, as the user knows it.
        instead: What the user can do to compute in float32.
    """
    found = torch.device(device)
    if not has_bfloat16(found):
        place = "this processor" if found.type == "cpu" else str(found)
        reporter.warn(f"{what}: {place} only imitates bfloat16, many times slower than float32; {instead}")
