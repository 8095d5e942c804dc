"""Loading a published checkpoint: sizes come from the tensors, and what does not fit is named."""

from __future__ import annotations

import pytest
import torch
from mmdiffusion_cases import shapes_of, weights
from torch import Tensor

from avbench.errors import UserError
from avbench.models.mmdiffusion import MMDiffusion, MMDiffusionConfig

CONFIG = MMDiffusionConfig(
    model_channels=32,
    channel_mult=(1, 2, 3, 1),
    num_res_blocks=1,
    cross_head_channels=16,
    audio_attention_resolutions=(4,),
    video_attention_resolutions=(2, 8),
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Tensors of a network whose sizes differ from the paper's wherever a tensor tells them."""
    with torch.device("meta"):
        shapes = shapes_of(MMDiffusion(CONFIG))
    return weights(shapes)


def _refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MMDiffusion.from_published(tensors, 16)


def test_sizes_are_read_from_the_tensors(tensors: dict[str, Tensor]) -> None:
    model = MMDiffusion.from_published(tensors, 16)
    assert model.config == CONFIG
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())


def test_the_checkpoint_stays_the_callers(tensors: dict[str, Tensor]) -> None:
    model = MMDiffusion.from_published(tensors, 16)
    model.time_embed[0].weight.data.zero_()
    assert tensors["time_embed.0.weight"].any()


def test_names_of_distributed_training_and_half_precision_are_accepted(tensors: dict[str, Tensor]) -> None:
    model = MMDiffusion.from_published({f"module.{name}": t.half() for name, t in tensors.items()}, 16)
    assert model.time_embed[0].weight.dtype == torch.float32
    torch.testing.assert_close(model.time_embed[0].weight, tensors["time_embed.0.weight"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "time_embed.0.weight",
        "input_blocks.0.0.audio_conv.audio_conv.weight",
        "input_blocks.2.0.emb_layers.1.bias",
        "input_blocks.3.1.v_qkv.weight",
        "middle_blocks.1.a_norm.GroupNorm.bias",
        "output_blocks.1.2.video_in_layers.0.GroupNorm.weight",
        "audio_out.2.audio_conv.bias",
    ],
)
def test_a_missing_tensor_is_named(tensors: dict[str, Tensor], name: str) -> None:
    _refused({key: tensor for key, tensor in tensors.items() if key != name}, f"missing.*{name}|{name} is missing")


def test_tensors_too_many_are_named_and_counted(tensors: dict[str, Tensor]) -> None:
    more = {f"label_emb.{i}": torch.zeros(1) for i in range(5)}
    _refused({**tensors, **more}, r"unexpected label_emb\.0, label_emb\.1, label_emb\.2 and 2 more")


def test_a_misshapen_tensor_is_named_with_both_shapes(tensors: dict[str, Tensor]) -> None:
    changed = {**tensors, "video_out.2.video_conv.bias": torch.zeros(6)}
    _refused(changed, r"misshapen video_out\.2\.video_conv\.bias \(6,\) instead of \(3,\)")


def test_a_checkpoint_of_another_network_is_refused() -> None:
    _refused({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "0 input blocks do not make 1 levels")


def test_heads_that_do_not_fit_are_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="do not split into heads of 64"):
        MMDiffusion.from_published(tensors, 64)


def test_windows_must_be_given_where_nothing_implies_them() -> None:
    config = CONFIG.model_copy(
        update={"channel_mult": (1, 1), "middle_cross_attention": False, "windows": (2,)}
        | {"cross_attention_resolutions": (2,), "video_attention_resolutions": (), "audio_attention_resolutions": ()}
    )
    with torch.device("meta"):
        tensors = weights(shapes_of(MMDiffusion(config)))
    _refused(tensors, r"give `windows`, one per level of \(2,\)")
    assert MMDiffusion.from_published(tensors, 16, windows=(2,)).config == config
    with pytest.raises(UserError, match="must be of one length"):
        MMDiffusion.from_published(tensors, 16, windows=(2, 4))
