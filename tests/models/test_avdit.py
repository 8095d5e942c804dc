"""AVDiT: the paper's size, slices of time, and the function, against the same one computed token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from avbench.diffusion.noise_levels import UNIFORM, draw_levels, noise_tokens, predicted_noise, token_loss
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.errors import UserError
from avbench.models.avdit import PRESETS, AVDiT, AVDiTConfig
from benchmarks.avdit_step import PerTokenAVDiT, filled

SMALL = AVDiTConfig(
    video_size=(3, 4, 2, 3),
    audio_size=(9, 5),
    fps=4.0,
    frames_per_slice=2,
    audio_tokens_per_s=7.0,
    width=32,
    layers=2,
    heads=4,
    mlp_ratio=2,
)
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def _random(config: AVDiTConfig = SMALL, kind: type[AVDiT] = AVDiT, **options: Any) -> AVDiT:
    """A network whose blocks, gates and heads are not zero."""
    torch.manual_seed(0)
    model = filled(kind(config, **options))
    for block in model.blocks:
        torch.nn.init.normal_(block.gate_bias)  # of a size that lets every block show
        torch.nn.init.normal_(block.modulation.weight, std=0.1)
    for head in (model.gates, model.last_modulation, model.video_out, model.audio_out):
        torch.nn.init.normal_(head.weight, std=0.2)
    return model


def _inputs(batch: int = 2, seed: int = 1, config: AVDiTConfig = SMALL) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    video, audio = (torch.randn(batch, *size, generator=generator) for size in (config.video_size, config.audio_size))
    levels = torch.randint(0, 1001, (2, batch, config.slices), generator=generator)
    return video, audio, levels[0], levels[1]


def _previous(seed: int = 5) -> tuple[Tensor, Tensor]:
    return _inputs(seed=seed)[:2]


def test_the_papers_network_has_about_420_million_parameters() -> None:
    with torch.device("meta"):
        model = AVDiT(PRESETS["paper"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 419_171_336
    assert PRESETS["paper"].video_tokens + PRESETS["paper"].audio_size[0] == 1386


def test_the_papers_slices_take_six_and_then_25_audio_tokens_each() -> None:
    config = PRESETS["paper"]
    assert config.frames == 17
    assert config.slice_bounds_s == (0, 0.125, 0.625, 1.125, 1.625, 2.125)
    assert [config.audio_slices.count(number) for number in range(5)] == [6, 25, 25, 25, 25]
    assert list(config.audio_slices) == sorted(config.audio_slices)


def test_a_codec_that_is_not_causal_has_equal_slices() -> None:
    config = SMALL.fitted(causal=False, frames_per_slice=1, video_size=(4, 4, 1, 1), audio_size=(8, 5), fps=2.0,
                          audio_tokens_per_s=4.0)  # fmt: skip
    assert config.frames == 4
    assert config.audio_slices == (0, 0, 1, 1, 2, 2, 3, 3)


def test_a_token_whose_middle_is_a_slices_first_moment_belongs_to_that_slice() -> None:
    # middles at 1/30, 3/30 ... s, frames of 1/30 s: in floating point 30 x (1/30) is below, at and above 1
    config = SMALL.fitted(causal=False, frames_per_slice=1, video_size=(30, 4, 1, 1), audio_size=(15, 5), fps=30.0,
                          audio_tokens_per_s=15.0)  # fmt: skip
    assert config.audio_slices == tuple(range(1, 30, 2))


def test_sound_beyond_the_video_belongs_to_its_last_slice() -> None:
    assert SMALL.fitted(audio_size=(11, 5)).audio_slices[-3:] == (2, 2, 2)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"audio_size": (90, 5)}, "3 latent frames last 1.25 s and 90 audio tokens 12.8571 s"),
        ({"width": 30}, "width 30 must be a multiple of 4 and of its 4 heads"),
        ({"frames_per_slize": 2}, "frames_per_slice"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SMALL.fitted(**sizes)


def test_a_new_network_predicts_no_noise_and_every_weight_learns_within_three_steps() -> None:
    torch.manual_seed(0)
    model = AVDiT(SMALL)
    inputs = _inputs()
    assert not torch.cat([x.flatten() for x in model(*inputs)]).any()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for seed in range(3):  # heads first, then what they hang on, then what that hangs on
        video, audio = model(*_inputs(seed=seed), _previous())
        loss = (video - 1).square().mean() + (audio - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert not still


def test_it_is_the_function_computed_token_by_token_with_written_out_attention() -> None:
    ours, other = _random(), _random(kind=PerTokenAVDiT)
    for previous in (None, _previous()):
        for got, wanted in zip(ours(*_inputs(), previous), other(*_inputs(), previous), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_every_token_sees_every_other() -> None:
    model, (video, audio, *levels) = _random(), _inputs(1)
    video, audio = video.requires_grad_(), audio.requires_grad_()
    for made in model(video, audio, *levels):
        for token in (made[0, 0], made[0, -1]):
            to_video, to_audio = torch.autograd.grad(token.sum(), (video, audio), retain_graph=True)
            assert to_video.any(2).all()
            assert to_audio.any(2).all()


def test_each_level_of_each_modality_and_slice_changes_the_output() -> None:
    model, (video, audio, video_levels, audio_levels) = _random(), _inputs(1)
    found = [model(video, audio, video_levels, audio_levels)[0]]
    for levels in (video_levels, audio_levels):
        for slice_ in range(SMALL.slices):
            levels[0, slice_] += 300
            found.append(model(video, audio, video_levels, audio_levels)[0])
    for number, first in enumerate(found):
        assert all(not torch.allclose(first, other, atol=1e-3) for other in found[:number])


def test_a_level_modulates_the_tokens_of_its_own_slice() -> None:
    """Without attention between them, tokens of one slice know the level of that slice and no other."""
    model = _random()
    for block in model.blocks:
        torch.nn.init.zeros_(block.proj.weight)
    video, audio, video_levels, audio_levels = _inputs(1)
    base = model(video, audio, video_levels, audio_levels)
    for slice_ in range(SMALL.slices):
        changed = audio_levels.clone()
        changed[0, slice_] = (changed[0, slice_] + 500) % 1000
        picture, sound = model(video, audio, video_levels, changed)
        own = torch.tensor(SMALL.audio_slices) == slice_
        assert torch.equal(picture, base[0])
        assert torch.equal(sound[:, ~own], base[1][:, ~own])
        assert (sound[:, own] != base[1][:, own]).any(-1).all()


def test_a_clean_token_is_told_the_least_level_that_training_draws() -> None:
    model, (video, audio, video_levels, audio_levels) = _random(), _inputs()
    outputs = []
    for level in (0, 1, 2):
        video_levels[:, 0] = level
        outputs.append(model(video, audio, video_levels, audio_levels))
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert torch.equal(outputs[0][1], outputs[1][1])
    assert not torch.allclose(outputs[1][0], outputs[2][0], atol=1e-3)


def test_no_previous_estimate_is_one_of_zeros_and_a_wild_one_is_cut() -> None:
    model, inputs = _random(), _inputs()
    zeros = torch.zeros_like(inputs[0]), torch.zeros_like(inputs[1])
    none, some = model(*inputs), model(*inputs, _previous())
    assert torch.equal(none[0], model(*inputs, zeros)[0])
    assert not torch.allclose(none[0], some[0], atol=1e-3)
    wild = [model(*inputs, tuple(factor * x.sign() for x in _previous()))[0] for factor in (4, 1e6)]
    assert torch.equal(*wild)


def test_a_clip_does_not_depend_on_its_batch() -> None:
    model, inputs = _random(), _inputs(4)
    whole = model(*inputs)
    for row in range(4):
        alone = model(*(x[row : row + 1] for x in inputs))
        for got, wanted in zip(alone, whole, strict=True):
            torch.testing.assert_close(got[0], wanted[row], rtol=1e-4, atol=1e-5)


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for kept in (False, True):
        model = _random(activation_checkpointing=kept)
        sum(x.square().mean() for x in model(*_inputs())).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("pure", [False, True], ids=["autocast", "bfloat16 weights"])
def test_bfloat16_stays_near_float32_and_keeps_the_type_of_the_inputs(pure: bool) -> None:
    model, inputs = _random(), _inputs()
    wanted = model(*inputs)
    if pure:
        model = model.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=not pure):
        got = model(*inputs)
    for low, high in zip(got, wanted, strict=True):
        assert low.dtype == torch.float32
        assert (low - high).square().mean().sqrt() < 0.05 * high.std()


def test_a_first_pass_without_gradient_takes_no_gradient_from_the_second_under_autocast() -> None:
    """Autocast keeps weights it has cast; those of self-conditioning's first pass know no gradient."""
    model, schedule, generator = _random(), linear_schedule(), torch.Generator().manual_seed(0)
    levels = draw_levels(UNIFORM, 2, SMALL.slices, 1000, generator)
    noisy = noise_tokens(schedule, *_inputs()[:2], levels, SMALL.audio_slices, generator)
    with torch.autocast("cpu", torch.bfloat16):
        loss = token_loss(predicted_noise(model, schedule, noisy, twice=True), noisy, 1000)
    loss.total.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_as_one_graph_and_other_levels_do_not_compile_it_again(training: bool) -> None:
    from torch._dynamo.testing import CompileCounter

    model, counter = _random().train(training), CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    with torch.set_grad_enabled(training):
        for seed in range(3):
            got = compiled(*_inputs(seed=seed), _previous())
            torch.testing.assert_close(got, model(*_inputs(seed=seed), _previous()))
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("place", "shape", "words"),
    [
        (0, (2, 3, 4, 3, 2), r"video is \(2, 3, 4, 3, 2\); this network takes \(2, 3, 4, 2, 3\)"),
        (1, (2, 8, 5), r"audio is \(2, 8, 5\); this network takes \(2, 9, 5\)"),
        (2, (2,), r"video_levels is \(2,\); this network takes \(2, 3\)"),
        (3, (2, 9), r"audio_levels is \(2, 9\); this network takes \(2, 3\)"),
    ],
)
def test_other_shapes_are_refused(place: int, shape: tuple[int, ...], words: str) -> None:
    inputs = list(_inputs())
    inputs[place] = torch.zeros(shape, dtype=inputs[place].dtype)
    with pytest.raises(UserError, match=words):
        AVDiT(SMALL)(*inputs)
