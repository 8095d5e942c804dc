"""The sound autoencoder of Stable Audio Open: 2048 samples at 44.1 kHz to 64 numbers, 21.5 times a second.

Network: diffusers' ``AutoencoderOobleck`` (Evans et al., arXiv 2407.14358). It is stereo: mono sound goes in on both
channels, and the mean of both comes out.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avbench.codecs._base import AudioCodec, Origin
from avbench.codecs._library import load
from avbench.hub_weights import HubModel

MODELS = {
    "oobleck": HubModel(
        repo="stabilityai/stable-audio-open-1.0",
        revision="f21265c1e2710b3bd2386596943f0007f55f802e",
        licence="Stability AI Community License (free below 1 million USD of yearly revenue)",
        non_commercial=False,
        patterns=("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        gated=True,
    )
}
SUBFOLDER = "vae"


class Codec(AudioCodec):
    """A codec of stereo sound, given mono."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        import diffusers

        super().__init__(load(diffusers.AutoencoderOobleck, folder), origin)
        config = self.network.config
        self.channels, self.hop = config.decoder_input_channels, self.network.hop_length
        self.sample_rate_hz, self._ears = config.sampling_rate, config.audio_channels

    def _encode(self, clip: Tensor) -> Tensor:
        mean: Tensor = self.network.encode(clip.expand(-1, self._ears, -1)).latent_dist.mode()
        return mean

    def _decode(self, latents: Tensor) -> Tensor:
        sound: Tensor = self.network.decode(latents).sample
        return sound.mean(1, keepdim=True)
