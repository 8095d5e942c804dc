"""Every metric of the registry keeps the contract of `avbench.metrics._base`, and listing them stays light."""

from __future__ import annotations

import inspect
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import avbench.metrics
from avbench import registry
from avbench.errors import UserError
from avbench.metrics._base import ClipSignals

METRICS = registry.names("metric")
DISTANCES = [name for name in METRICS if registry.module("metric", name).KIND == "distance"]
PER_CLIP = [name for name in METRICS if registry.module("metric", name).KIND == "per_clip"]
RNG_SEED = 11


def features(n: int, shift: float = 0.0, seed: int = RNG_SEED) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32) + np.float32(shift)


def clip(n_frames: int, seconds: float, fps: float = 10.0, rate: int = 16_000, seed: int = 0) -> ClipSignals:
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (n_frames, 32, 32, 3), dtype=np.uint8)
    audio = rng.uniform(-0.5, 0.5, (2, int(seconds * rate))).astype(np.float32)
    return ClipSignals(video, fps, audio, rate)


def test_the_metrics_of_the_first_release_are_there() -> None:
    assert {"fvd", "kvd", "fad", "mel_fd", "flow_fd", "av_align"} <= set(METRICS)
    assert set(DISTANCES) | set(PER_CLIP) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_constants(name: str) -> None:
    module = registry.module("metric", name)
    assert module.FEATURE is None or module.FEATURE in registry.names("feature")
    assert (module.FEATURE is None) == (module.KIND == "per_clip")
    assert isinstance(module.HIGHER_IS_BETTER, bool)
    low, high = module.RANGE
    assert low < high
    for text in (module.ESTIMATOR, module.UNIT, module.SOURCE, registry.summary("metric", name)):
        assert isinstance(text, str)
        assert text


def test_names_are_honest() -> None:
    assert {registry.module("metric", name).FEATURE for name in ("fvd", "kvd")} == {"i3d"}
    assert registry.module("metric", "fad").FEATURE == "vggish"


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_grows_with_distance_and_takes_two_sizes(name: str) -> None:
    module = registry.module("metric", name)
    values = [module.compute(features(40, shift), features(60, seed=2)) for shift in (0, 1, 2)]
    assert all(isinstance(value, float) for value in values)
    assert values[0] < values[1] < values[2]
    assert module.HIGHER_IS_BETTER is False
    assert all(module.RANGE[0] <= value <= module.RANGE[1] for value in values)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_leaves_its_input_alone_and_names_the_bad_side(name: str) -> None:
    module = registry.module("metric", name)
    x, y = features(20), features(20, seed=2)
    before = x.copy(), y.copy()
    module.compute(x, y)
    np.testing.assert_array_equal(before, (x, y))
    y[4] = np.nan
    with pytest.raises(UserError, match="1 of 20 rows of the reference features"):
        module.compute(x, y)
    with pytest.raises(UserError, match="of generated features"):
        module.compute(x[:1], before[1])


@pytest.mark.parametrize("name", PER_CLIP)
@pytest.mark.parametrize(("n_frames", "seconds"), [(16, 1.6), (1, 1.6), (2, 0.001), (16, 0.0)])
def test_a_per_clip_metric_gives_a_number_in_range_or_nan(name: str, n_frames: int, seconds: float) -> None:
    module = registry.module("metric", name)
    signals = clip(n_frames, seconds)
    before = signals.video.copy(), signals.audio.copy()
    value = module.per_clip(signals)
    assert isinstance(value, float)
    assert math.isnan(value) or module.RANGE[0] <= value <= module.RANGE[1]
    np.testing.assert_array_equal(before[0], signals.video)
    np.testing.assert_array_equal(before[1], signals.audio)


@pytest.mark.parametrize("name", PER_CLIP)
def test_a_per_clip_metric_is_its_evidence_paired_with_itself(name: str) -> None:
    module = registry.module("metric", name)
    one, other = (module.evidence(clip(16, 1.6, seed=seed)) for seed in (0, 1))
    assert module.pair(one, one) == module.per_clip(clip(16, 1.6))
    assert isinstance(module.pair(one, other), float)
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_documented_and_typed(name: str) -> None:
    module = registry.module("metric", name)
    for function in [f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__]:
        assert inspect.getdoc(function)
        assert "return" in function.__annotations__


def test_the_public_names_are_functions_whatever_was_imported_before() -> None:
    registry.module("metric", "av_align")
    for name in ("av_align", "av_align_score", "frechet_distance", "polynomial_mmd"):
        assert inspect.isfunction(getattr(avbench.metrics, name))
        assert name in avbench.metrics.__all__
    assert pickle.loads(pickle.dumps(avbench.metrics.av_align)) is avbench.metrics.av_align
    with pytest.raises(AttributeError, match="no attribute 'frechet'"):
        _ = avbench.metrics.frechet


def test_listing_the_metrics_loads_nothing_heavy() -> None:
    program = "import sys; from avbench import registry; registry.names('metric'); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert "avbench.metrics" in loaded
    assert not loaded & {"numpy", "torch", "cv2", "librosa", "av", "scipy"}
