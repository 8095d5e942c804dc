"""Convolution with kernels of 3x3 and 3x1 in a quarter and half of the multiplications, on channels-last images.

Winograd's way (Lavin and Gray, arXiv 1509.09308, section 4): six neighbouring pixels are changed to the values of a
polynomial at six points, where convolving is multiplying, and from the products four pixels are recovered. With the
points 0, ±1 and ±2 of that paper the largest error is four times that of PyTorch's convolution; with those here the two
are equal (Barabasz et al., arXiv 1803.10986, on why points matter).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

_POINTS = (0.0, 0.65, -0.65, 1.4, -1.4)
"""Where the polynomials are taken, besides infinity."""

_MADE = 4
"""Pixels of an output that are made at a time along an axis."""

_TAKEN = 6
"""Pixels of an input that they are made of."""

_LEAST_PIXELS = 2048
"""Pixels of all images below which a 3x3 kernel is changed for longer than is won."""

_LEAST_ROW = 2**15
"""Numbers in a row of an image below which too little is multiplied at a time for a 3x1 kernel."""

_LEAST_CHANNELS = {3: 96, 1: 128}
"""Channels of inputs and outputs below which changing the pixels takes longer than is won, by the kernel's width."""

_FRAME_ELEMENTS, _ROW_ELEMENTS = 2**23, 2**20
"""Elements that are held between the products of a 3x3 and of a 3x1 kernel: a processor's cache."""


