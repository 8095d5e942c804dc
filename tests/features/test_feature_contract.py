"""What every feature must do; a new file in avbench/features is picked up without a word here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avbench import features, registry
from avbench.errors import MediaError, UserError, WeightsMissing
from avbench.features._base import Embedding, Feature

NAMES = registry.names("feature")
WITH_WEIGHTS = [name for name in NAMES if registry.module("feature", name).WEIGHT is not None]
WITHOUT_WEIGHTS = [name for name in NAMES if name not in WITH_WEIGHTS]
RUNNING = [pytest.param(name, marks=[pytest.mark.slow] if name in WITH_WEIGHTS else []) for name in NAMES]
"""Every feature, for tests that run it: a network takes seconds to fill and to run."""
HEARING = [p for p in RUNNING if registry.module("feature", str(p.values[0])).Feature.modality == "audio"]

Seeded = Callable[[str], Feature]


def clips(feature: Feature, count: int, length: int | None = None) -> np.ndarray:
    """Smoothly moving texture, or a few tones: every clip different, ``length`` frames or samples each."""
    rng = np.random.default_rng(7)
    if feature.modality == "video":
        length = (feature.min_frames or 1) if length is None else length
        canvas = rng.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8).repeat(6, axis=1).repeat(6, axis=2)
        shifts = [[np.roll(clip, t * (k + 1), axis=1) for t in range(max(length, 1))] for k, clip in enumerate(canvas)]
        return np.asarray(shifts)[:, :length, :48, :64]
    length = length or (feature.min_samples or 0) + 3200
    time_s = np.arange(length) / (feature.sample_rate_hz or 1)
    tones = [np.sin(2 * np.pi * 300 * (k + 1) * time_s) * (1 + np.sin(9 * time_s * k)) / 2 for k in range(count)]
    return (np.asarray(tones) + 0.01 * rng.standard_normal((count, length))).astype(np.float32)


@pytest.fixture(scope="module")
def embedded(seeded: Seeded) -> Callable[[str], tuple[np.ndarray, Embedding]]:
    """Two clips and their embedding, computed once per feature."""
    done: dict[str, tuple[np.ndarray, Embedding]] = {}

    def get(name: str) -> tuple[np.ndarray, Embedding]:
        if name not in done:
            batch = clips(seeded(name), 2)
            done[name] = batch, seeded(name).embed(batch)
        return done[name]

    return get


Embedded = Callable[[str], tuple[np.ndarray, Embedding]]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    module = registry.module("feature", name)
    kind = module.Feature
    summary = registry.summary("feature", name)
    assert str(kind.dim) in summary
    assert len(summary) < 100
    assert "row" in (kind.__doc__ or ""), "the docstring says what a row describes"
    assert kind.name == name
    assert kind.weight is module.WEIGHT
    assert kind.dim > 0
    if kind.modality == "video":
        assert kind.min_frames >= 1
        assert (kind.sample_rate_hz, kind.min_samples) == (None, None)
    else:
        assert kind.modality == "audio"
        assert kind.sample_rate_hz > 0
        assert kind.min_samples >= 1
        assert (kind.fps, kind.min_frames) == (None, None)


@pytest.mark.parametrize("name", RUNNING)
def test_rows_have_the_promised_width_and_owner(name: str, embedded: Embedded, seeded: Seeded) -> None:
    _, (values, owner) = embedded(name)
    assert values.dtype == np.float32
    assert values.shape == (len(owner), seeded(name).dim)
    assert owner.dtype == np.int64
    np.testing.assert_array_equal(owner, np.repeat([0, 1], len(owner) // 2))
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", RUNNING)
def test_different_clips_have_different_rows(name: str, embedded: Embedded) -> None:
    _, (values, owner) = embedded(name)
    assert np.abs(values[owner == 0] - values[owner == 1]).max() > 1e-2 * values.std()


@pytest.mark.parametrize("name", RUNNING)
def test_a_row_does_not_depend_on_the_batch_around_it(name: str, embedded: Embedded, seeded: Seeded) -> None:
    batch, (values, owner) = embedded(name)
    before = batch.copy()
    alone = seeded(name).embed(batch[1:2])
    np.testing.assert_allclose(alone.values, values[owner == 1], rtol=0, atol=1e-5 * values.std())
    np.testing.assert_array_equal(alone.owner, 0)
    np.testing.assert_array_equal(batch, before)
    again = seeded(name).embed(torch.from_numpy(batch[1:2]))
    np.testing.assert_array_equal(again.values, alone.values, "the same clip gives the same bits")


@pytest.mark.parametrize("name", RUNNING)
def test_the_shortest_clip_is_taken_and_a_shorter_one_refused_with_the_reason(name: str, seeded: Seeded) -> None:
    feature = seeded(name)
    shortest = feature.min_frames if feature.modality == "video" else feature.min_samples
    assert shortest is not None
    assert len(feature.embed(clips(feature, 1, shortest)).values) >= 1
    with pytest.raises(MediaError, match=rf"feature {name}: a clip of {shortest - 1} .* needs {shortest}"):
        feature.embed(clips(feature, 1, shortest - 1))


@pytest.mark.parametrize("name", RUNNING)
def test_what_is_not_a_batch_of_clips_is_refused(name: str, seeded: Seeded) -> None:
    feature = seeded(name)
    good = clips(feature, 1)
    bad: list[Any] = [good[0], good[..., None], good[:0], good.astype(np.int32), np.float32(1)]
    bad.append(good.astype(np.float32) if feature.modality == "video" else good * 32768)
    for batch in bad:
        with pytest.raises(UserError, match=f"feature {name}"):
            feature.embed(batch)


@pytest.mark.parametrize("name", RUNNING)
def test_it_is_a_module_that_never_trains(name: str, seeded: Seeded) -> None:
    feature = seeded(name)
    assert isinstance(feature, torch.nn.Module)
    host = torch.nn.Sequential(feature).train()
    assert host.training
    assert not any(module.training for module in feature.modules())
    assert not any(parameter.requires_grad for parameter in feature.parameters())
    assert feature.device == torch.device("cpu")
    for attribute in ("fps", "sample_rate_hz", "dim", "settings", "weights_sha256"):
        assert hasattr(feature, attribute)
    assert (feature.batch_size is None) is (not feature.batch_dependent)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_called_without_a_network_it_gives_its_rows(name: str, embedded: Embedded) -> None:
    batch, (values, _) = embedded(name)
    np.testing.assert_allclose(features.load(name)(torch.from_numpy(batch)).float(), values)


@pytest.mark.parametrize("name", HEARING)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_sound_that_is_not_finite_is_refused(name: str, poison: float, seeded: Seeded) -> None:
    batch = clips(seeded(name), 2)
    batch[1, 100] = poison
    with pytest.raises(MediaError, match="not finite"):
        seeded(name).embed(batch)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_an_embedding_that_is_not_finite_never_leaves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feature = features.load(name)
    monkeypatch.setattr(feature, "_embed", lambda batch: torch.full((len(batch), feature.dim), torch.nan))
    with pytest.raises(MediaError, match="the embedding is not finite"):
        feature.embed(clips(feature, 1))


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_missing_weights_say_file_address_size_and_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path))
    weight = registry.module("feature", name).WEIGHT
    with pytest.raises(WeightsMissing) as caught:
        features.load(name)
    size = f"{weight.size_bytes / 1e6:.0f} MB" if weight.size_bytes < 1e9 else f"{weight.size_bytes / 1e9:.1f} GB"
    for part in (weight.file, weight.urls[0], size, f"avbench weights fetch {weight.name}", str(tmp_path)):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_its_weights_are_declared_with_address_licence_and_digest(name: str) -> None:
    weight = registry.module("feature", name).WEIGHT
    assert features.published_weights()[weight.name] is weight
    assert weight.urls
    assert all(url.startswith("https://") for url in weight.urls)
    assert weight.licence
    assert weight.sha256 is None or (len(weight.sha256) == 64 and int(weight.sha256, 16))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_no_tensor_is_ever_random(name: str, seeded_state: Callable[[str], dict[str, Tensor]]) -> None:
    state = seeded_state(name)
    last = sorted(state)[-1]
    with pytest.raises(UserError, match=f"not weights of {name}: tensor .* is missing"):
        features.load(name, {})
    with pytest.raises(UserError, match=f"tensor {last} is missing"):
        features.load(name, {key: value for key, value in state.items() if key != last})
    with pytest.raises(UserError, match="tensor aaa is not known"):
        features.load(name, {**state, "aaa": torch.ones(1)})
    wide = next(key for key, value in state.items() if value.ndim > 1)
    with pytest.raises(UserError, match=f"{wide} is "):
        features.load(name, {**state, wide: state[wide][:1]})


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_of_ones_own_are_told_apart(
    name: str, seeded: Seeded, seeded_state: Callable[[str], dict[str, Tensor]]
) -> None:
    feature = seeded(name)
    assert not feature.published
    assert feature.weights_sha256 is not None
    assert len(feature.weights_sha256) == 64
    state = seeded_state(name)
    filled = [key for key in state if state[key].is_floating_point() and state[key].numel()]
    small = min(filled, key=lambda key: state[key].numel())
    other = features.load(name, {**state, small: state[small] + 1})
    assert other.weights_sha256 != feature.weights_sha256


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_without_weights_none_can_be_given(name: str) -> None:
    feature = features.load(name)
    assert feature.published
    assert feature.weights_sha256 is None
    with pytest.raises(UserError, match="computes without weights"):
        features.load(name, {"a": torch.ones(1)})


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_and_devices_are_named(name: str) -> None:
    with pytest.raises(UserError, match=f"feature {name} has no option 'resiez'"):
        features.load(name, resiez="crop")
    with pytest.raises(UserError, match="no device called 'abacus'"):
        features.load(name, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no usable CUDA device"):
            features.load(name, device="cuda")


def test_an_unknown_feature_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean vggish"):
        features.load("vgish")


@pytest.mark.parametrize("name", RUNNING)
def test_the_decoded_clip_goes_through_as_it_is(name: str, seeded: Seeded, embedded: Embedded) -> None:
    feature = seeded(name)
    batch, (values, owner) = embedded(name)
    video, sound = (batch[0], np.zeros((1, 10), np.float32))
    if feature.modality == "audio":
        video, sound = np.zeros((1, 2, 2, 3), np.uint8), np.stack([batch[0] * 1.5, batch[0] * 0.5])
    clip = SimpleNamespace(video=video, fps=10.0, audio=sound, sample_rate_hz=feature.sample_rate_hz or 16_000)
    result = features.embed_clips(feature, [clip])
    np.testing.assert_allclose(result.values, values[owner == 0], rtol=0, atol=1e-5 * values.std())


def test_looking_features_up_imports_no_torch() -> None:
    code = (
        "import sys; from avbench import features, registry, weights\n"
        "assert registry.names('feature'); registry.summary('feature', 'i3d')\n"
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_never_asks_for_randomness(name: str) -> None:
    tree = ast.parse(Path(registry.module("feature", name).__file__).read_text())
    calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert calls.isdisjoint({"rand", "randn", "random", "default_rng", "manual_seed", "Generator", "RandomState"})
