"""Sizes of the super-resolution network: the presets that ship, and those read from a published checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from avbench.errors import UserError
from avbench.recipe import Strict, parse

_WHERE = "super-resolution checkpoint"


class SuperResConfig(Strict):
    """Everything that determines the network. The defaults are the published model's: 311,027,910 parameters.

    Attributes:
        small_size: Width and height of the pictures that are given, pixels.
        large_size: Width and height of the pictures that are made. The network itself takes any size that its levels
            divide.
        model_channels: Width that ``channel_mult`` multiplies.
        channel_mult: Width of each level; each level halves the picture.
        num_res_blocks: Res stages per level on the way down (one more on the way up).
        attention_resolutions: Where Res is followed by self-attention, counted as in the published code: 1 is the
            input, 2 the first level below it.
        attention_heads: Heads of the self-attention.
        norm_groups: Groups of every GroupNorm.
        dropout: Dropout before the last convolution of a Res.
    """

    small_size: PositiveInt = 64
    large_size: PositiveInt = 256
    model_channels: PositiveInt = 192
    channel_mult: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1, 1, 2, 2, 4, 4)
    num_res_blocks: PositiveInt = 2
    attention_resolutions: tuple[PositiveInt, ...] = (8, 16, 32)
    attention_heads: PositiveInt = 4
    norm_groups: PositiveInt = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(round(self.model_channels * mult) for mult in self.channel_mult)

    @model_validator(mode="after")
    def _consistent(self) -> SuperResConfig:
        last = len(self.channel_mult) - 1
        for level, channels in enumerate(self.level_channels):
            if channels % self.norm_groups:
                raise ValueError(f"{channels} channels of level {level} do not split into {self.norm_groups} groups")
            attends = 2**level in self.attention_resolutions or level == last
            if attends and channels % self.attention_heads:
                raise ValueError(f"{channels} channels of level {level} do not split into {self.attention_heads} heads")
        if self.large_size % 2**last:
            raise ValueError(f"large_size = {self.large_size} cannot be halved {last} times")
        if self.small_size >= self.large_size:
            raise ValueError(f"small_size = {self.small_size} must be below large_size = {self.large_size}")
        return self


PRESETS = {
    "tiny": SuperResConfig(
        small_size=32,
        large_size=64,
        model_channels=16,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(4,),
        attention_heads=2,
        norm_groups=8,
    ),
    "paper": SuperResConfig(),
}
"""`tiny` doubles the clips of the tiny MM-Diffusion within minutes on a CPU; `paper` is the published model."""


def config_of(tensors: Mapping[str, Tensor], *, attention_heads: int, dropout: float) -> SuperResConfig:
    """Infer the configuration; the two picture sizes, which no tensor tells, keep the published values.

    Raises:
        UserError: A tensor that tells a size is missing, or the tensors are those of another network.
    """
    levels = 1 + sum(1 for name in tensors if re.fullmatch(r"output_blocks\.\d+\.[12]\.emb_layers\.1\.weight", name))
    stages = len({name.split(".")[1] for name in tensors if name.startswith("input_blocks.")})
    if stages < 2 * levels or stages % levels:
        raise UserError(
            f"{_WHERE}: {stages} input blocks do not make {levels} levels; is this the super-resolution U-Net?"
        )
    per_level = stages // levels
    first = [1 + level * per_level for level in range(levels)]
    width = _channels(tensors, "time_embed.0.weight", axis=1)
    channels = [_channels(tensors, f"input_blocks.{n}.0.in_layers.2.weight") for n in first]
    data = {
        "model_channels": width,
        "channel_mult": tuple(count / width for count in channels),
        "num_res_blocks": per_level - 1,
        "attention_resolutions": tuple(
            2**level for level, n in enumerate(first) if f"input_blocks.{n}.1.qkv.weight" in tensors
        ),
        "attention_heads": attention_heads,
        "dropout": dropout,
    }
    return parse(data, SuperResConfig, _WHERE)


def _channels(tensors: Mapping[str, Tensor], name: str, axis: int = 0) -> int:
    if name not in tensors or tensors[name].dim() <= axis:
        raise UserError(f"{_WHERE}: tensor {name} is missing")
    return int(tensors[name].shape[axis])