def suits(images: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` takes this convolution, and is the faster way on a processor with AVX2."""
    height, width = weight.shape[2:]
    if (height, width) not in ((3, 3), (3, 1)) or not images.dtype == weight.dtype == torch.float32:
        return False
    count, _, rows, columns = images.shape
    channels = min(weight.shape[:2])
    if width == 3:
        fits, is_large = rows % _MADE == columns % _MADE == 0, count * rows * columns >= _LEAST_PIXELS
    else:
        fits, is_large = rows % _MADE == 0, columns * channels >= _LEAST_ROW
    return fits and is_large and channels >= _LEAST_CHANNELS[width]


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve float32 images with zero 'same' padding and stride 1; no gradient is recorded.

    Args:
        images: (N, C_in, H, W), H a multiple of 4, and W too where the kernel is three wide.
        weight: (C_out, C_in, 3, 3) or (C_out, C_in, 3, 1).
        bias: (C_out,) or None.

    Returns:
        (N, C_out, H, W) in channels-last memory.
    """
    pixels = images.permute(0, 2, 3, 1)
    out = pixels.new_empty(*pixels.shape[:3], weight.shape[0])
    (_frames if weight.shape[3] == 3 else _rows)(pixels, weight, bias, out)
    return out.permute(0, 3, 1, 2)


def _changes() -> tuple[Tensor, Tensor, Tensor]:
    """Toom and Cook's matrices: of pixels (6, 6), of weights (6, 3), and back from their products (4, 6), float64."""

    def powers(count: int) -> Tensor:
        at_points = [[point**power for power in range(count)] for point in _POINTS]
        return torch.tensor([*at_points, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)

    of_pixels = torch.linalg.inv(powers(_TAKEN)).T
    scale = of_pixels.abs().amax(1, keepdim=True)
    return of_pixels / scale, powers(3) * scale, powers(_MADE).T


@functools.cache
def _matrices(axes: int) -> tuple[Tensor, ...]:
    """`_changes` along one axis or two, float32: of pixels (6^a, 6^a), of weights (6^a, 3^a), back (4^a, 6^a)."""
    return tuple((torch.kron(m, m) if axes == 2 else m).float() for m in _changes())


def _changed(weight: Tensor, of_weights: Tensor) -> Tensor:
    """Kernels (C_out, C_in, 3, 3 or 1) -> a matrix (C_in, C_out) for each of the points (6^a, C_in, C_out)."""
    return (of_weights @ weight.flatten(2).flatten(0, 1).t()).unflatten(1, weight.shape[:2]).transpose(1, 2)


def weight_gradient(images: Tensor, grad: Tensor) -> Tensor:
    """Gradient of a 3x3 kernel that `suits` said yes to.

    The products are bilinear: where outputs are made of pixels by one matrix, gradients go back by its transpose.

    Args:
        images: What was convolved (N, C_in, H, W).
        grad: Gradient of the outputs (N, C_out, H, W).

    Returns:
        (C_out, C_in, 3, 3).
    """
    _, of_weights, back = _matrices(2)
    outputs = grad.permute(0, 2, 3, 1)
    channels, made = images.shape[1], grad.shape[1]
    total = images.new_zeros(_TAKEN**2, channels, made)
    for part, changed, spare in _changed_parts(images.permute(0, 2, 3, 1), made):
        n, tiles = len(changed), _tiles(outputs[part])
        given = spare[: tiles.numel()].view(n, _MADE**2, made)
        given.view(tiles.shape).copy_(tiles)
        of_products = torch.bmm(back.t().expand(n, -1, -1), given)
        total.baddbmm_(changed.permute(1, 2, 0), of_products.transpose(0, 1))
    return (of_weights.t() @ total.flatten(1)).view(3, 3, channels, made).permute(3, 2, 0, 1)


def _frames(pixels: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Write to ``out`` (N, H, W, C_out) the convolution of (N, H, W, C_in) with a 3x3 kernel, some rows at a time."""
    _, of_weights, back = _matrices(2)
    matrices, made = _changed(weight, of_weights), out.shape[3]
    for part, changed, spare in _changed_parts(pixels, made):
        n, tiles = len(changed), _tiles(out[part])
        products = spare[: n * _TAKEN**2 * made].view(n, _TAKEN**2, made)
        torch.bmm(changed.transpose(0, 1), matrices, out=products.transpose(0, 1))
        recovered = torch.bmm(back.expand(n, -1, -1), products)
        if bias is not None:
            recovered += bias
        tiles.copy_(recovered.view(tiles.shape))


def _changed_parts(pixels: Tensor, made: int) -> Iterator[tuple[tuple[slice, slice], Tensor, Tensor]]:
    """Images and rows of a part of ``pixels`` (N, H, W, C), its tiles at the points (n, 36, C), and free memory.

    The memory is that of n x 36 x ``made`` numbers at least; it and the tiles are written anew for the next part.
    """
    of_pixels = _matrices(2)[0]
    count, height, width, channels = pixels.shape
    bands, across = height // _MADE, width // _MADE
    at_a_time = max(1, _FRAME_ELEMENTS // (2 * _TAKEN**2 * max(channels, made)))
    few_bands, few = max(1, min(bands, at_a_time // across)), max(1, min(count, at_a_time // (bands * across)))
    bordered = pixels.new_zeros(few, few_bands * _MADE + 2, width + 2, channels)
    most = few * few_bands * across * _TAKEN**2
    spare, kept = pixels.new_empty(most * max(channels, made)), pixels.new_empty(most * channels)
    for first in range(0, count, few):
        for band in range(0, bands, few_bands):
            part = slice(first, first + few), slice(band * _MADE, min(bands, band + few_bands) * _MADE)
            taken = _with_borders(pixels[part[0]], part[1].start, part[1].stop, bordered)
            windows = taken.unfold(1, _TAKEN, _MADE).unfold(2, _TAKEN, _MADE).permute(0, 1, 2, 4, 5, 3)
            n = windows.shape[:3].numel()
            given, changed = (x[: windows.numel()].view(n, _TAKEN**2, channels) for x in (spare, kept))
            given.view(windows.shape).copy_(windows)
            yield part, torch.bmm(of_pixels.expand(n, -1, -1), given, out=changed), spare


def _tiles(pixels: Tensor) -> Tensor:
    """Tiles of pixels (N, H, W, C) as a view (N, H/4, W/4, 4, 4, C)."""
    return pixels.unflatten(1, (-1, _MADE)).unflatten(3, (-1, _MADE)).transpose(2, 3)


def _with_borders(frames: Tensor, top: int, bottom: int, bordered: Tensor) -> Tensor:
    """Rows ``top`` to ``bottom`` with those above and below, zeros beyond the frame, in the memory of ``bordered``."""
    height = frames.shape[1]
    taken = bordered[: len(frames), : bottom - top + 2]
    above, below = max(0, top - 1), min(height, bottom + 1)
    taken[:, : above - top + 1] = 0
    taken[:, below - top + 1 :] = 0
    taken[:, above - top + 1 : below - top + 1, 1:-1] = frames[:, above:below]
    return taken


def _rows(pixels: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Write to ``out`` (N, H, W, C_out) the convolution of (N, H, W, C_in) with a 3x1 kernel, four rows at a time."""
    of_pixels, of_weights, back = _matrices(1)
    matrices = _changed(weight, of_weights)
    height, channels, made = pixels.shape[1], pixels.shape[3], out.shape[3]
    few = max(1, _ROW_ELEMENTS // (2 * _TAKEN * max(channels, made)))
    for image, written in zip(pixels, out, strict=True):
        for columns, some in zip(image.split(few, 1), written.split(few, 1), strict=True):
            for top in range(0, height, _MADE):
                above, below = max(0, top - 1), min(height, top + _TAKEN - 1)
                within = of_pixels[:, above - top + 1 : below - top + 1]
                changed = (within @ columns[above:below].flatten(1)).unflatten(1, columns.shape[1:])
                target = some[top : top + _MADE]
                torch.mm(back, torch.bmm(changed, matrices).flatten(1), out=target.flatten(1))
                if bias is not None:
                    target += bias
