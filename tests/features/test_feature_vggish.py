"""VGGish: the front end to the digits of the reference, the published architecture, and whole windows only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio

from avbench import features
from avbench.errors import MediaError, UserError, WeightsMissing
from avbench.features import _logmel, vggish
from avbench.features._base import Feature
from avbench.features._clips import to_rate
from avbench.features._vggish_variants import VARIANTS, patches

Seeded = Callable[[str], Feature]

GOLDEN: list[tuple[str, dict[str, object], int, tuple[tuple[int, ...], list[float]]]] = [
    (
        "torchvggish",
        {},
        41_600,
        ((2, 128), [-0.532568, 4.85228, -2.14446, -5.93026, 2.08869, -1.75372, 1.3935, 1.64023]),
    ),
    (
        "gudgud96",
        {"variant": "gudgud96"},
        41_600,
        ((2, 128), [-0.532568, 4.85228, -2.14446, -5.93026, 2.08869, -1.75372, 1.3935, 1.64023]),
    ),
    (
        "gudgud96 relu",
        {"variant": "gudgud96", "activation": "relu"},
        41_600,
        ((2, 128), [1.70652, 2.53679, 0.0, 0.0, 2.08869, 0.0, 1.3935, 1.64023]),
    ),
    ("torchvggish pca", {"pca": "round"}, 41_600, ((2, 128), [121.988, 35.6386, 55.0, 89.0, 133.0, 49.0, 69.0, 88.0])),
    ("google", {"variant": "google"}, 41_600, ((4, 128), [1.34713, 2.21376, 0.0, 0.0, 0.0, 0.0, 1.5427, 0.544025])),
    (
        "fadtk",
        {"variant": "fadtk"},
        41_600,
        ((2, 128), [-0.532655, 4.85232, -2.14453, -5.92969, 2.08789, -1.75391, 1.39355, 1.64062]),
    ),
    (
        "fadtk short",
        {"variant": "fadtk"},
        9_000,
        ((1, 128), [-0.77826, 6.39976, -1.03613, -7.98828, 3.92969, -1.03613, 1.1582, 2.20508]),
    ),
    (
        "av-benchmark",
        {"variant": "av-benchmark"},
        41_600,
        ((2, 128), [-0.531937, 4.85209, -2.19281, -5.9369, 2.08845, -1.76469, 1.43976, 1.62528]),
    ),
]
"""Name, options, samples of the sound, fingerprint; printed by make_golden_vggish.py."""


def golden_sound() -> np.ndarray:
    """2.6 s of two tones and noise, quiet and off centre, 41,600 samples: float32, already on the steps of 16 bit."""
    time_s = np.arange(41_600) / 16_000
    tones = 0.03 * np.sin(2 * np.pi * 440 * time_s) * (time_s > 0.7) + 0.02 * np.sin(2 * np.pi * 1700 * time_s**2)
    noise = 0.004 * np.random.Generator(np.random.PCG64(11)).standard_normal(len(time_s))
    return (np.rint((tones + noise + 0.01) * 32768) / 32768).astype(np.float32)


def golden_whitening() -> tuple[np.ndarray, np.ndarray]:
    """Made-up parameters in place of AudioSet's: a matrix (128, 128) and means (128,)."""
    rng = np.random.Generator(np.random.PCG64(12))
    return (rng.standard_normal((128, 128)) * 0.01).astype(np.float32), rng.standard_normal(128).astype(np.float32)


def fingerprint(rows: np.ndarray) -> tuple[tuple[int, ...], list[float]]:
    """Shape, and enough of the rows to tell any two apart: mean, deviation, and some entries of first and last row."""
    rows = rows.reshape(-1, 128).astype(np.float64)
    picked = [rows.mean(), rows.std(), *rows[0, :3], *rows[-1, [0, 64, 127]]]
    return rows.shape, [float(f"{value:.6g}") for value in picked]


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
    found = patches(sound[None])[0]
    assert found.shape == (windows, 96, 64)
    assert found.mean() == pytest.approx(mean, abs=1e-9)
    assert found.std() == pytest.approx(std, abs=1e-9)
    if first is not None:
        np.testing.assert_allclose(found.ravel()[:3], first, rtol=0, atol=1.1e-6)


def test_log_mel_extremes_of_a_sine() -> None:
    found = patches(sine(1000, 3)[None])
    assert found.min() == pytest.approx(-4.601163, abs=1e-6)
    assert found.max() == pytest.approx(4.811118, abs=1e-6)


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
        embedding = seeded("vggish")(x).numpy()
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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "samples", "expected"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_variants_give_the_rows_of_the_code_they_are_named_after(
    name: str,
    options: dict[str, object],
    samples: int,
    expected: tuple[tuple[int, ...], list[float]],
    variant: Callable[..., Feature],
) -> None:
    values, owner = variant(**options).embed(golden_sound()[None, :samples])
    shape, numbers = fingerprint(values)
    assert shape == expected[0]
    assert len(owner) == shape[0]
    # the whitening ends in whole steps of 0..255; float16 has steps of its own
    tolerance = 1.01 if "pca" in options else 4e-3 if "fadtk" in name else 5e-5
    np.testing.assert_allclose(numbers[2:], expected[1][2:], rtol=0, atol=tolerance)
    np.testing.assert_allclose(numbers[:2], expected[1][:2], rtol=2e-4)


