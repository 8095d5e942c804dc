"""Building blocks of the super-resolution U-Net: the image U-Net of ADM (Dhariwal & Nichol, arXiv 2105.05233).

Activations are channels-last, pictures (N, H, W, C). Parameter names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avbench.models import _channels_last as layers
from avbench.models._attention import attention
from avbench.models._convolution import conv2d
from avbench.models._coupled_blocks import Resample, zeroed
from avbench.models._group_norm import group_norm


class Norm(nn.GroupNorm):
    """GroupNorm of each picture (N, H, W, C), optionally followed by a scale and shift per picture (N, C)."""

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """See `_group_norm.group_norm`."""
        return group_norm(x, self, scale, shift)


class Conv(nn.Conv2d):
    """3x3 convolution with zero 'same' padding: (N, H, W, C_in) -> (N, H, W, C_out)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        return conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias).permute(0, 2, 3, 1)


def resample(x: Tensor, how: Resample) -> Tensor:
    """Halve by averaging 2x2 pixels, or double by repeating each: (N, H, W, C)."""
    if how == "keep":
        return x
    planes = x.permute(0, 3, 1, 2)
    moved = F.avg_pool2d(planes, 2) if how == "down" else F.interpolate(planes, scale_factor=2.0, mode="nearest")
    return moved.permute(0, 2, 3, 1)


class ResBlock(nn.Module):
    """Residual block whose second norm is scaled and shifted by the time embedding.

    Unlike in MM-Diffusion's own blocks, re-sampling comes before the first convolution, and the second one is 3x3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        emb_channels: int,
        groups: int,
        dropout: float,
        how: Resample = "keep",
    ) -> None:
        super().__init__()
        self.how: Resample = how
        self.in_layers = nn.Sequential(Norm(groups, in_channels), nn.SiLU(), Conv(in_channels, out_channels))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels))
        self.out_layers = nn.Sequential(
            Norm(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(Conv(out_channels, out_channels)),
        )
        same = in_channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Transform pictures (N, H, W, C_in) given the time embedding ``emb`` (N, E)."""
        norm, act, first = self.in_layers
        h = first(resample(act(norm(x)), self.how))
        scale, shift = self.emb_layers(emb).chunk(2, -1)
        norm, act, drop, second = self.out_layers
        h = second(drop(act(norm(h, scale, shift))))
        x = resample(x, self.how)
        if isinstance(self.skip_connection, nn.Conv2d):
            x = layers.pointwise(self.skip_connection, x)
        return x + h


class Attention(nn.Module):
    """Self-attention among the pixels of a picture, with its own GroupNorm and a residual.

    The channels of ``qkv`` are, head by head, those of q, k and v: another order than in MM-Diffusion's own blocks.
    """

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        tokens = layers.pointwise(self.qkv, self.norm(x)).flatten(1, 2)
        q, k, v = (part.flatten(2) for part in tokens.unflatten(-1, (self.heads, 3, -1)).unbind(-2))
        return x + layers.pointwise(self.proj_out, attention(q, k, v, self.heads)).view_as(x)
