"""What public implementations of VGGish-FAD do before and after the network, where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avbench.features._logmel import BANDS, FRAME, HOP, log_mel

PATCH = 96
"""Spectra of one patch: 0.96 s."""

WHOLE = FRAME + (PATCH - 1) * HOP
"""Samples that fill a patch: 15,600 (0.975 s), because its last spectrum reaches beyond 0.96 s."""

INT16 = 32768


@dataclass(frozen=True)
class Variant:
    """From a clip's sound, mono at 16 kHz in [-1, 1], to patches and rows.

    Attributes:
        step_samples: From one window to the next.
        window_samples: Samples there must be for a window; the patch is its first 15,600.
        pad_to_samples: Shorter clips are filled up with silence behind; 0 refuses them.
        sixteen_bit: Round the sound to 16 bit, as a wav file between two stages does.
        by_peak: Divide a clip by its highest sample (not the highest magnitude), counted in 16-bit steps and 0.1 at
            least: silence stays silence, everything else is brought to full scale.
        centred: Subtract the clip's mean.
        activation: ``relu`` where rows are taken behind the last ReLU.
        half: Round rows to float16.
        resampler: How sound of another rate is brought to 16 kHz.
    """

    step_samples: int = PATCH * HOP
    window_samples: int = WHOLE
    pad_to_samples: int = 0
    sixteen_bit: bool = False
    by_peak: bool = False
    centred: bool = False
    activation: Literal["none", "relu"] = "none"
    half: bool = False
    resampler: Literal["kaiser_best", "sinc_hann"] = "kaiser_best"

    @property
    def min_samples(self) -> int:
        """Fewest samples a clip may have."""
        return 1 if self.pad_to_samples else self.window_samples


VARIANTS = {
    "torchvggish": Variant(),
    "google": Variant(step_samples=8000, window_samples=16_000, sixteen_bit=True, by_peak=True, activation="relu"),
    "gudgud96": Variant(),
    "fadtk": Variant(pad_to_samples=16_000, sixteen_bit=True, half=True),
    "av-benchmark": Variant(centred=True, resampler="sinc_hann"),
}


def patches(sound: NDArray[np.floating], variant: Variant = VARIANTS["torchvggish"]) -> NDArray[np.float64]:
    """Cut sound into log-mel patches: (B, samples) in [-1, 1] at 16 kHz -> float64 (B, windows, 96, 64)."""
    spectra = log_mel(_prepared(np.asarray(sound, dtype=np.float64), variant))
    samples = max(sound.shape[-1], variant.pad_to_samples)
    starts = range(0, samples - variant.window_samples + 1, variant.step_samples)
    found = [spectra[..., start // HOP : start // HOP + PATCH, :] for start in starts]
    return np.stack(found, axis=-3) if found else np.zeros((*sound.shape[:-1], 0, PATCH, BANDS))


def _prepared(sound: NDArray[np.float64], variant: Variant) -> NDArray[np.float64]:
    if variant.centred:
        sound = sound - sound.mean(axis=-1, keepdims=True)
    if variant.sixteen_bit:
        sound = np.clip(np.rint(sound * INT16), -INT16, INT16 - 1) / INT16
    if variant.by_peak:
        sound = sound / np.maximum(0.1 / INT16, sound.max(axis=-1, keepdims=True))
    missing = variant.pad_to_samples - sound.shape[-1]
    return np.pad(sound, [(0, 0)] * (sound.ndim - 1) + [(0, missing)]) if missing > 0 else sound
