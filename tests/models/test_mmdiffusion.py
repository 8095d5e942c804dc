"""MM-Diffusion computes the same function as the published network, and is reproducible.

Compared with researchmm/MM-Diffusion at 7250222, weights recomputed from tensor names: the paper's size, the same at a
quarter of the width, and the configurations of mmdiffusion_golden.json (made by make_mmdiffusion_golden.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdiffusion_cases import CASES, clip, noise, probe, shapes_of, shapes_sha256, weights
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from avbench.errors import UserError
from avbench.models import _coupled_blocks as blocks
from avbench.models.mmdiffusion import PRESETS, MMDiffusion, MMDiffusionConfig

SMALL = MMDiffusionConfig(
    video_size=(4, 3, 8, 8),
    audio_size=(1, 256),
    model_channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    cross_attention_resolutions=(1, 2),
    windows=(1, 2),
    cross_head_channels=8,
    video_attention_resolutions=(2,),
    attention_heads=2,
    norm_groups=4,
    dropout=0.0,
)
SHIFTS = [0, 1, 2, 0, 3, 1]


def _on_meta(config: MMDiffusionConfig) -> MMDiffusion:
    with torch.device("meta"):
        return MMDiffusion(config)


def _random(config: MMDiffusionConfig = SMALL, **options: Any) -> MMDiffusion:
    """A network with no zero in it, so that every block shows in the output."""
    model = MMDiffusion(config, **options)
    model.load_state_dict(weights(shapes_of(model)))
    return model


def _inputs(batch: int = 2, config: MMDiffusionConfig = SMALL) -> tuple[Tensor, Tensor, Tensor]:
    video, audio = noise(1, (batch, *config.video_size)), noise(2, (batch, *config.audio_size))
    return video, audio, torch.arange(batch) * 300 + 20


def _error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference, in standard deviations of the wanted output."""
    assert got.shape == wanted.shape
    return ((got - wanted).abs().max() / wanted.std()).item()


@pytest.mark.parametrize("training", [True, False])
def test_activations_keep_one_memory_layout(training: bool) -> None:
    """Also those of sound with one channel, whose strides say nothing of the layout by themselves."""
    model, seen = _random().train(training), []
    for stage in [*model.input_blocks, model.middle_blocks, *model.output_blocks]:
        stage.register_forward_hook(lambda _module, _inputs, outputs: seen.extend(outputs))
    for module in model.modules():
        if isinstance(module, blocks.Stem | blocks.ResBlock):
            module.register_forward_hook(lambda _module, _inputs, outputs: seen.extend(outputs))
    with torch.set_grad_enabled(training):
        model(*_inputs())
    assert len(seen) > 20
    assert all(x.is_contiguous() for x in seen)


def _check_fixture(path: Path, config: MMDiffusionConfig) -> None:
    with safe_open(str(path), "pt") as file:
        spec = json.loads(file.metadata()["spec"])
        wanted = {name: file.get_tensor(name) for name in ("video", "audio")}
    state_dict = weights(shapes_of(_on_meta(config)))
    model = MMDiffusion.from_published(state_dict, cross_head_channels=spec["num_head_channels"]).eval()
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    assert len(model.state_dict()) == spec["tensors"]
    video = noise(spec["input_seed"], (1, *spec["video_shape"]))
    audio = noise(spec["input_seed"] + 1, (1, 1, spec["audio_length"]))
    with torch.inference_mode():
        got = model(video, audio, torch.tensor(spec["timesteps"]), spec["shifts"])
    assert _error(got[0], wanted["video"]) <= 1e-4
    assert _error(got[1], wanted["audio"]) <= 1e-4


@pytest.mark.slow
def test_parity_at_a_quarter_of_the_width(parity_assets: Path) -> None:
    config = PRESETS["paper"].model_copy(update={"model_channels": 32, "cross_head_channels": 32})
    _check_fixture(parity_assets / "unet_small.safetensors", config)


@pytest.mark.slow
def test_parity_at_the_papers_size(parity_assets: Path) -> None:
    _check_fixture(parity_assets / "unet_paper.safetensors", PRESETS["paper"])


@pytest.mark.parametrize("name", CASES)
def test_parity_of_other_configurations(name: str) -> None:
    case, golden = CASES[name], json.loads(Path(__file__).with_name("mmdiffusion_golden.json").read_text())[name]
    config = MMDiffusionConfig(
        model_channels=case.model_channels,
        channel_mult=case.channel_mult,
        num_res_blocks=case.num_res_blocks,
        cross_attention_resolutions=case.cross_resolutions,
        windows=case.windows,
        middle_cross_attention=case.windows == (1, 4, 8),
        cross_head_channels=case.cross_head_channels,
        video_attention_resolutions=case.video_attention,
        audio_attention_resolutions=case.audio_attention,
    )
    shapes = shapes_of(_on_meta(config))
    assert shapes_sha256(shapes) == golden["shapes_sha256"]
    model = MMDiffusion.from_published(weights(shapes), case.cross_head_channels, windows=case.windows).eval()
    assert model.config == config
    with torch.inference_mode():
        video, audio = model(*clip(case), golden["shifts"])
    assert probe(video) == pytest.approx(golden["video"], abs=1e-4 * golden["video_std"])
    assert probe(audio) == pytest.approx(golden["audio"], abs=1e-4 * golden["audio_std"])


