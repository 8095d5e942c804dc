"""I3D: the published architecture, to float32 noise, and the two ways of bringing a frame to 224 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avbench import features
from avbench.errors import MediaError, UserError, WeightsMissing
from avbench.features import _i3d_network as i3d_network, i3d
from avbench.features._base import Feature, assemble
from avbench.workspace import file_sha256

Seeded = Callable[[str], Feature]


def test_it_has_the_tensors_of_the_reference(seeded_state: Callable, golden: Callable) -> None:
    _, shapes = golden("i3d")
    assert {key: tuple(value.shape) for key, value in seeded_state("i3d").items()} == shapes
    assert sum(np.prod(s, dtype=int) for k, s in shapes.items() if "running" not in k and "num_" not in k) == 12_697_264


@pytest.mark.parametrize(
    "frames", [9, pytest.param(16, marks=pytest.mark.slow), pytest.param(32, marks=pytest.mark.slow)]
)
def test_logits_agree_with_the_reference(frames: int, seeded: Seeded, golden: Callable) -> None:
    expected = golden("i3d")[0][f"logits_T{frames}"]
    rng = np.random.Generator(np.random.PCG64(100 + frames))
    x = torch.from_numpy((rng.random((1, 3, frames, 224, 224)) * 2 - 1).astype(np.float32))
    with torch.inference_mode():
        logits = seeded("i3d")(x).numpy()
    assert np.abs(logits - expected).max() < 1e-4 * expected.std()


PINS = {
    9: ([2.30816, -0.0624, 1.80528, 0.48292], 0.013275, 2.919311),
    16: ([3.11785, 1.14813, 2.50428, 0.73151], 0.040777, 3.585859),
    17: ([1.41763, 1.65015, 3.02601, 0.08255], None, None),
}


@pytest.mark.slow
def test_logits_of_a_second_set_of_weights(seeded_state: Callable[[str], dict[str, Tensor]]) -> None:
    """Weights drawn in key order from one generator: numbers of the VideoGPT port, measured on its own code."""
    rng = np.random.RandomState(0)
    state = dict(seeded_state("i3d"))
    for key in sorted(state):
        shape = tuple(state[key].shape)
        if "conv3d" in key:
            scale = 0.1 if key.endswith("bias") else np.sqrt(2 / np.prod(shape[1:]))
            state[key] = torch.from_numpy((rng.standard_normal(shape) * scale).astype(np.float32))
        else:
            state[key] = torch.full(shape, float(key.endswith(("bn.weight", "running_var")))).to(state[key].dtype)
    network = assemble("i3d", i3d_network.InceptionI3D, state)
    for frames, (first, mean, std) in PINS.items():
        x = (np.random.RandomState(1).rand(2, 3, frames, 224, 224) * 2 - 1).astype(np.float32)
        x = x[:1] if mean is None else x
        with torch.inference_mode():
            logits = network(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(logits[0, :4], first, rtol=0, atol=2e-5)
        if mean is not None:
            np.testing.assert_allclose([logits.mean(), logits.std(ddof=1)], [mean, std], rtol=0, atol=2e-6)


def test_logits_are_averaged_over_the_temporal_cells() -> None:
    """With one weight of 1 behind the pool, the answer is the plain mean of the two cells of 17 frames."""
    network = i3d_network.InceptionI3D()
    torch.nn.init.zeros_(network.logits.conv3d.weight)
    torch.nn.init.zeros_(network.logits.conv3d.bias)
    network.logits.conv3d.weight.data[5, 0] = 1
    pooled = torch.zeros(1, 1024, 2, 1, 1)
    pooled[0, 0] = torch.tensor([3.0, 5.0]).reshape(2, 1, 1)
    for key in list(network._modules):
        if key != "logits":
            network._modules[key] = torch.nn.Identity()
    answer = network(pooled)
    assert answer.shape == (1, 400)
    assert answer[0, 5] == 4
    assert answer.abs().sum() == 4


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "front", "behind"),
    [
        (16, 7, 2, 2, 3),
        (9, 7, 2, 3, 3),
        (8, 3, 2, 0, 1),
        (7, 3, 2, 1, 1),
        (5, 1, 1, 0, 0),
        (4, 2, 2, 0, 0),
        (3, 2, 2, 0, 1),
    ],
)
def test_padding_is_tensorflows_same(size: int, kernel: int, stride: int, front: int, behind: int) -> None:
    x = torch.ones(1, 1, 1, 1, size)
    padded = i3d_network.same_pad(x, (1, 1, kernel), (1, 1, stride)).flatten()
    expected = [0] * front + [1] * size + [0] * behind
    assert padded.tolist() == expected


def test_grey_levels_map_to_minus_one_to_one(seeded: Seeded) -> None:
    clip = np.stack([np.full((30, 40, 3), level, np.uint8) for level in (0, 51, 255)])[None]
    seen = seeded("i3d").preprocess(torch.from_numpy(clip))
    assert seen.shape == (1, 3, 3, 224, 224)
    for frame, level in enumerate((-1, -0.6, 1)):
        np.testing.assert_allclose(seen[0, :, frame], level, atol=1e-6)


def test_channels_and_time_keep_their_places(seeded: Seeded) -> None:
    clip = np.zeros((2, 4, 224, 224, 3), np.uint8)
    clip[1, 2, 10, 20] = (255, 0, 51)
    seen = seeded("i3d").preprocess(torch.from_numpy(clip))
    np.testing.assert_allclose(seen[1, :, 2, 10, 20], [1, -1, -0.6], atol=1e-6)
    assert (seen > -1).sum() == 2


def test_shrinking_is_bilinear_without_antialiasing(seeded: Seeded) -> None:
    """At half size bilinear reads four pixels each with weight 1/4; antialiasing would read sixteen."""
    clip = np.zeros((1, 1, 448, 448, 3), np.uint8)
    clip[0, 0, 100, 201] = 255
    seen = (seeded("i3d").preprocess(torch.from_numpy(clip))[0, 0, 0] + 1) / 2
    assert seen[50, 100] == pytest.approx(0.25)
    assert seen.sum() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (224, 224)), ((240, 320), (224, 299)), ((320, 240), (299, 224)), ((224, 500), (224, 500))],
)
def test_the_shorter_side_becomes_224(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert i3d.shorter_side_size(*size) == expected


def test_crop_keeps_the_aspect_and_the_middle_and_stretch_keeps_everything(
    seeded_state: Callable[[str], dict[str, Tensor]], seeded: Seeded
) -> None:
    clip = np.zeros((1, 1, 224, 448, 3), np.uint8)
    clip[..., 112:336, :] = 255  # the middle square of a 2:1 picture
    cropped = seeded("i3d").preprocess(torch.from_numpy(clip))
    stretching = features.load("i3d", seeded_state("i3d"), resize="stretch")
    stretched = stretching.preprocess(torch.from_numpy(clip))
    assert (cropped == 1).all()
    np.testing.assert_allclose(stretched[0, 0, 0, :, 0], -1)
    assert stretched.mean() == pytest.approx(0, abs=1e-5)
    assert [f.settings["resize"] for f in (seeded("i3d"), stretching)] == ["crop", "stretch"]
    assert seeded("i3d").settings["precision"] == "float32"


def test_tensorflow_1_reads_without_half_pixel_centres(seeded_state: Callable[[str], dict[str, Tensor]]) -> None:
    """From 64 to 224 pixels, output i reads at 64 i / 224: a ramp becomes that ramp, flat behind its last pixel."""
    feature = features.load("i3d", seeded_state("i3d"), resize="tf1")
    ramp = np.arange(64, dtype=np.uint8) * 4
    clip = np.zeros((1, 1, 64, 64, 3), np.uint8)
    clip[0, 0, :, :, 0], clip[0, 0, :, :, 1] = ramp, ramp[:, None]
    seen = (feature.preprocess(torch.from_numpy(clip))[0, :, 0].numpy() + 1) * 127.5
    expected = np.minimum(np.arange(224) * 64 / 224, 63) * 4
    np.testing.assert_allclose(seen[0], np.broadcast_to(expected, (224, 224)), atol=1e-4)
    np.testing.assert_allclose(seen[1], np.broadcast_to(expected[:, None], (224, 224)), atol=1e-4)
    same = np.random.default_rng(0).integers(0, 256, (1, 1, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        feature.preprocess(torch.from_numpy(same))[0, :, 0].permute(1, 2, 0) * 127.5 + 127.5, same[0, 0], atol=1e-4
    )


@pytest.mark.parametrize(("size", "scale"), [((48, 64), (48 / 224, 64 / 224)), ((448, 300), (2, 300 / 224))])
def test_tensorflow_1_keeps_no_aspect(size: tuple[int, int], scale: tuple[float, float]) -> None:
    """Against a plain loop over output pixels."""
    frame = np.random.default_rng(1).uniform(0, 1, size)
    seen = i3d.legacy_bilinear(torch.from_numpy(frame)[None, None]).numpy()[0, 0]
    for row, column in [(0, 0), (5, 200), (223, 223), (100, 7)]:
        y, x = row * scale[0], column * scale[1]
        top, left = int(y), int(x)
        below, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        upper = frame[top, left] * (1 - x + left) + frame[top, right] * (x - left)
        lower = frame[below, left] * (1 - x + left) + frame[below, right] * (x - left)
        assert seen[row, column] == pytest.approx(upper * (1 - y + top) + lower * (y - top), abs=1e-4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"resize": "letterbox"}, "resize is crop, stretch or tf1, not 'letterbox'"),
        ({"precision": "half"}, "precision is float32 or bfloat16, not 'half'"),
    ],
)
def test_an_unknown_choice_is_refused(option: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        features.load("i3d", **option)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("size", [(5, 8, 7), (2, 1, 3), (16, 4, 4)])
def test_the_pool_is_torchs_over_a_border_that_never_wins(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)) - 3
    padded = i3d_network.same_pad(x + 100, kernel, stride) - 100  # zeros become -100
    expected = torch.nn.functional.max_pool3d(padded, kernel, stride)
    before = x.clone()
    pooled = i3d_network.SamePool(kernel, stride)(x)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=2e-5)
    assert torch.equal(x, before), "the input is left alone"


def test_a_pool_that_must_be_differentiable_gives_the_same() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((1, 2, 5, 6, 7)).astype(np.float32))
    pool = i3d_network.SamePool((3, 3, 3), (2, 2, 2))
    with_gradient = pool(x.clone().requires_grad_())
    assert torch.equal(with_gradient.detach(), pool(x))
    with_gradient.sum().backward()


def test_the_module_takes_what_the_reference_takes_and_refuses_8_frames(seeded: Seeded) -> None:
    with pytest.raises(MediaError, match="a clip of 8 frames is too short, it needs 9"):
        seeded("i3d")(torch.zeros(1, 3, 8, 224, 224))


@pytest.mark.slow
def test_bfloat16_is_near_and_says_so(seeded_state: Callable[[str], dict[str, Tensor]], seeded: Seeded) -> None:
    feature = features.load("i3d", seeded_state("i3d"), precision="bfloat16")
    assert feature.settings == {"resize": "crop", "precision": "bfloat16"}
    batch = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8)
    exact, near = seeded("i3d").embed(batch).values, feature.embed(batch).values
    assert near.dtype == np.float32
    off = np.abs(near - exact).max() / exact.std()
    assert 1e-5 < off < 0.05


def test_a_file_of_weights_is_published_only_if_its_digest_is(
    seeded_state: Callable[[str], dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / i3d.WEIGHT.file
    torch.save(seeded_state("i3d"), path)
    own = features.load("i3d", path)
    assert not own.published
    assert own.weights_sha256 == file_sha256(path)
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=f"but the weights i3d have {i3d.WEIGHT.sha256}"):
        features.load("i3d")
    monkeypatch.setattr(i3d.Feature, "weight", replace(i3d.WEIGHT, sha256=own.weights_sha256))
    for source in (None, path, str(path)):
        feature = features.load("i3d", source)
        assert feature.published
        assert feature.weights_sha256 == own.weights_sha256


@pytest.mark.slow
def test_chunks_do_not_show(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8)
    whole = seeded("i3d").embed(batch).values
    monkeypatch.setattr(i3d, "CHUNK_CLIPS", 1)
    np.testing.assert_allclose(seeded("i3d").embed(batch).values, whole, rtol=0, atol=1e-5 * whole.std())


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize(("frames", "published"), [(10, 569.2296), (30, 151.25648)])
def test_black_against_white_is_the_published_fvd(frames: int, published: float) -> None:
    """All clips of a side are equal, so FVD is the squared distance of two rows (common_metrics_on_video_quality).

    The published numbers are of the TorchScript export of the same network; the ports differ by about 1e-3.
    """
    try:
        feature = features.load("i3d")
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    clips = np.stack([np.zeros((frames, 64, 64, 3), np.uint8), np.full((frames, 64, 64, 3), 255, np.uint8)])
    black, white = feature.embed(clips).values.astype(np.float64)
    assert np.sum((black - white) ** 2) == pytest.approx(published, rel=5e-3)
