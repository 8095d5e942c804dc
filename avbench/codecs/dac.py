"""The Descript Audio Codec before its quantiser: 320 or 512 samples to 1024 numbers.

Network: transformers' ``DacModel`` (Kumar et al., arXiv 2306.06546). Encoder and decoder are used, the codebooks
between them are not: the latents are continuous, and many more numbers than the 72 its codes stand for.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avbench.codecs._base import AudioCodec, Origin
from avbench.codecs._library import load, transformers
from avbench.hub_weights import HubModel


def _model(repo: str, commit: str) -> HubModel:
    return HubModel(repo, commit, "MIT", non_commercial=False, patterns=("config.json", "model.safetensors"))


MODELS = {
    "dac": _model("descript/dac_16khz", "7c2fc5e759f1f501aefc6e7a0265cc57f5d17ba7"),
    "dac-24khz": _model("descript/dac_24khz", "6ba020b5ba7d9d8076fb90db7e67f27e31980f6e"),
    "dac-44khz": _model("descript/dac_44khz", "c1bc521685adf9cfe247bc39a5ca58917eda1ac4"),
}
SUBFOLDER = ""


class Codec(AudioCodec):
    """A codec of mono sound."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(load(transformers().DacModel, folder), origin)
        config = self.network.config
        self.channels, self.hop, self.sample_rate_hz = config.hidden_size, config.hop_length, config.sampling_rate

    def _encode(self, clip: Tensor) -> Tensor:
        latents: Tensor = self.network.encoder(clip)
        return latents

    def _decode(self, latents: Tensor) -> Tensor:
        sound: Tensor = self.network.decoder(latents)
        return sound
