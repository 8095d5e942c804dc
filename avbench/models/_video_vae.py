"""A small autoencoder of video, causal in time: a latent frame depends on no frame behind its own.

As in MAGVIT-v2 (arXiv 2310.05737) and the autoencoders of later video models, the first latent frame stands for one
frame and each further one for ``temporal`` frames, so a picture is a video of one frame. To stay light on a CPU, space
and time are never convolved together: two-dimensional convolutions see one frame, and `TimeMix` sees one cell over
three frames. Norms look at one frame alone, or the future would leak into the past through their statistics.

A linear map of each cell to its latent and back (`CellsToLatents`, `LatentsToCells`) lies beside the network, which
begins at nothing: within some hundred steps the codec is as good as principal components, and what the network then
learns comes on top.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from avbench.models._autoencoder_config import VideoVAEConfig

LOG_VARIANCE = (-12.0, 4.0)
"""Range of the posterior's log variance."""
FIRST_LOG_VARIANCE = -6.0


class VideoVAE(nn.Module):
    """Pictures (B, T, 3, H, W) to latents (B, N, C, h, w) and back, T = 1 + temporal (N - 1)."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.config = config
        halvings = config.spatial.bit_length() - 1
        steps = config.temporal.bit_length() - 1
        # the first halving turns 2 x 2 pixels into channels, at no cost
        widths = [config.width * 2**level for level in range(halvings)]
        groups, deep = config.norm_groups, widths[-1]

        def blocks(width: int) -> list[nn.Module]:
            return [PerFrame(SpaceRes(width, groups)) for _ in range(config.blocks)]

        down: list[nn.Module] = [PerFrame(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, widths[0], 3, padding=1)))]
        for narrow, wide in pairwise(widths):
            down += [*blocks(narrow), PerFrame(nn.Conv2d(narrow, wide, 3, stride=2, padding=1))]
        for _ in range(steps):
            down += [*blocks(deep), TimeMix(deep, groups), TimeDown(deep)]
        moments = PerFrame(moments_at_first(nn.Conv2d(deep, 2 * config.channels, 3, padding=1)))
        self.encoder = nn.Sequential(*down, *blocks(deep), TimeMix(deep, groups), moments)

        entry = PerFrame(nn.Conv2d(config.channels, deep, 3, padding=1))
        up: list[nn.Module] = [entry, TimeMix(deep, groups), *blocks(deep)]
        for _ in range(steps):
            up += [TimeUp(deep), TimeMix(deep, groups), *blocks(deep)]
        for narrow, wide in reversed(list(pairwise(widths))):
            widened = nn.Conv2d(wide, 4 * narrow, 3, padding=1)
            up += [PerFrame(nn.Sequential(widened, nn.PixelShuffle(2))), *blocks(narrow)]
        head = nn.Sequential(_zero(nn.Conv2d(widths[0], 12, 3, padding=1)), nn.PixelShuffle(2))
        self.decoder = nn.Sequential(*up, PerFrame(head))
        self.linear_encoder, self.linear_decoder = CellsToLatents(config), LatentsToCells(config)

    def encode(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each (B, N, C, h, w), of pictures in [-1, 1]."""
        mean, log_variance = self.encoder(video).chunk(2, dim=2)
        return mean + self.linear_encoder(video), log_variance.clamp(*LOG_VARIANCE)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents, about in [-1, 1]."""
        pictures: Tensor = self.decoder(latents)
        return pictures + self.linear_decoder(latents)


class CellsToLatents(nn.Module):
    """A linear map of the frames and pixels that a latent stands for; before the first frame stands the first."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.temporal = config.temporal
        self.map = nn.Conv2d(3 * config.temporal, config.channels, config.spatial, config.spatial)

    def forward(self, video: Tensor) -> Tensor:
        """(B, 1 + temporal k, 3, H, W) -> (B, 1 + k, C, h, w)."""
        whole = torch.cat([video[:, :1].expand(-1, self.temporal - 1, -1, -1, -1), video], 1)
        groups = whole.unflatten(1, (-1, self.temporal)).flatten(2, 3)
        latents: Tensor = self.map(groups.flatten(0, 1))
        return latents.unflatten(0, groups.shape[:2])


class LatentsToCells(nn.Module):
    """A linear map of a latent to the frames and pixels it stands for; of the first, only the last frame is one."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.temporal = config.temporal
        self.map = nn.ConvTranspose2d(config.channels, 3 * config.temporal, config.spatial, config.spatial)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, 1 + k, C, h, w) -> (B, 1 + temporal k, 3, H, W)."""
        groups = self.map(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        frames: Tensor = groups.unflatten(2, (self.temporal, 3)).flatten(1, 2)
        return frames[:, self.temporal - 1 :]


class PerFrame(nn.Module):
    """Applies a two-dimensional network to every frame of (B, T, C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T, C', H', W')."""
        frames: Tensor = self.network(x.flatten(0, 1))
        return frames.unflatten(0, x.shape[:2])


class SpaceRes(nn.Module):
    """Two convolutions over one frame (F, C, H, W), added to it."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.second = nn.Sequential(
            nn.GroupNorm(groups, width), nn.SiLU(), _zero(nn.Conv2d(width, width, 3, padding=1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(F, C, H, W) -> the same."""
        residual: Tensor = self.second(self.first(x))
        return x + residual


class TimeMix(nn.Module):
    """Adds to every cell a function of it in its own frame and the two before; before the first stands the first."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = PerFrame(nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU()))
        self.mix = PerFrame(_zero(nn.Conv2d(3 * width, width, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C, H, W) -> the same."""
        now = self.norm(x)
        past = torch.cat([now[:, :1], now[:, :1], now], 1)
        residual: Tensor = self.mix(torch.cat([past[:, :-2], past[:, 1:-1], now], 2))
        return x + residual


class TimeDown(nn.Module):
    """1 + 2 m frames to 1 + m: the first stays alone, each further one is made of two frames and the one before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = PerFrame(nn.Conv2d(3 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + 2 m, C, H, W) -> (B, 1 + m, C, H, W)."""
        padded = torch.cat([x[:, :1], x[:, :1], x], 1)
        merged: Tensor = self.merge(torch.cat([padded[:, :-2:2], padded[:, 1:-1:2], padded[:, 2::2]], 2))
        return merged


class TimeUp(nn.Module):
    """1 + m frames to 1 + 2 m, the inverse in shape of `TimeDown`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.split = PerFrame(nn.Conv2d(width, 2 * width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + m, C, H, W) -> (B, 1 + 2 m, C, H, W)."""
        both = self.split(x).unflatten(2, (2, x.shape[2])).flatten(1, 2)
        return both[:, 1:]


def moments_at_first(layer: nn.Conv1d | nn.Conv2d) -> nn.Module:
    """A layer that gives means and log variances: at first no mean, and a noise small beside those of the linear map.

    With a noise of one, hundreds of steps go by until anything but the brightest passes the latents.
    """
    _zero(layer)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias[len(layer.bias) // 2 :] = FIRST_LOG_VARIANCE
    return layer


def _zero(layer: nn.Conv1d | nn.Conv2d) -> nn.Conv1d | nn.Conv2d:
    """Starts a branch at nothing."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
