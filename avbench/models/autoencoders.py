"""Our own autoencoder of pictures and sound: small, causal in time, regularised towards a standard normal.

Kingma and Welling (arXiv 1312.6114) with a weight far below one on the divergence, as latent diffusion takes it
(arXiv 2112.10752): the latents are to be smooth enough to be generated, and need not be normal. Picture and sound do
not see each other; they share a file, a run and a training loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.models._audio_vae import AudioVAE
from avbench.models._autoencoder_config import PRESETS, AudioVAEConfig, AutoencoderConfig, VideoVAEConfig
from avbench.models._video_vae import VideoVAE

__all__ = ["PRESETS", "AudioVAE", "AudioVAEConfig", "Autoencoder", "AutoencoderConfig", "VideoVAE", "VideoVAEConfig"]


class Reconstruction(NamedTuple):
    """What comes out of an autoencoder.

    Attributes:
        video: (B, T, 3, H, W).
        audio: (B, 1, L).
        video_kl: (B,), divergence of the posterior from a standard normal, a mean over the numbers of the latents.
        audio_kl: (B,), the same of the sound.
    """

    video: Tensor
    audio: Tensor
    video_kl: Tensor
    audio_kl: Tensor


class Autoencoder(nn.Module):
    """Both autoencoders in one network."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.video, self.audio = VideoVAE(config.video), AudioVAE(config.audio)

    def forward(self, video: Tensor, audio: Tensor, generators: Sequence[torch.Generator]) -> Reconstruction:
        """Encode, draw from the posterior, decode.

        Args:
            video: (B, 1 + temporal k, 3, H, W) in [-1, 1].
            audio: (B, 1, L) in [-1, 1].
            generators: CPU generators, one per clip, so that its draw does not depend on the batch.
        """
        video_mean, video_log_variance = self.video.encode(video)
        whole = F.pad(audio, (0, -audio.shape[2] % self.config.audio.hop))
        audio_mean, audio_log_variance = self.audio.encode(whole)
        noise = [[torch.randn(mean.shape[1:], generator=g) for mean in (video_mean, audio_mean)] for g in generators]
        video_noise, audio_noise = (torch.stack(drawn).to(video_mean) for drawn in zip(*noise, strict=True))
        return Reconstruction(
            self.video.decode(video_mean + (0.5 * video_log_variance).exp() * video_noise),
            self.audio.decode(audio_mean + (0.5 * audio_log_variance).exp() * audio_noise)[:, :, : audio.shape[2]],
            divergence(video_mean, video_log_variance),
            divergence(audio_mean, audio_log_variance),
        )


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1) in nats, a mean over all but the first axis."""
    each = 0.5 * (mean.float().square() + log_variance.float().exp() - 1 - log_variance.float())
    return each.flatten(1).mean(1)
