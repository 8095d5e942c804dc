"""128 numbers for every 0.96 s of sound: the embedding of FAD.

Network: a VGG-like stack on log-mel patches (Hershey et al. 2017, arXiv 1609.09430), in the weights of
harritaylor/torchvggish, taken before the last ReLU as Google's own release does since July 2023. No PCA, no
quantisation. Kilgour et al. 2019 (arXiv 1812.08466) scored after that ReLU: their absolute numbers differ.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avbench.features._base import AudioFeature
from avbench.features._logmel import BANDS, FRAME, HOP, SAMPLE_RATE_HZ, log_mel
from avbench.weights import Weight

PATCH = 96
"""Spectra of one patch: 0.96 s; patches do not overlap."""

CHUNK_PATCHES = 64
"""Patches per forward pass: bounds memory at about 0.3 GB."""

WEIGHT = Weight(
    name="vggish",
    file="vggish-10086976.pth",
    urls=("https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",),
    sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
    # the size of the tensors; the file is a few kB larger
    size_bytes=288_564_736,
    licence="Apache-2.0",
    note="Google's VGGish converted by torchvggish; the file name bears the first digits of its sha256",
)


class Feature(AudioFeature):
    """VGGish embeddings: one row of 128 per whole 0.96 s window; what is left over at the end is not described.

    A window needs 15,600 samples (0.975 s), because its last spectrum reaches beyond 0.96 s.
    """

    name = "vggish"
    dim = 128
    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = FRAME + (PATCH - 1) * HOP
    weight = WEIGHT

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights."""
        return VGGish()

    def _embed(self, clips: Tensor) -> Tensor:
        inputs = torch.from_numpy(patches(clips.cpu().numpy()).astype(np.float32)).flatten(0, 1)[:, None]
        return torch.cat([self.network(chunk.to(self.device)) for chunk in inputs.split(CHUNK_PATCHES)])


def patches(sound: np.ndarray) -> np.ndarray:
    """Cut sound into log-mel patches: (B, samples) in [-1, 1] at 16 kHz -> float64 (B, windows, 96, 64)."""
    spectra = log_mel(sound)
    windows = spectra.shape[-2] // PATCH
    return spectra[..., : windows * PATCH, :].reshape(*spectra.shape[:-2], windows, PATCH, BANDS)


class VGGish(nn.Module):
    """Log-mel patches (B, 1, 96, 64) -> embeddings (B, 128), before the last ReLU.

    Submodules are called as in torchvggish: ``features.0`` to ``features.13``, ``embeddings.0`` to ``embeddings.4``.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in ((64,), (128,), (256, 256), (512, 512)):
            for wider in block:
                layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU()]
                channels = wider
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed a batch of patches."""
        # the weights come from TensorFlow, which flattens channels last
        return self.embeddings(self.features(x).permute(0, 2, 3, 1).flatten(1))
