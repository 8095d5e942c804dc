"""VGGish: the front end to the digits of the reference, the published architecture, and whole windows only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from avbench import features
from avbench.errors import MediaError, WeightsMissing
from avbench.features import _logmel, vggish
from avbench.features._base import Feature

Seeded = Callable[[str], Feature]


def sine(hertz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)


@pytest.mark.parametrize(
    ("sound", "windows", "mean", "std", "first"),
    [
        (sine(1000, 3), 3, -3.429618696, 2.126577336, [-4.483133, -4.270834, -4.170643]),
        (np.zeros(48_000), 3, -4.605170186, 0.0, [-4.605170] * 3),
        (np.random.RandomState(0).uniform(-1, 1, 48_000), 3, 2.838894427, 0.801534786, [1.652040, 1.451129, 1.758285]),
        (sine(440, 1.6), 1, -3.276123394, 2.333337493, None),
    ],
    ids=["1 kHz", "silence", "noise", "440 Hz"],
)
def test_log_mel_patches_agree_with_the_reference(
    sound: np.ndarray, windows: int, mean: float, std: float, first: list[float] | None
) -> None:
    """Numbers of torchvggish's mel_features.py in float64."""
    patches = vggish.patches(sound[None])[0]
    assert patches.shape == (windows, 96, 64)
    assert patches.mean() == pytest.approx(mean, abs=1e-9)
    assert patches.std() == pytest.approx(std, abs=1e-9)
    if first is not None:
        np.testing.assert_allclose(patches.ravel()[:3], first, rtol=0, atol=1.1e-6)


def test_log_mel_extremes_of_a_sine() -> None:
    patches = vggish.patches(sine(1000, 3)[None])
    assert patches.min() == pytest.approx(-4.601163, abs=1e-6)
    assert patches.max() == pytest.approx(4.811118, abs=1e-6)


def test_mel_triangles_peak_where_the_bands_are_centred() -> None:
    matrix = _logmel.mel_matrix()
    assert matrix.shape == (257, 64)
    assert matrix[0].sum() == 0
    assert (matrix >= 0).all()
    assert matrix.max() <= 1
    # between the first and the last centre a bin shares its whole weight between two neighbouring bands
    centres = np.linspace(_logmel.hertz_to_mel(125.0), _logmel.hertz_to_mel(7500.0), 66)[1:-1]
    bins = _logmel.hertz_to_mel(np.arange(257) * 31.25)
    inside = (bins >= centres[0]) & (bins <= centres[-1])
    np.testing.assert_allclose(matrix[inside].sum(axis=1), 1)
    assert matrix[bins >= _logmel.hertz_to_mel(7500.0)].sum() == 0


@pytest.mark.slow
def test_embeddings_agree_with_the_reference(seeded: Seeded, seeded_state: Callable, golden: Callable) -> None:
    outputs, shapes = golden("vggish")
    assert {key: tuple(value.shape) for key, value in seeded_state("vggish").items()} == shapes
    rng = np.random.Generator(np.random.PCG64(7))
    x = torch.from_numpy((rng.standard_normal((3, 1, 96, 64)) - 3).astype(np.float32))
    with torch.inference_mode():
        embedding = seeded("vggish").network(x).numpy()
    assert np.abs(embedding - outputs["embedding"]).max() < 1e-4 * outputs["embedding"].std()
    assert (embedding < 0).any(), "the last ReLU is left out"


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "windows"), [(15_600, 1), (25_600, 1), (30_959, 1), (30_960, 2), (48_000, 3)])
def test_only_whole_windows_count(samples: int, windows: int, seeded: Seeded) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, samples)).astype(np.float32)
    values, owner = seeded("vggish").embed(sound)
    assert values.shape == (2 * windows, 128)
    np.testing.assert_array_equal(owner, np.repeat([0, 1], windows))


@pytest.mark.slow
def test_one_sample_less_than_a_window_is_refused_not_padded(seeded: Seeded) -> None:
    with pytest.raises(MediaError, match=r"15599 samples is too short, it needs 15600 \(0.975 s at 16000 Hz\)"):
        seeded("vggish").embed(np.zeros((1, 15_599), np.float32))


@pytest.mark.slow
def test_rows_are_the_windows_in_order(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window alone gives its row, also when a forward pass takes fewer windows than a clip has."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 48_000)).astype(np.float32)
    whole = seeded("vggish").embed(sound).values
    monkeypatch.setattr(vggish, "CHUNK_PATCHES", 2)
    for row, (clip, window) in enumerate((c, w) for c in range(2) for w in range(3)):
        piece = sound[clip : clip + 1, window * 15_360 : window * 15_360 + 15_600]
        alone = seeded("vggish").embed(piece).values
        np.testing.assert_allclose(alone[0], whole[row], rtol=0, atol=1e-5 * whole.std())
    np.testing.assert_allclose(seeded("vggish").embed(sound).values, whole, rtol=0, atol=1e-5 * whole.std())


@pytest.mark.weights
@pytest.mark.slow
def test_a_sine_gives_the_published_statistics() -> None:
    """vggish_smoke_test.py of tensorflow/models since July 2023: 1 kHz for 3 s, tolerance 10 % as there."""
    try:
        feature = features.load("vggish")
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    values = feature.embed(sine(1000, 3)[None].astype(np.float32)).values
    assert values.mean() == pytest.approx(0.000657, rel=0.1)
    assert values.std() == pytest.approx(0.343, rel=0.1)