@pytest.fixture(scope="module")
def variant(seeded_state: Callable) -> Callable[..., Feature]:
    """The feature with options, and the made-up whitening where one is asked for."""
    matrix, means = golden_whitening()
    whitening = {"pca_eigen_vectors": torch.from_numpy(matrix), "pca_means": torch.from_numpy(means)}

    def load(**options: object) -> Feature:
        more = {"pca_weights": whitening} if "pca" in options else {}
        return features.load("vggish", seeded_state("vggish"), **options, **more)

    return load


@pytest.mark.slow
def test_google_takes_every_clip_to_its_own_peak(variant: Callable[..., Feature]) -> None:
    """The peak is the highest sample, not the highest magnitude; silence stays silence."""
    google = variant(variant="google")
    sound = golden_sound()[None]
    doubled = google.embed(sound * 2).values
    np.testing.assert_allclose(doubled, google.embed(sound).values, rtol=0, atol=1e-4 * doubled.std())
    turned = google.embed(-sound * 2).values
    assert np.abs(turned - doubled).max() > 1e-2 * doubled.std()
    silent = patches(np.zeros((1, 16_000)), VARIANTS["google"])
    np.testing.assert_allclose(silent, np.log(0.01))


@pytest.mark.parametrize(
    ("name", "samples", "windows"),
    [
        ("google", 15_999, 0),
        ("google", 16_000, 1),
        ("google", 23_999, 1),
        ("google", 24_000, 2),
        ("torchvggish", 15_599, 0),
        ("gudgud96", 30_960, 2),
        ("fadtk", 1, 1),
        ("fadtk", 30_959, 1),
        ("fadtk", 30_960, 2),
        ("av-benchmark", 128_000, 8),
    ],
)
def test_each_variant_counts_its_windows(name: str, samples: int, windows: int) -> None:
    assert patches(np.zeros((2, samples)), VARIANTS[name]).shape == (2, windows, 96, 64)
    assert (samples < VARIANTS[name].min_samples) is (windows == 0)


@pytest.mark.slow
def test_what_is_too_short_depends_on_the_variant(variant: Callable[..., Feature]) -> None:
    with pytest.raises(MediaError, match=r"15999 samples is too short, it needs 16000 \(1 s at 16000 Hz\)"):
        variant(variant="google").embed(np.zeros((1, 15_999), np.float32))
    assert len(variant(variant="fadtk").embed(np.zeros((1, 160), np.float32)).values) == 1


@pytest.mark.slow
def test_options_are_settings_and_unknown_ones_are_refused(
    variant: Callable[..., Feature], seeded_state: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert variant().settings == {"variant": "torchvggish", "activation": "none", "pca": "none"}
    assert variant(variant="google").settings["activation"] == "relu"
    assert variant(variant="google", activation="none").settings["activation"] == "none"
    assert len(str(variant(pca="round").settings["pca_sha256"])) == 64
    for option, message in (
        ({"variant": "googel"}, "variant is one of torchvggish, google, .* not 'googel'"),
        ({"activation": "gelu"}, "activation is none or relu, not 'gelu'"),
        ({"pca": "yes"}, "pca is none, round or truncate, not 'yes'"),
        ({"pca_weights": {}}, "were given, but pca is none"),
    ):
        with pytest.raises(UserError, match=message):
            features.load("vggish", seeded_state("vggish"), **option)
    with pytest.raises(UserError, match="not the weights vggish-pca"):
        features.load("vggish", seeded_state("vggish"), pca="round", pca_weights={"pca_means": torch.zeros(128)})
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="avbench weights fetch vggish-pca"):
        features.load("vggish", seeded_state("vggish"), pca="round")
    assert features.published_weights()["vggish-pca"] is vggish.PCA_WEIGHT


@pytest.mark.slow
def test_the_whitening_is_read_from_googles_file(
    variant: Callable[..., Feature], seeded_state: Callable, tmp_path: Path
) -> None:
    matrix, means = golden_whitening()
    np.savez(tmp_path / "pca.npz", pca_eigen_vectors=matrix, pca_means=means)
    read = features.load("vggish", seeded_state("vggish"), pca="round", pca_weights=tmp_path / "pca.npz")
    sound = golden_sound()[None]
    rounded = read.embed(sound).values
    np.testing.assert_array_equal(rounded, variant(pca="round").embed(sound).values)
    truncated = variant(pca="truncate").embed(sound).values
    assert set(np.unique(rounded - truncated)) == {0, 1}


def test_av_benchmark_resamples_as_torchaudio_does_by_default() -> None:
    noise = np.random.default_rng(0).standard_normal(4410).astype(np.float32)
    expected = torchaudio.transforms.Resample(44_100, 16_000)(torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(to_rate(noise, 44_100, 16_000, "sinc_hann"), expected, rtol=0, atol=3e-5)
    assert np.abs(to_rate(noise, 44_100, 16_000) - expected).max() > 1e-3
