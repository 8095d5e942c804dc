"""Read the sizes of an MM-Diffusion network from the names and shapes of a published checkpoint's tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from avbench.errors import UserError
from avbench.models._mmdiffusion_config import MMDiffusionConfig
from avbench.recipe import parse

_WHERE = "MM-Diffusion checkpoint"
_NAMED = 3
"""Tensors named in an error message; more are counted."""


def stripped(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the ``module.`` that distributed training leaves before every name."""
    return {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}


def is_super_resolution(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of the 64 -> 256 super-resolution network, whose first layer is one convolution.

    Raises:
        UserError: They are those of neither network of MM-Diffusion.
    """
    if any(name.startswith("input_blocks.0.0.video_conv.") for name in tensors):
        return False
    if "input_blocks.0.0.weight" in tensors:
        return True
    raise UserError(
        f"{_WHERE}: no tensor is called input_blocks.0.0.video_conv... or input_blocks.0.0.weight, so this is neither "
        f"the coupled U-Net nor its super-resolution network; its first tensors are {_listed(list(tensors))}"
    )


def config_of(
    tensors: Mapping[str, Tensor],
    *,
    cross_head_channels: int,
    windows: Sequence[int] | None,
    attention_heads: int,
    dropout: float,
) -> MMDiffusionConfig:
    """Infer the configuration; clip length and size, which no tensor tells, keep the paper's values.

    Raises:
        UserError: A tensor that tells a size is missing, or windows must be given.
    """
    levels = 1 + sum(1 for name in tensors if re.fullmatch(r"output_blocks\.\d+\.[12]\.emb_layers\.1\.weight", name))
    stages = len({name.split(".")[1] for name in tensors if name.startswith("input_blocks.")})
    if stages < 2 * levels or stages % levels:
        raise UserError(f"{_WHERE}: {stages} input blocks do not make {levels} levels; is this the coupled U-Net?")
    per_level = stages // levels
    first = [1 + level * per_level for level in range(levels)]
    width = _shape(tensors, "time_embed.0.weight")[0]
    channels = [_shape(tensors, f"input_blocks.{n}.0.video_in_layers.2.video_conv_spatial.weight")[0] for n in first]
    crossing = _resolutions(tensors, [f"input_blocks.{n}.1." for n in first])
    middle = any(name.startswith("middle_blocks.2.") for name in tensors)
    stem = "input_blocks.0.0."
    data = {
        "video_size": (16, _shape(tensors, f"{stem}video_conv.video_conv_spatial.weight")[1], 64, 64),
        "audio_size": (_shape(tensors, f"{stem}audio_conv.audio_conv.weight")[1], 25600),
        "model_channels": width,
        "channel_mult": tuple(count / width for count in channels),
        "num_res_blocks": per_level - 1,
        "cross_attention_resolutions": crossing,
        "windows": _windows(windows, crossing, middle),
        "middle_cross_attention": middle,
        "cross_head_channels": cross_head_channels,
        "video_attention_resolutions": _resolutions(tensors, [f"input_blocks.{n}.0.spatial_" for n in first]),
        "audio_attention_resolutions": _resolutions(tensors, [f"input_blocks.{n}.0.audio_attention_" for n in first]),
        "attention_heads": attention_heads,
        "dropout": dropout,
    }
    return parse(data, MMDiffusionConfig, _WHERE)


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare names and shapes.

    Raises:
        UserError: They differ; the message names the tensors.
    """
    both = found.keys() & wanted.keys()
    faults = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "misshapen": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in sorted(both)
            if found[name].shape != wanted[name].shape
        ],
    }
    parts = [f"{kind} {_listed(names)}" for kind, names in faults.items() if names]
    if parts:
        raise UserError(f"{_WHERE}: its tensors are not those of the network: {'; '.join(parts)}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise UserError(f"{_WHERE}: tensor {name} is missing")
    return tuple(tensors[name].shape)


def _resolutions(tensors: Mapping[str, Tensor], prefixes: Sequence[str]) -> tuple[int, ...]:
    """Resolutions (1, 2, 4, ...) of the levels for whose prefix there is any tensor."""
    return tuple(2**level for level, prefix in enumerate(prefixes) if any(n.startswith(prefix) for n in tensors))


def _windows(given: Sequence[int] | None, crossing: Sequence[int], middle: bool) -> tuple[int, ...]:
    """The windows given, or those that the published code's rule for the middle implies."""
    if given is not None:
        return tuple(given)
    if not crossing:
        return ()
    if middle and len(crossing) == 3:
        return (1, 4, 8)
    raise UserError(
        f"{_WHERE}: its tensors do not tell the cross-attention windows; give `windows`, one per level of "
        f"{tuple(crossing)}"
    )
