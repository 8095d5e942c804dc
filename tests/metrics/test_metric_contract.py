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
PROMPTED = [name for name in METRICS if registry.module("metric", name).KIND == "prompted"]
WITH_SUBSETS = [name for name in DISTANCES if hasattr(registry.module("metric", name), "compute_subsets")]
WITH_DETAILS = [name for name in DISTANCES if hasattr(registry.module("metric", name), "details")]
OF_ONE_NUMBER = {"motion", "loudness", "onset_rate"}
RNG_SEED = 11


def features(name: str, n: int, shift: float = 0.0, seed: int = RNG_SEED, d: int = 16) -> np.ndarray:
    shape = (n, 1 if name in OF_ONE_NUMBER else d)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) + np.float32(shift)


def clip(n_frames: int, seconds: float, fps: float = 10.0, rate: int = 16_000, seed: int = 0) -> ClipSignals:
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (n_frames, 32, 32, 3), dtype=np.uint8)
    audio = rng.uniform(-0.5, 0.5, (2, int(seconds * rate))).astype(np.float32)
    return ClipSignals(video, fps, audio, rate)


def test_the_metrics_of_the_first_release_are_there() -> None:
    assert {"fvd", "kvd", "fad", "mel_fd", "flow_fd", "av_align"} <= set(METRICS)
    assert {"kvd_subsets", "fvd_inf", "fad_inf", "kad", "fad_audioclip", "fad_clap", "clip_score"} <= set(METRICS)
    assert {"density", "coverage", *OF_ONE_NUMBER} <= set(DISTANCES)
    assert set(DISTANCES) | set(PER_CLIP) | set(PROMPTED) == set(METRICS)


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
    assert {registry.module("metric", name).FEATURE for name in ("fvd", "kvd", "fvd_inf", "kvd_subsets")} == {"i3d"}
    assert {registry.module("metric", name).FEATURE for name in ("fad", "fad_inf")} == {"vggish"}
    assert [registry.module("metric", name).FEATURE for name in ("fad_audioclip", "fad_clap")] == ["audioclip", "clap"]


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_grows_with_distance_and_takes_two_sizes(name: str) -> None:
    module = registry.module("metric", name)
    values = [module.compute(features(name, 40, shift), features(name, 60, seed=2)) for shift in (0, 0.5, 1)]
    assert all(isinstance(value, float) for value in values)
    rising = values[::-1] if module.HIGHER_IS_BETTER else values
    assert rising[0] < rising[1] < rising[2]
    assert all(module.RANGE[0] <= value <= module.RANGE[1] for value in values)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_leaves_its_input_alone_and_names_the_bad_side(name: str) -> None:
    module = registry.module("metric", name)
    x, y = features(name, 40), features(name, 40, seed=2)
    before = x.copy(), y.copy()
    module.compute(x, y)
    np.testing.assert_array_equal(before, (x, y))
    y[4] = np.nan
    with pytest.raises(UserError, match="1 of 40 rows of the reference features"):
        module.compute(x, y)
    with pytest.raises(UserError, match="generated features"):
        module.compute(x[:0], before[1])
    if not module.HIGHER_IS_BETTER:
        with pytest.raises(UserError, match="of generated features"):
            module.compute(x[:1], before[1])


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("n", [2, 3, 5, 15, 16, 17, 18, 33, 34, 130])
def test_no_number_of_rows_gives_nan_without_a_reason(name: str, n: int) -> None:
    module = registry.module("metric", name)
    for m in (n, n + 5):
        value, reason = None, ""
        try:
            value = module.compute(features(name, n), features(name, m, seed=2))
        except UserError as error:
            reason = str(error)
        if value is None:
            assert n < 34, reason  # above twice the dimension nothing is too small
            assert "too few" in reason or "needed" in reason
        else:
            assert module.RANGE[0] <= value <= module.RANGE[1]
            assert math.isfinite(value)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTANCES)
def test_eight_thousand_rows_are_not_too_many(name: str) -> None:
    module = registry.module("metric", name)
    small, large = (module.compute(features(name, n, d=8), features(name, n, seed=2, d=8)) for n in (100, 8192))
    assert math.isfinite(large)
    assert module.RANGE[0] <= large <= module.RANGE[1]
    assert abs(large - module.HIGHER_IS_BETTER) < max(abs(small - module.HIGHER_IS_BETTER), 0.1)


@pytest.mark.parametrize("name", DISTANCES)
def test_options_of_a_distance_have_defaults_and_are_shared_by_its_functions(name: str) -> None:
    module = registry.module("metric", name)
    compute = inspect.signature(module.compute).parameters
    assert list(compute)[:2] == ["generated", "reference"]
    options = list(compute)[2:]
    assert all(compute[option].default is not inspect.Parameter.empty for option in options)
    for other in ("details", "compute_subsets"):
        if hasattr(module, other):
            taken = inspect.signature(getattr(module, other)).parameters
            assert [p for p in taken if p in options] == options
            assert all(taken[option].default == compute[option].default for option in options)


