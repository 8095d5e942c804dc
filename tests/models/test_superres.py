"""The super-resolution U-Net computes the same function as the published one.

Compared with researchmm/MM-Diffusion at 7250222, weights recomputed from tensor names: a small network with its whole
output, and the configurations of superres_golden.json (made by make_superres_golden.py). Largest difference seen:
2.1e-5 standard deviations.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdiffusion_cases import noise, probe, shapes_of, shapes_sha256, weights
from pydantic import ValidationError
from safetensors import safe_open
from superres_cases import CASES, Case, pictures
from torch import Tensor

from avbench.errors import UserError
from avbench.models.superres import PRESETS, SuperRes, SuperResConfig

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("superres_golden.json").read_text())
SMALL = SuperResConfig(
    small_size=4,
    large_size=8,
    model_channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(1,),
    attention_heads=2,
    norm_groups=4,
)


def _config(case: Case) -> SuperResConfig:
    return SuperResConfig(
        small_size=min(case.small),
        large_size=case.height,
        model_channels=case.model_channels,
        channel_mult=case.channel_mult,
        num_res_blocks=case.num_res_blocks,
        attention_resolutions=case.attention,
        attention_heads=case.heads,
    )


def _random(config: SuperResConfig = SMALL, **options: Any) -> SuperRes:
    """A network with no zero in it, so that every block shows in the output."""
    model = SuperRes(config, **options)
    model.load_state_dict(weights(shapes_of(model)))
    return model.eval()


def _inputs(batch: int = 2, config: SuperResConfig = SMALL) -> tuple[Tensor, Tensor, Tensor]:
    large, small = config.large_size, config.small_size
    return noise(1, (batch, 3, large, large)), torch.arange(batch) * 300 + 20, noise(2, (batch, 3, small, small))


def _wide(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights by the rule of the stored outputs: those of ``weights``, kernels and matrices sqrt(2) times as large."""
    return {name: x * (math.sqrt(2) if x.dim() > 1 else 1) for name, x in weights(shapes).items()}


def test_the_output_of_a_small_network_is_the_published_one(parity_assets: Path) -> None:
    with safe_open(parity_assets / "sr_unet_small.safetensors", "pt") as file:
        spec, wanted = json.loads(file.metadata()["spec"]), file.get_tensor("out")
    model = SuperRes.from_published(_wide(spec["state_dict"])).eval()
    with torch.no_grad():
        out = model(noise(5, (2, 3, 64, 64)), torch.tensor([10, 900]), noise(6, (2, 3, 16, 16)))
    assert ((out - wanted).abs().max() / wanted.std()).item() < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_further_configurations_agree_with_the_published_network(name: str) -> None:
    case, golden = CASES[name], GOLDEN[name]
    model = _random(_config(case))
    assert shapes_sha256(shapes_of(model)) == golden["shapes_sha256"]
    noisy, timesteps, low_res = pictures(case)
    with torch.no_grad():
        out = model(noisy, timesteps, low_res)
    assert probe(out) == pytest.approx(golden["out"], abs=1e-4 * golden["out_std"], rel=0)


def test_the_published_size_has_as_many_parameters_as_the_published_model() -> None:
    with torch.device("meta"):
        model = SuperRes(SuperResConfig())
    assert sum(p.numel() for p in model.parameters()) == 311_027_910
    assert PRESETS["paper"] == SuperResConfig()


