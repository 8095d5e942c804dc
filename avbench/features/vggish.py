"""128 numbers for every 0.96 s of sound: the embedding of FAD.

Network: a VGG-like stack on log-mel patches (Hershey et al. 2017, arXiv 1609.09430), in the weights of
harritaylor/torchvggish. Those who published FADs put different things before and behind it; a variant is one of them:

| variant        | windows                     | sound before the network             | rows                       |
|----------------|-----------------------------|--------------------------------------|----------------------------|
| `torchvggish`  | 0.96 s, one after another   | as it is                             | before the last ReLU       |
| `google`       | 1 s, a new one every 0.5 s  | 16 bit, then divided by its peak     | behind the last ReLU       |
| `gudgud96`     | as torchvggish              | as torchvggish                       | as torchvggish             |
| `fadtk`        | as torchvggish; what is     | 16 bit                               | as torchvggish, rounded to |
|                | shorter than 1 s is filled  |                                      | float16                    |
|                | with silence                |                                      |                            |
| `av-benchmark` | as torchvggish              | torchaudio's default resampler; mean | as torchvggish             |
|                |                             | subtracted                           |                            |

Sources: google-research/google-research ``frechet_audio_distance`` (Kilgour et al. 2019, arXiv 1812.08466; behind the
ReLU is what Google's network gave until July 2023), gudgud96/frechet-audio-distance 0.3.5 (with its defaults),
microsoft/fadtk ec74b1f, hkchengrex/av-benchmark 050a5cd. All but av-benchmark resample with resampy's ``kaiser_best``,
here through torchaudio. ``activation`` and ``pca`` override what a variant does.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from avbench.errors import UserError
from avbench.features._base import AudioFeature, WeightSource, read_weights
from avbench.features._logmel import SAMPLE_RATE_HZ
from avbench.features._vggish_variants import VARIANTS, WHOLE, patches
from avbench.weights import Weight

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

PCA_WEIGHT = Weight(
    name="vggish-pca",
    file="vggish_pca_params.npz",
    urls=("https://storage.googleapis.com/audioset/vggish_pca_params.npz",),
    sha256=None,
    size_bytes=73_020,
    licence="Apache-2.0",
    note="the whitening of AudioSet's released embeddings; only the option pca needs it",
)

MORE_WEIGHTS = (PCA_WEIGHT,)

ACTIVATIONS = ("none", "relu")
PCAS = ("none", "round", "truncate")


class Feature(AudioFeature):
    """VGGish embeddings: one row of 128 per whole window of 0.96 s; what is left over at the end is not described.

    A window needs 15,600 samples (0.975 s), because its last spectrum reaches beyond 0.96 s. Called as a module it
    takes log-mel patches (B, 1, 96, 64).

    Args:
        weights: None for the published weights; or a file; or a state dict.
        device: Where the network runs.
        variant: Whose windows, preparation and rows; see the table above. Scores of two variants do not compare.
        activation: ``none`` takes rows before the last ReLU, ``relu`` behind it; None leaves it to the variant.
        pca: ``none``; or AudioSet's whitening, clipped to [-2, 2] and quantised to 0..255: ``round`` to the nearest
            step as torchvggish does, ``truncate`` as Google does.
        pca_weights: None for the published whitening; or a file; or a table with ``pca_eigen_vectors`` and
            ``pca_means``.
    """

    name = "vggish"
    dim = 128
    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = WHOLE
    weight = WEIGHT
    pca_matrix: Tensor
    pca_means: Tensor

    def __init__(
        self,
        weights: WeightSource = None,
        device: str | torch.device = "cpu",
        variant: Literal["torchvggish", "google", "gudgud96", "fadtk", "av-benchmark"] = "torchvggish",
        activation: Literal["none", "relu"] | None = None,
        pca: Literal["none", "round", "truncate"] = "none",
        pca_weights: WeightSource = None,
    ) -> None:
        if variant not in VARIANTS:
            raise UserError(f"feature vggish: variant is one of {', '.join(VARIANTS)}, not {variant!r}")
        if activation not in (None, *ACTIVATIONS):
            raise UserError(f"feature vggish: activation is none or relu, not {activation!r}")
        if pca not in PCAS:
            raise UserError(f"feature vggish: pca is none, round or truncate, not {pca!r}")
        super().__init__(weights, device)
        self.variant = VARIANTS[variant]
        self.activation = activation or self.variant.activation
        self.pca = pca
        self.min_samples = self.variant.min_samples
        self.resampler = self.variant.resampler
        self.settings |= {"variant": variant, "activation": self.activation, "pca": pca}
        if pca != "none":
            self._load_pca(pca_weights)
        elif pca_weights is not None:
            raise UserError("feature vggish: weights of the whitening were given, but pca is none")

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights."""
        return VGGish()

    def forward(self, x: Tensor) -> Tensor:
        """Rows of log-mel patches: float (B, 1, 96, 64) -> float32 (B, 128), activation and whitening included."""
        rows: Tensor = self.network(x)
        if self.activation == "relu":
            rows = rows.relu()
        if self.pca != "none":
            whitened = ((rows - self.pca_means) @ self.pca_matrix.T).clamp(-2, 2)
            steps = (whitened + 2) * (255 / 4)
            rows = steps.round() if self.pca == "round" else steps.floor()
        return rows

    def _embed(self, clips: Tensor) -> Tensor:
        inputs = torch.from_numpy(patches(clips.cpu().numpy(), self.variant).astype(np.float32))
        chunks = inputs.flatten(0, 1)[:, None].split(CHUNK_PATCHES)
        rows = torch.cat([self(chunk.to(self.device)) for chunk in chunks])
        return rows.half().float() if self.variant.half else rows

    def _load_pca(self, source: WeightSource) -> None:
        tensors, sha256, published = read_weights(PCA_WEIGHT, source)
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        wanted = {"pca_eigen_vectors": (self.dim, self.dim), "pca_means": (self.dim,)}
        if {name: shape[:1] if name == "pca_means" else shape for name, shape in found.items()} != wanted:
            raise UserError(f"these are not the weights vggish-pca: they hold {found}, not {wanted}")
        self.register_buffer("pca_matrix", tensors["pca_eigen_vectors"].float().to(self.device))
        self.register_buffer("pca_means", tensors["pca_means"].float().reshape(-1).to(self.device))
        self.settings["pca_sha256"] = sha256
        self.published = self.published and published


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