@pytest.mark.parametrize("name", WITH_DETAILS)
def test_details_are_named_numbers(name: str) -> None:
    found = registry.module("metric", name).details(features(name, 50), features(name, 60, seed=2))
    assert found
    for key, value in found.items():
        assert key.isidentifier()
        assert isinstance(value, float)
        assert math.isfinite(value)


@pytest.mark.parametrize("name", WITH_SUBSETS)
@pytest.mark.parametrize("d", [4, 40])
def test_distances_of_subsets_are_those_of_their_rows(name: str, d: int) -> None:
    module = registry.module("metric", name)
    x, y = features(name, 60, d=d), features(name, 70, 0.3, seed=2, d=d)
    rng = np.random.default_rng(0)
    picks = [(rng.permutation(60)[:n], rng.permutation(70)[:m]) for n, m in ((30, 35), (60, 70), (2, 3), (30, 35))]
    found = module.compute_subsets(x, y, [a for a, _ in picks], [b for _, b in picks])
    assert found == pytest.approx([module.compute(x[a], y[b]) for a, b in picks], rel=1e-8)
    assert all(isinstance(value, float) for value in found)


def test_every_frechet_distance_and_kvd_give_their_subsets_at_once() -> None:
    frechet = {name for name in DISTANCES if registry.module("metric", name).ESTIMATOR == "frechet"}
    assert {*frechet, "kvd"} == set(WITH_SUBSETS)
    assert {"fvd", "fad", "mel_fd", "flow_fd", "fad_audioclip", "fad_clap"} <= frechet


def test_a_cap_on_draws_still_tells_a_spread() -> None:
    caps = [getattr(registry.module("metric", name), "INTERVAL_DRAWS", 100) for name in DISTANCES]
    assert all(isinstance(cap, int) for cap in caps)
    assert min(caps) >= 20


def test_distances_carry_the_factor_of_the_code_they_repeat() -> None:
    x, y = features("fad", 40), features("fad", 60, 0.2, seed=2)
    frechet, mmd = avbench.metrics.frechet_distance(x, y), avbench.metrics.polynomial_mmd(x, y)
    assert registry.module("metric", "fad_audioclip").compute(x, y) == pytest.approx(10_000 * frechet)
    assert registry.module("metric", "fad").compute(x, y) == pytest.approx(frechet)
    assert registry.module("metric", "kvd").compute(x, y) == pytest.approx(mmd)
    assert registry.module("metric", "kvd_subsets").compute(x, y[:40]) == pytest.approx(
        avbench.metrics.polynomial_mmd(x, y[:40])
    )
    assert registry.module("metric", "kad").compute(x, y) == avbench.metrics.kernel_audio_distance(x, y)


def test_subsets_of_kvd_say_how_large_they_are() -> None:
    module = registry.module("metric", "kvd_subsets")
    x, y = features("kvd_subsets", 40), features("kvd_subsets", 60, seed=2)
    assert module.details(x, y)["subset_rows"] == 40
    assert module.details(x, y, subset_size=9)["subset_rows"] == 9
    expected = avbench.metrics.kernel_distance_subsets(x, y, subsets=7, subset_size=9, seed=3)
    assert module.compute(x, y, subsets=7, subset_size=9, seed=3) == expected.mean
    assert module.details(x, y, subsets=7, subset_size=9, seed=3)["subset_sd"] == expected.sd


@pytest.mark.parametrize("name", PROMPTED)
def test_a_prompted_metric_scores_each_clip_with_its_own_prompt(name: str) -> None:
    module = registry.module("metric", name)
    rows = np.array([[1, 0, 0], [0, 0.6, 0], [0.5, 0.5, 0], [-1, 0, 0]], np.float32)
    texts = np.array([[3, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    found = module.compute(rows, texts)
    np.testing.assert_allclose(found, [100, 60, 0, -100], atol=1e-5)
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(module.compute(rows[order], texts[order]), found[order])
    np.testing.assert_allclose(module.compute(rows[:1], texts[:1]), found[:1])
    assert module.RANGE[0] <= found.min()
    assert found.max() <= module.RANGE[1]


@pytest.mark.parametrize("name", PROMPTED)
def test_a_prompted_metric_refuses_what_is_no_pair_of_embeddings(name: str) -> None:
    compute = registry.module("metric", name).compute
    row = np.array([[0.6, 0.8]], np.float32)
    with pytest.raises(UserError, match="1 clips and 2 prompts"):
        compute(row, np.vstack([row, row]))
    with pytest.raises(UserError, match="2 dimensions and prompt features 3"):
        compute(row, np.ones((1, 3)))
    with pytest.raises(UserError, match="prompt 0 has length 0"):
        compute(row, 0 * row)
    with pytest.raises(UserError, match="length 3"):
        compute(3 * row, row)
    with pytest.raises(UserError, match="NaN"):
        compute(row * np.nan, row)


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