def test_a_new_network_predicts_zero() -> None:
    noisy, timesteps, low_res = _inputs()
    assert not SuperRes(SMALL)(noisy, timesteps, low_res).any()


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    model = _random()
    noisy, timesteps, low_res = _inputs(3)
    with torch.no_grad():
        together = model(noisy, timesteps, low_res)
        alone = torch.cat([model(noisy[i : i + 1], timesteps[i : i + 1], low_res[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_every_input_changes_the_output() -> None:
    model = _random()
    noisy, timesteps, low_res = _inputs()
    with torch.no_grad():
        out = model(noisy, timesteps, low_res)
        for changed in (
            (noisy + 1, timesteps, low_res),
            (noisy, timesteps + 100, low_res),
            (noisy, timesteps, -low_res),
        ):
            assert (model(*changed) - out).abs().max() > 0.01 * out.std()


def test_gradients_are_those_of_finite_differences() -> None:
    model = _random(SMALL.model_copy(update={"model_channels": 4, "attention_heads": 1, "norm_groups": 2})).double()
    noisy, timesteps, low_res = (x.double() if x.is_floating_point() else x for x in _inputs(1))
    wanted = noise(3, (1, 6, 8, 8)).double()

    def loss() -> Tensor:
        return (model(noisy, timesteps, low_res) * wanted).sum()

    loss().backward()
    step = 1e-5
    for name, parameter in model.named_parameters():
        place = int(parameter.grad.abs().argmax())  # type: ignore[union-attr]
        flat, slope = parameter.data.view(-1), parameter.grad.view(-1)[place].item()  # type: ignore[union-attr]
        with torch.no_grad():
            flat[place] += step
            above = loss().item()
            flat[place] -= 2 * step
            below = loss().item()
            flat[place] += step
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-7), name


def test_recomputing_activations_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model = _random(activation_checkpointing=recompute)
        model(*_inputs()).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_bfloat16_stays_near_float32() -> None:
    model = _random()
    with torch.no_grad():
        exact = model(*_inputs())
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(*_inputs())
    assert rough.dtype == torch.float32
    assert (rough - exact).std() < 0.05 * exact.std()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_channels": 10}, "10 channels of level 0 do not split into 4 groups"),
        ({"attention_heads": 3}, "8 channels of level 0 do not split into 3 heads"),
        ({"large_size": 9}, "large_size = 9 cannot be halved 1 times"),
        ({"small_size": 8}, "small_size = 8 must be below large_size = 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SuperResConfig.model_validate({**SMALL.model_dump(), **change})


PUBLISHED = SuperResConfig(
    model_channels=32, channel_mult=(1, 2, 1), num_res_blocks=2, attention_resolutions=(2,), attention_heads=2
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Tensors of a network whose sizes differ from the published ones wherever a tensor tells them."""
    with torch.device("meta"):
        shapes = shapes_of(SuperRes(PUBLISHED))
    return weights(shapes)


def test_sizes_are_read_from_the_tensors_and_names_of_distributed_training_accepted(tensors: dict[str, Tensor]) -> None:
    model = SuperRes.from_published({f"module.{name}": t for name, t in tensors.items()}, attention_heads=2)
    assert model.config == PUBLISHED
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "name",
    [
        "time_embed.0.weight",
        "input_blocks.1.0.in_layers.2.weight",
        "middle_block.1.qkv.bias",
        "output_blocks.2.1.emb_layers.1.weight",
        "out.2.bias",
    ],
)
def test_a_missing_tensor_is_named(tensors: dict[str, Tensor], name: str) -> None:
    fewer = {key: tensor for key, tensor in tensors.items() if key != name}
    with pytest.raises(UserError, match=f"missing.*{name}|{name} is missing|do not make"):
        SuperRes.from_published(fewer, attention_heads=2)


def test_tensors_of_other_networks_are_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match=r"unexpected label_emb\.weight"):
        SuperRes.from_published({**tensors, "label_emb.weight": torch.zeros(1000, 128)}, attention_heads=2)
    with pytest.raises(UserError, match=r"misshapen out\.2\.bias \(3,\) instead of \(6,\)"):
        SuperRes.from_published({**tensors, "out.2.bias": torch.zeros(3)}, attention_heads=2)
    with pytest.raises(UserError, match="is this the super-resolution U-Net"):
        SuperRes.from_published({"conv1.weight": torch.zeros(64, 3, 7, 7)})
