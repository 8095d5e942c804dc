"""The autoencoder of Stable Diffusion, frame by frame: 8 x 8 pixels to 4 numbers, no step in time.

Network: diffusers' ``AutoencoderKL``. The weights tuned for small squared error are those that joint latent diffusion
of arXiv 2603.16093 took. Pictures beyond the size it was trained at are decoded in tiles that overlap.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from avbench.codecs._base import Origin, VideoCodec
from avbench.codecs._library import load
from avbench.hub_weights import HubModel

MODELS = {
    "sd-vae-ft-mse": HubModel(
        repo="stabilityai/sd-vae-ft-mse",
        revision="31f26fdeee1355a5c34592e401dd41e45d25a493",
        licence="MIT",
        non_commercial=False,
        patterns=("config.json", "diffusion_pytorch_model.safetensors"),
    )
}
SUBFOLDER = ""

CHUNK_FRAMES = 8
"""Frames per forward pass: bounds memory."""


class Codec(VideoCodec):
    """A codec of single frames."""

    temporal = 1
    causal = False

    def __init__(self, folder: Path, origin: Origin) -> None:
        import diffusers

        super().__init__(load(diffusers.AutoencoderKL, folder), origin)
        self.network.enable_tiling()
        config = self.network.config
        self.channels, self.spatial = config.latent_channels, 2 ** (len(config.block_out_channels) - 1)

    def _encode(self, clip: Tensor) -> Tensor:
        chunks = clip[0].transpose(0, 1).split(CHUNK_FRAMES)
        means = [self.network.encode(chunk).latent_dist.mode() for chunk in chunks]
        return torch.cat(means).transpose(0, 1)[None]

    def _decode(self, latents: Tensor) -> Tensor:
        chunks = latents[0].transpose(0, 1).split(CHUNK_FRAMES)
        pictures = [self.network.decode(chunk).sample for chunk in chunks]
        return torch.cat(pictures).transpose(0, 1)[None]
