"""The video autoencoder of CogVideoX: 8 x 8 pixels and 4 frames to 16 numbers.

Network: diffusers' ``AutoencoderKLCogVideoX`` (Yang et al., arXiv 2408.06072). It is causal in its convolutions, not in
its group norms, which look at several latent frames together. The library decodes latent frames in pairs, the odd one
first: only an odd number of them gives back the frames that were encoded, so clips have 1 + 8 k frames.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avbench.codecs._base import Origin, VideoCodec
from avbench.codecs._library import load
from avbench.hub_weights import HubModel

MODELS = {
    "cogvideox": HubModel(
        repo="THUDM/CogVideoX-2b",
        revision="1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01",
        licence="Apache-2.0",
        non_commercial=False,
        patterns=("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
    )
}
SUBFOLDER = "vae"


class Codec(VideoCodec):
    """A causal codec of 1 + 8 k frames."""

    causal = True

    def __init__(self, folder: Path, origin: Origin) -> None:
        import diffusers

        super().__init__(load(diffusers.AutoencoderKLCogVideoX, folder), origin)
        self.network.enable_tiling()
        config = self.network.config
        self.channels, self.spatial = config.latent_channels, 2 ** (len(config.block_out_channels) - 1)
        self.temporal = int(config.temporal_compression_ratio)

    @property
    def frame_step(self) -> int:
        """Two latent frames: see the module."""
        return 2 * self.temporal

    def _encode(self, clip: Tensor) -> Tensor:
        mean: Tensor = self.network.encode(clip).latent_dist.mode()
        return mean

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.network.decode(latents).sample
        return pictures
