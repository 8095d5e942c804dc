"""EnCodec at 24 kHz before its quantiser: 320 samples to 128 numbers, 75 times a second.

Network: transformers' ``EncodecModel`` (Defossez et al., arXiv 2210.13438). Encoder and decoder are used, the codebooks
between them are not: the latents are continuous.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from avbench.codecs._base import AudioCodec, Origin
from avbench.codecs._library import load, transformers
from avbench.errors import UserError
from avbench.hub_weights import HubModel

MODELS = {
    "encodec": HubModel(
        repo="facebook/encodec_24khz",
        revision="c1dbe2ae3f1de713481a3b3e7c47f357092ee040",
        licence="MIT (of its code; the model's page states none)",
        non_commercial=False,
        patterns=("config.json", "model.safetensors"),
    )
}
SUBFOLDER = ""


class Codec(AudioCodec):
    """A codec of mono sound."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(load(transformers().EncodecModel, folder), origin)
        config = self.network.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise UserError(
                f"{folder}: an EnCodec of {config.audio_channels} channels that works in normalised pieces, which "
                "latents cannot hold; take the mono model of 24 kHz"
            )
        self.channels, self.hop, self.sample_rate_hz = config.hidden_size, config.hop_length, config.sampling_rate

    def _encode(self, clip: Tensor) -> Tensor:
        latents: Tensor = self.network.encoder(clip)
        return latents

    def _decode(self, latents: Tensor) -> Tensor:
        sound: Tensor = self.network.decoder(latents)
        return sound
