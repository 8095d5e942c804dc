"""Super-resolution of MM-Diffusion: a U-Net that makes each frame larger, by diffusion, from the small frame.

MM-Diffusion (arXiv 2212.09478, section 3.4) makes 64x64 clips and enlarges their frames to 256x256 with the image U-Net
of ADM (Dhariwal & Nichol, arXiv 2105.05233): it sees the noisy large picture beside the small one enlarged bilinearly,
and gives the noise and how to interpolate its variance (Nichol & Dhariwal, arXiv 2102.09672, equation 15;
`avbench.diffusion.learned_variance`). Its state_dict is that of the published checkpoints.

    [noisy, enlarged] -> stem -> levels: [Res, attention] x n, Res down -> middle -> levels in reverse, Res up -> head
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.models._coupled_blocks import Resample, timestep_embedding, zeroed
from avbench.models._mmdiffusion_published import check_tensors, stripped
from avbench.models._superres_blocks import Attention, Conv, Norm, ResBlock
from avbench.models._superres_config import PRESETS, SuperResConfig, config_of
from avbench.models.bfloat16 import checkpoint

__all__ = ["PRESETS", "SuperRes", "SuperResConfig"]

_RGB = 3


class Stage(nn.ModuleList):
    """One numbered block of the U-Net: the stem or a Res, then perhaps attention, then perhaps a Res that doubles."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Run the layers in order on pictures (N, H, W, C)."""
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class SuperRes(nn.Module):
    """The image U-Net.

    Args:
        config: Sizes.
        activation_checkpointing: Recompute each stage in the backward pass instead of keeping its activations.
    """

    def __init__(self, config: SuperResConfig, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = activation_checkpointing
        width, base = config.model_channels, config.level_channels[0]
        self.time_embed = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
        builder = _Builder(config)
        self.input_blocks = nn.ModuleList(builder.down())
        self.middle_block = builder.middle()
        self.output_blocks = nn.ModuleList(builder.up())
        self.out = nn.Sequential(Norm(config.norm_groups, base), nn.SiLU(), zeroed(Conv(base, 2 * _RGB)))

    @classmethod
    def from_published(
        cls, state_dict: Mapping[str, Tensor], *, attention_heads: int = 4, dropout: float = 0.0
    ) -> SuperRes:
        """Build the network of a published checkpoint and load it.

        The keyword arguments are what no tensor tells; every other size is read from the tensors.

        Args:
            state_dict: Tensors by name; a ``module.`` prefix is removed.
            attention_heads: Heads of the self-attention.
            dropout: Dropout, for training on.

        Returns:
            The network in float32 on the CPU, in training mode as any new module.

        Raises:
            UserError: Tensors are missing, too many or misshapen; the message names them.
        """
        tensors = stripped(state_dict)
        config = config_of(tensors, attention_heads=attention_heads, dropout=dropout)
        with torch.device("meta"):
            model = cls(config)
        check_tensors(tensors, model.state_dict())
        model.to_empty(device="cpu")
        model.load_state_dict(tensors)
        return model

    def forward(self, noisy: Tensor, timesteps: Tensor, low_res: Tensor) -> Tensor:
        """Predict the noise and the variance of noisy pictures.

        Args:
            noisy: (N, 3, H, W), the large pictures at time t.
            timesteps: (N,), t in [0, 1000).
            low_res: (N, 3, h, w) in [-1, 1], the small pictures, of any size.

        Returns:
            (N, 6, H, W) in the type of ``noisy``: the noise, then the interpolation between the two variances in
            [-1, 1] (nothing bounds it). The computation has the type of the weights, or autocast's.
        """
        dtype = next(self.time_embed.parameters()).dtype
        enlarged = F.interpolate(low_res.to(noisy.dtype), noisy.shape[2:], mode="bilinear", align_corners=False)
        emb = self.time_embed(timestep_embedding(timesteps, self.config.model_channels).to(dtype))
        h = torch.cat([noisy, enlarged], 1).to(dtype).permute(0, 2, 3, 1)
        kept = []
        for stage in self.input_blocks:
            h = self._run(stage, h, emb)
            kept.append(h)
        h = self._run(self.middle_block, h, emb)
        for stage in self.output_blocks:
            h = self._run(stage, torch.cat([h, kept.pop()], -1), emb)
        out: Tensor = self.out(h)
        return out.permute(0, 3, 1, 2).to(noisy.dtype).contiguous()

    def _run(self, stage: nn.Module, h: Tensor, emb: Tensor) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            result: Tensor = checkpoint(stage, h, emb)
            return result
        moved: Tensor = stage(h, emb)
        return moved


class _Builder:
    """Makes the stages in order; remembers the widths that the way up takes from the way down."""

    def __init__(self, config: SuperResConfig) -> None:
        self.config = config
        self.widths = [config.level_channels[0]]

    def _res(self, in_channels: int, out_channels: int, how: Resample = "keep") -> ResBlock:
        config = self.config
        return ResBlock(
            in_channels,
            out_channels,
            emb_channels=4 * config.model_channels,
            groups=config.norm_groups,
            dropout=config.dropout,
            how=how,
        )

    def _attention(self, channels: int) -> Attention:
        return Attention(channels, self.config.attention_heads, self.config.norm_groups)

    def _attends(self, level: int) -> bool:
        return 2**level in self.config.attention_resolutions

    def down(self) -> Iterator[Stage]:
        """The stem, then every level but for the Res that leaves the last one."""
        yield Stage([Conv(2 * _RGB, self.widths[-1])])
        for level, channels in enumerate(self.config.level_channels):
            for _ in range(self.config.num_res_blocks):
                stage = Stage([self._res(self.widths[-1], channels)])
                if self._attends(level):
                    stage.append(self._attention(channels))
                self.widths.append(channels)
                yield stage
            if level + 1 < len(self.config.level_channels):
                self.widths.append(channels)
                yield Stage([self._res(channels, channels, "down")])

    def middle(self) -> Stage:
        """Res, attention, Res."""
        channels = self.widths[-1]
        return Stage([self._res(channels, channels), self._attention(channels), self._res(channels, channels)])

    def up(self) -> Iterator[Stage]:
        """Every level from the last to the first; each Res takes the picture kept on the way down."""
        before = self.widths[-1]
        for level, channels in reversed(list(enumerate(self.config.level_channels))):
            for number in range(self.config.num_res_blocks + 1):
                stage = Stage([self._res(before + self.widths.pop(), channels)])
                if self._attends(level):
                    stage.append(self._attention(channels))
                if level and number == self.config.num_res_blocks:
                    stage.append(self._res(channels, channels, "up"))
                before = channels
                yield stage
