"""The video autoencoder of Wan 2.1: 8 x 8 pixels and 4 frames to 16 numbers, causal throughout.

Network: diffusers' ``AutoencoderKLWan`` (arXiv 2503.20314). The means and deviations in its configuration, which its
own pipelines apply, are not: latents are raw here as of every codec.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avbench.codecs._base import Origin, VideoCodec
from avbench.codecs._library import load
from avbench.hub_weights import HubModel

MODELS = {
    "wan2.1": HubModel(
        repo="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        revision="0fad780a534b6463e45facd96134c9f345acfa5b",
        licence="Apache-2.0",
        non_commercial=False,
        patterns=("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
    )
}
SUBFOLDER = "vae"


class Codec(VideoCodec):
    """A causal codec of 1 + 4 k frames."""

    causal = True

    def __init__(self, folder: Path, origin: Origin) -> None:
        import diffusers

        super().__init__(load(diffusers.AutoencoderKLWan, folder), origin)
        self.network.enable_tiling()
        config = self.network.config
        self.channels, self.spatial = config.z_dim, config.scale_factor_spatial
        self.temporal = config.scale_factor_temporal

    def _encode(self, clip: Tensor) -> Tensor:
        mean: Tensor = self.network.encode(clip).latent_dist.mode()
        return mean

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.network.decode(latents).sample
        return pictures
