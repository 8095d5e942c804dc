"""What the pins compute: the inputs as their sources describe them, through the public parts of avbench.

Inputs come from numpy's legacy generator, whose stream is frozen, so anyone can make them again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench import features, metrics, registry
from avbench.features import _logmel, _onsets, vggish
from avbench.features._base import Feature
from avbench.metrics._frechet import trace_sqrt_product

Array = NDArray[np.float64]

CHANCE_CLIPS = 5000
"""Clips drawn for one chance level: its standard error is about 0.002."""

FORWARD_CLIPS = 4
"""Random clips in memory at a time: 40 MB of float32."""


def seconds_of_sine(hz: float, seconds: float) -> Array:
    """A sine of full scale at 16 kHz."""
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * _logmel.SAMPLE_RATE_HZ)) / _logmel.SAMPLE_RATE_HZ)


def log_mel_figures(sound: Array) -> list[float]:
    """Patches, mean, standard deviation, least, most and the first three values of VGGish's input."""
    patches = vggish.patches(sound[None])[0]
    return [len(patches), patches.mean(), patches.std(), patches.min(), patches.max(), *patches.ravel()[:3]]


@functools.cache
def gaussians(n: int, m: int, d: int, scale: float, shift: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two float32 samples, (n, d) and (m, d), the second scaled and shifted."""
    rng = np.random.RandomState(0)
    return rng.randn(n, d).astype(np.float32), (rng.randn(m, d) * scale + shift).astype(np.float32)


@functools.cache
def uniforms() -> tuple[Array, Array]:
    """Two samples from the unit cube, (500, 64) and (400, 64), the second 5 % larger."""
    return np.random.RandomState(0).rand(500, 64), np.random.RandomState(1).rand(400, 64) * 1.05


def jedi_example() -> tuple[Array, Array]:
    """The small matrices of an example in JEDi's own file."""
    return np.arange(1.0, 10).reshape(3, 3), np.array([[7.0, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])


def trace_oracle() -> float:
    """``tr (S_a S_b)^(1/2)`` of two rank-deficient covariances that share their eigenvectors."""
    q = np.linalg.qr(np.random.RandomState(3).randn(256, 256))[0]
    spectra = [np.concatenate([10 ** np.linspace(top, top - 12, 100), np.zeros(156)]) for top in (3, 2)]
    return trace_sqrt_product(*(np.sqrt(spectrum)[:, None] * q.T for spectrum in spectra))


def onsets_of_clicks() -> list[float]:
    """Onset times of one-sample clicks at 1, 2 and 3 s, at the rate AV-align listens at."""
    rate = _onsets.ONSET_RATE_HZ
    sound = np.zeros((1, 4 * rate), np.float32)
    sound[0, rate : 4 * rate : rate] = 1
    return _onsets.onset_times(sound, rate)


def chance_level(seconds: float, peaks: float, fps: float) -> float:
    """Mean AV-align of Poisson peaks that know nothing of each other, ``peaks`` a side on average.

    Peaks of the picture fall on frames, and two on one frame are one.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(CHANCE_CLIPS):
        sound = np.sort(rng.uniform(0, seconds, rng.poisson(peaks)))
        picture = np.unique(np.floor(rng.uniform(0, seconds, rng.poisson(peaks)) * fps)) / fps
        found.append(metrics.av_align_score(sound.tolist(), picture.tolist(), fps))
    return float(np.nanmean(found))


@functools.cache
def seeded_i3d() -> Feature:
    """I3D with weights drawn in order of their sorted names: its numbers show the architecture without a download."""
    with torch.device("meta"):
        wanted = registry.module("feature", "i3d").Feature.architecture().state_dict()
    rng, state = np.random.RandomState(0), {}
    for key in sorted(wanted):
        state[key] = _seeded_tensor(key, wanted[key], rng)
    return features.load("i3d", weights=state)


def _seeded_tensor(key: str, like: Tensor, rng: np.random.RandomState) -> Tensor:
    shape = tuple(like.shape)
    if "conv3d" not in key:
        return torch.full(shape, float(key.endswith(("bn.weight", "running_var"))), dtype=like.dtype)
    scale = 0.1 if key.endswith("bias") else np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy((rng.standard_normal(shape) * scale).astype(np.float32))


def seeded_logits(frames: int) -> list[float]:
    """First four logits of the first clip; mean and standard deviation of both clips."""
    pictures = (np.random.RandomState(1).rand(2, 3, frames, 224, 224) * 2 - 1).astype(np.float32)
    logits = run(seeded_i3d(), pictures)
    return [*logits[0, :4], logits.mean(), logits.std(ddof=1)]


def seeded_pool(frames: int) -> float:
    """Mean of the 1024 pooled features from which the logits are made, over two clips."""
    found = []
    hook = seeded_i3d().get_submodule("network.pool").register_forward_hook(lambda *call: found.append(call[2].mean()))
    try:
        seeded_logits(frames)
    finally:
        hook.remove()
    return float(found[0])


def run(network: Feature, inputs: NDArray[np.float32]) -> Array:
    """What a network makes of its own input."""
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(np.ascontiguousarray(inputs)).to(network.device)).cpu(), np.float64)


@functools.cache
def published(name: str, **options: str) -> Feature:
    """A feature with its published weights.

    Raises:
        WeightsMissing: They are not on this machine.
    """
    return features.load(name, **options)


def fvd_of_noise() -> float:
    """FVD of 128 against 128 clips of uniform noise, 16 frames of 224 x 224, taken as [0, 1] without rescaling."""
    network = published("i3d")
    one, two = (np.concatenate([run(network, clips) for clips in noise_clips(seed, 128)]) for seed in (1, 2))
    return metrics.frechet_distance(one, two)


def noise_clips(seed: int, count: int) -> Iterator[NDArray[np.float32]]:
    """The clips a few at a time, (4, 3, 16, 224, 224): drawn in parts, the stream is the same."""
    rng = np.random.RandomState(seed)
    for _ in range(0, count, FORWARD_CLIPS):
        yield rng.rand(FORWARD_CLIPS, 16, 224, 224, 3).astype(np.float32).transpose(0, 4, 1, 2, 3)


def fvd_black_white(frames: int) -> float:
    """FVD of black against white clips of 64 x 64. Clips of a side are equal: two of each stand for any number."""
    network = published("i3d")
    black, white = (network.embed(np.full((2, frames, 64, 64, 3), level, np.uint8)).values for level in (0, 255))
    return metrics.frechet_distance(black, white)


def vggish_of_sine() -> Array:
    """Embedding of a sine of 1 kHz, 3 s, as the smoke test of the network makes it."""
    return np.asarray(published("vggish").embed(seconds_of_sine(1000, 3)[None].astype(np.float32)).values, np.float64)


def fad_of_sines(noise: float, **options: str) -> float:
    """FAD of 5 sines with a little noise against 10 clean ones, 100 to 1000 Hz, 6 s, stored as 16-bit samples."""
    rng = np.random.RandomState(0)
    feature = published("vggish", **options)
    noisy, clean = (
        feature.embed(sines(count, level, rng).astype(np.float32)).values for count, level in ((5, noise), (10, 0.0))
    )
    return metrics.frechet_distance(noisy, clean)


def sines(count: int, noise: float, rng: np.random.RandomState) -> Array:
    """Sines at ``count`` frequencies, (count, 96000); full scale becomes the largest 16-bit sample."""
    t = np.linspace(0, 6, 6 * _logmel.SAMPLE_RATE_HZ)
    tones = [np.sin(2 * np.pi * hz * t) for hz in np.linspace(100, 1000, count)]
    loud = np.stack([tone + noise * np.abs(tone).max() * rng.standard_normal(len(t)) for tone in tones])
    # noise on a full-scale crest overflows: the published test files wrap around there, and these numbers are theirs
    return (loud * 2**15).astype(np.int64).astype(np.int16) / 2**15
