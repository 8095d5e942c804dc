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
    """Whether torch has fast kernels for bfloat16 on a device; without, `avbench.models.bfloat16` helps on a CPU."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


def warn_of_imitation(device: torch.device | str, reporter: Reporter, what: str, instead: str) -> None:
    """Say that bfloat16 is not the fast way on this device, where it is not.

    Args:
        device: Where to compute.
        reporter: Told.
        what: What asks for bfloat16, as the user knows it.
        instead: What the user can do to compute in float32.
    """
    found = torch.device(device)
    if has_bfloat16(found):
        return
    if found.type == "cpu":
        fact = "this processor has no bfloat16, which is computed in float32 and rounded: no faster"
    else:
        fact = f"{found} only imitates bfloat16, slower than float32"
    reporter.warn(f"{what}: {fact}; {instead}")
