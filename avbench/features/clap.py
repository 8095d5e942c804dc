"""512 numbers for every 10 s of sound: the embedding of CLAP, a network trained on sound and words.

Network: the audio tower of LAION's CLAP (Wu et al. 2023, arXiv 2211.06687) with an HTS-AT, the file of
``laion/clap-htsat-unfused``, computed by the classes of transformers and brought to length 1, as JavisBench takes it.
A clip shorter than 10 s is repeated as often as it fits whole, with silence behind; of a longer one the library would
take 10 s at random: here every 10 s give a row, and what is left over at the end is not described.

transformers is not among the dependencies of avbench: `pip install 'avbench[clap]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import EnvironmentFault
from avbench.features._base import AudioFeature, WeightSource
from avbench.weights import Weight

if TYPE_CHECKING:
    from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

# transformers is imported where it is used: it may be absent, and takes seconds

PIECE = 480_000
"""Samples of a row: 10 s."""

CHUNK_PIECES = 8
"""Pieces per forward pass: bounds memory at about 0.6 GB."""

OTHER_TOWER = ("text_model.", "text_projection.", "logit_scale_")
INDEX = "relative_position_index"

WEIGHT = Weight(
    name="clap",
    file="clap-htsat-unfused.bin",
    urls=(
        "https://huggingface.co/laion/clap-htsat-unfused/resolve/"
        "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a/pytorch_model.bin",
    ),
    sha256=None,
    size_bytes=615_000_000,
    licence="Apache-2.0",
    note="LAION's CLAP with HTS-AT; only the audio tower is used; size as the hub rounds it",
)


class Feature(AudioFeature):
    """CLAP embeddings of sound: one row of 512 and length 1 per 10 s, or per clip where it is shorter.

    Called as a module it takes what the library's feature extractor gives: (B, 1, 1001, 64).
    """

    name = "clap"
    dim = 512
    sample_rate_hz = 48_000
    min_samples = 4_800
    weight = WEIGHT
    network: ClapAudioModelWithProjection

    def __init__(self, weights: WeightSource = None, device: str | torch.device = "cpu") -> None:
        super().__init__(weights, device)
        self._extractor: ClapFeatureExtractor = _library().ClapFeatureExtractor(truncation="rand_trunc")

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights."""
        library = _library()
        # not on the meta device: its tables of places are in no need of weights, and are made here
        with torch.device("cpu"):
            network: nn.Module = library.ClapAudioModelWithProjection(library.ClapAudioConfig())
        for module in network.modules():
            if INDEX in module._buffers:
                module.register_buffer(INDEX, module.get_buffer(INDEX), persistent=False)
        return network

    @staticmethod
    def select(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The audio tower's tensors out of the whole CLAP's."""
        needless = {name for name in tensors if name.startswith(OTHER_TOWER) or name.endswith(INDEX)}
        return {name: value for name, value in tensors.items() if name not in needless}

    def forward(self, x: Tensor) -> Tensor:
        """Embed log-mel spectrograms: float (B, 1, 1001, 64) -> (B, 512), each row of length 1."""
        return F.normalize(self.network(input_features=x).audio_embeds, dim=-1)

    def _embed(self, clips: Tensor) -> Tensor:
        sounds = clips.to("cpu", torch.float32).numpy()
        pieces = [sounds] if sounds.shape[1] < PIECE else np.split(sounds, range(PIECE, sounds.shape[1], PIECE), axis=1)
        whole = [piece for piece in pieces if piece.shape[1] in (PIECE, sounds.shape[1])]
        flat = [piece[clip] for clip in range(len(sounds)) for piece in whole]
        seen = self._extractor(flat, sampling_rate=self.sample_rate_hz, return_tensors="pt")["input_features"]
        return torch.cat([self(chunk.to(self.device)) for chunk in seen.split(CHUNK_PIECES)])


def _library() -> Any:
    """transformers, where it is installed.

    Raises:
        EnvironmentFault: It is not.
    """
    try:
        import transformers
    except ImportError as error:
        raise EnvironmentFault(
            "feature clap is computed by the library transformers, which is not installed; "
            "install it with `pip install 'avbench[clap]'`"
        ) from error
    return transformers
