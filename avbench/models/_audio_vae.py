"""A small autoencoder of sound: every ``hop`` samples become one latent.

The waveform is cut into overlapping pieces by a strided convolution, and put together again by its transpose; between
them all convolutions run at a fraction of the sample rate. That keeps it light. As of the picture, a linear map of two
hops to a latent and back lies beside the network, which begins at nothing. There are no norms: a faint sound is to stay
faint, and a latent depends on the sound near it and not on the length of the clip.
"""

from __future__ import annotations

from torch import Tensor, nn

from avbench.models._autoencoder_config import AudioVAEConfig
from avbench.models._video_vae import LOG_VARIANCE, moments_at_first

_DILATIONS = (1, 3)
"""Of the two convolutions of a residual block."""


class AudioVAE(nn.Module):
    """Sound (B, 1, M * hop) to latents (B, M, C) and back."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(len(config.strides))]

        def blocks(width: int) -> list[nn.Module]:
            return [WaveRes(width) for _ in range(config.blocks)]

        down: list[nn.Module] = [_down(1, widths[0], config.strides[0]), *blocks(widths[0])]
        for narrow, wide, stride in zip(widths, widths[1:], config.strides[1:], strict=False):
            down += [_down(narrow, wide, stride), *blocks(wide)]
        moments = moments_at_first(nn.Conv1d(widths[-1], 2 * config.channels, 3, padding=1))
        self.encoder = nn.Sequential(*down, moments)

        up: list[nn.Module] = [nn.Conv1d(config.channels, widths[-1], 3, padding=1), *blocks(widths[-1])]
        for narrow, wide, stride in reversed(list(zip(widths, widths[1:], config.strides[1:], strict=False))):
            up += [_up(wide, narrow, stride), *blocks(narrow)]
        self.decoder = nn.Sequential(*up, _up(widths[0], 1, config.strides[0], starts_at_nothing=True))
        self.linear_encoder = _down(1, config.channels, config.hop)
        self.linear_decoder = _up(config.channels, 1, config.hop)

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each (B, M, C)."""
        mean, log_variance = self.encoder(audio).transpose(1, 2).chunk(2, dim=2)
        return mean + self.linear_encoder(audio).transpose(1, 2), log_variance.clamp(*LOG_VARIANCE)

    def decode(self, latents: Tensor) -> Tensor:
        """Sound of latents, (B, 1, M * hop), about in [-1, 1]."""
        channels_first = latents.transpose(1, 2)
        sound: Tensor = self.decoder(channels_first) + self.linear_decoder(channels_first)
        return sound


class WaveRes(nn.Module):
    """Two convolutions along time, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        near, far = _DILATIONS
        last = nn.Conv1d(width, width, 3, padding=far, dilation=far)
        nn.init.zeros_(last.weight)
        self.branch = nn.Sequential(nn.SiLU(), nn.Conv1d(width, width, 3, padding=near, dilation=near), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) -> the same."""
        residual: Tensor = self.branch(x)
        return x + residual


def _down(channels: int, out: int, stride: int) -> nn.Module:
    """Overlapping pieces of two strides, one every stride; ``stride`` divides the length."""
    left = stride // 2
    return nn.Sequential(nn.ZeroPad1d((left, stride - left)), nn.Conv1d(channels, out, 2 * stride, stride))


def _up(channels: int, out: int, stride: int, *, starts_at_nothing: bool = False) -> nn.Module:
    """The inverse in shape and place of `_down`."""
    left, widen = stride // 2, nn.ConvTranspose1d(channels, out, 2 * stride, stride)
    if starts_at_nothing:
        nn.init.zeros_(widen.weight)
        assert widen.bias is not None
        nn.init.zeros_(widen.bias)
    return nn.Sequential(widen, Crop(left, stride - left))


class Crop(nn.Module):
    """Leaves out what lies before and behind a clip."""

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) -> (B, C, L - before - behind)."""
        return x[:, :, self.before : x.shape[2] - self.behind]