def test_the_papers_tensors_have_the_published_names_and_shapes(parity_assets: Path) -> None:
    published = json.loads((parity_assets / "mmdiffusion_state_dict_shapes.json").read_text())
    model = _on_meta(PRESETS["paper"])
    assert shapes_of(model) == published
    assert sum(p.numel() for p in model.parameters()) == 133_675_524


def test_a_new_network_predicts_zero() -> None:
    """Only because the heads start at zero: the streams before them do not."""
    model = MMDiffusion(SMALL)
    video, audio = model(*_inputs())
    assert not video.any()
    assert not audio.any()
    for parameter in model.video_out.parameters():
        torch.nn.init.ones_(parameter)
    assert model(*_inputs())[0].std() > 0


def test_shifts_are_drawn_once_per_block_and_reproducibly() -> None:
    model, inputs = _random(), _inputs()
    drawn = [model(*inputs, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    shifts = model.draw_shifts(4, torch.Generator().manual_seed(5))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert torch.equal(drawn[0][0], model(*inputs, shifts)[0])
    assert torch.equal(drawn[0][0], model(*inputs, shifts.tolist())[0])


def test_shifts_are_uniform_over_every_start_that_fits() -> None:
    model, source = _random(), torch.Generator().manual_seed(0)
    drawn = torch.stack([model.draw_shifts(4, source) for _ in range(1200)])
    for block, window in enumerate(model.windows):
        counts = drawn[:, block].bincount()
        assert len(counts) == 4 - window + 1
        assert (counts / 1200 - 1 / len(counts)).abs().max() < 0.06


def test_every_shift_reaches_its_own_block() -> None:
    model, inputs = _random(), _inputs(1)
    assert model.windows == [1, 2, 2, 2, 1, 1]
    base = model(*inputs, [0] * 6)[1]
    outputs = [model(*inputs, [int(block == number) for block in range(6)])[1] for number in range(6)]
    for number, output in enumerate(outputs):
        assert not torch.allclose(output, base, atol=1e-4)
        assert not any(torch.allclose(output, later, atol=1e-4) for later in outputs[number + 1 :])


def test_without_shift_nothing_is_drawn() -> None:
    model = _random(SMALL.model_copy(update={"cross_attention_shift": False}))
    assert model.windows == []
    torch.testing.assert_close(model(*_inputs())[0], _random()(*_inputs(), [0] * 6)[0])


def test_a_clip_is_the_same_alone_and_in_a_batch() -> None:
    model, (video, audio, timesteps) = _random(), _inputs(3)
    together = model(video, audio, timesteps, SHIFTS)
    for i in range(3):
        alone = model(video[i : i + 1], audio[i : i + 1], timesteps[i : i + 1], SHIFTS)
        for one, many in zip(alone, together, strict=True):
            assert _error(one[0], many[i]) < 1e-4


def test_checkpointing_recomputes_with_the_same_shifts_and_dropout() -> None:
    config = SMALL.model_copy(update={"dropout": 0.3})
    gradients = []
    for checkpointing in (False, True):
        model = _random(config, activation_checkpointing=checkpointing).train()
        torch.manual_seed(3)
        video, audio = model(*_inputs())
        (video.square().mean() + audio.square().mean()).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(kept, again) for kept, again in zip(*gradients, strict=True))


def test_every_parameter_learns() -> None:
    model = _random()
    video, audio = model(*_inputs(), [0] * 6)
    (video.square().mean() + audio.square().mean()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_the_whole_network_compiles_as_one_graph_and_new_shifts_do_not_compile_it_again(training: bool) -> None:
    from torch._dynamo.testing import CompileCounter

    model, counter = _random(SMALL.model_copy(update={"dropout": 0.3})).train(training), CompileCounter()
    compiled, inputs = torch.compile(model, backend=counter, fullgraph=True), _inputs()
    with torch.set_grad_enabled(training):
        for seed in range(3):
            shifts = model.draw_shifts(4, torch.Generator().manual_seed(seed))
            got = compiled(*inputs, shifts)
            assert training or _error(got[0], model(*inputs, shifts)[0]) < 1e-4
    assert counter.frame_count == 1


def test_a_centred_window_has_the_frame_in_its_middle() -> None:
    config = SMALL.model_copy(update={"windows": (1, 3)})
    model, inputs = _random(config), _inputs(1, config)
    assert model.windows == [1, 3, 3, 3, 1, 1]
    assert model.fixed_shifts("ahead") == [0] * 6
    assert model.fixed_shifts("centred") == [0, -1, -1, -1, 0, 0]
    centred, ahead = (model(*inputs, model.fixed_shifts(window))[1] for window in ("centred", "ahead"))
    assert torch.equal(centred, model(*inputs, torch.tensor([0, 3, 3, 3, 0, 0]))[1])
    assert not torch.allclose(centred, ahead, atol=1e-4)


def test_a_network_remembers_nothing_of_the_clips_it_saw() -> None:
    """Also where frames and channels are as many: what is a frame is told by the axis, never by the size."""
    model = _random()
    short, long = _inputs(1), _inputs(1, SMALL.model_copy(update={"video_size": (8, 3, 16, 8), "audio_size": (1, 512)}))
    fresh = model(*long, SHIFTS)
    model(*short, SHIFTS)
    assert torch.equal(model(*long, SHIFTS)[0], fresh[0])
    assert fresh[0].shape == long[0].shape


def test_a_network_in_bfloat16_predicts_nearly_the_same_in_float32_and_so_does_autocast() -> None:
    model, inputs = _random(), _inputs()
    wanted = model(*inputs, SHIFTS)
    with torch.autocast("cpu", torch.bfloat16):
        cast = model(*inputs, SHIFTS)
    for got in (cast, model.bfloat16()(*inputs, SHIFTS)):
        for one, other in zip(got, wanted, strict=True):
            assert one.dtype == torch.float32
            assert 1e-5 < _error(one, other) < 0.2


@pytest.mark.parametrize("resample", ["up", "down"])
def test_dropout_falls_on_every_pixel_also_where_the_resolution_changes(resample: blocks.Resample) -> None:
    """Sampling may repeat after the layers that commute with it; training may not, dropout does not commute."""
    sizes: dict[str, Any] = {"emb_channels": 6, "audio_dilation": 1, "groups": 4, "heads": 2, "resample": resample}
    res = blocks.ResBlock(8, 8, dropout=0.5, **sizes)
    for parameter in res.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    video, audio, emb = noise(1, (1, 2, 8, 8, 8)), noise(2, (1, 64, 8)), noise(3, (1, 6))
    torch.manual_seed(0)
    video, _ = res.train()(video, audio, emb)
    assert not torch.equal(video[:, :, ::2], video[:, :, 1::2])


def test_tiny_is_small_and_couples_the_streams_at_two_levels_and_in_the_middle() -> None:
    config = PRESETS["tiny"]
    model = _on_meta(config)
    assert sum(p.numel() for p in model.parameters()) < 3e6
    assert len(config.cross_attention_resolutions) >= 2
    assert config.middle_cross_attention


@pytest.mark.parametrize("preset", ["tiny", "tiny-uncoupled"])
def test_the_sound_depends_on_the_picture_only_through_cross_attention(preset: str) -> None:
    config = PRESETS[preset].model_copy(update={"video_size": (4, 3, 8, 8), "audio_size": (1, 1024)})
    torch.manual_seed(0)
    model = MMDiffusion(config).eval()
    for parameter in model.parameters():  # a new network's last layers are zero
        torch.nn.init.normal_(parameter, std=0.1)
    video, sound, timesteps = noise(1, (1, 4, 3, 8, 8)), noise(2, (1, 1, 1024)), torch.tensor([500])
    with torch.no_grad():
        one, other = (model(picture, sound, timesteps, [0] * len(model.windows))[1] for picture in (video, -video))
    assert torch.equal(one, other) == (preset == "tiny-uncoupled")
    assert one.abs().max() > 0


@pytest.mark.parametrize(
    ("video", "audio", "batch", "message"),
    [
        ((1, 4, 1, 8, 8), (1, 1, 256), 1, r"video is \(1, 4, 1, 8, 8\); it must be"),
        ((1, 4, 3, 8, 8), (1, 256), 1, r"audio is \(1, 256\); it must be"),
        ((2, 4, 3, 8, 8), (1, 1, 256), 2, "each needs the same batch"),
        ((2, 4, 3, 8, 8), (2, 1, 256), 1, "each needs the same batch"),
        ((1, 4, 3, 9, 8), (1, 1, 256), 1, "9 x 8: both must be multiples of 2"),
        ((1, 4, 3, 8, 8), (1, 1, 254), 1, "254 samples: the number must be a multiple of 4"),
        ((1, 4, 3, 8, 8), (1, 1, 12), 1, "at least 16 are needed"),
        ((1, 1, 3, 8, 8), (1, 1, 256), 1, "1 frames is shorter than the attention window 2"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused(
    video: tuple[int, ...], audio: tuple[int, ...], batch: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _on_meta(SMALL)(torch.zeros(video), torch.zeros(audio), torch.zeros(batch))


def test_shifts_for_a_clip_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(UserError, match="1 frames is shorter than the attention window 2"):
        _on_meta(SMALL).draw_shifts(1)


@pytest.mark.parametrize(
    ("shifts", "message"),
    [([0] * 5, "5 shifts given; this network draws 6"), ([0, 3, 0, 0, 0, 0], "shift 1 is 3; window 2 of 4 frames")],
)
def test_wrong_shifts_are_refused(shifts: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _random()(*_inputs(), shifts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": (1,)}, "must be of one length"),
        ({"norm_groups": 3}, "do not split into 3 groups"),
        ({"attention_heads": 3}, "do not split into 3 heads"),
        ({"cross_head_channels": 16}, "do not split into heads of 16"),
        ({"chanel_mult": (1,)}, "Extra inputs are not permitted"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MMDiffusionConfig(**{**SMALL.model_dump(), **change})
