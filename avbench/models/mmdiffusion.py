"""MM-Diffusion: two coupled U-Nets predict the noise of a video and of its sound together.

Ruan et al., "MM-Diffusion: Learning Multi-Modal Diffusion Models for Joint Audio and Video Generation", CVPR 2023,
arXiv 2212.09478. The network computes (eps_v, eps_a) = eps_theta(v_t, a_t, t), one timestep t for both modalities. It
is written from the paper's description; its state_dict is that of the published checkpoints (repository
researchmm/MM-Diffusion), so their files load directly.

    clip -> stem -> levels: [Res + attention + RS-MMA] x n, Res down -> middle -> levels in reverse, Res up -> heads
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from avbench.errors import UserError
from avbench.models import _mmdiffusion_published as published
from avbench.models._coupled_blocks import (
    Activated,
    AudioConv,
    CrossAttention,
    GroupNorm,
    Resample,
    ResBlock,
    Stem,
    VideoHead,
    timestep_embedding,
    zeroed,
)
from avbench.models._mmdiffusion_config import PRESETS, MMDiffusionConfig
from avbench.models.bfloat16 import checkpoint

__all__ = ["PRESETS", "MMDiffusion", "MMDiffusionConfig"]

_DILATION_CYCLE = 10
"""Audio dilations are 2^0 ... 2^9, then start again."""


class Stage(nn.ModuleList):
    """One numbered block of the U-Net: a stem or Res, then perhaps an RS-MMA, then perhaps a Res that up-samples."""

    @property
    def cross(self) -> CrossAttention | None:
        """The RS-MMA of this stage, if it has one."""
        return next((layer for layer in self if isinstance(layer, CrossAttention)), None)

    def forward(self, video: Tensor, audio: Tensor, emb: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the layers in order; ``shift`` goes to the RS-MMA."""
        for layer in self:
            if isinstance(layer, ResBlock):
                video, audio = layer(video, audio, emb)
            elif isinstance(layer, CrossAttention):
                video, audio = layer(video, audio, shift)
            else:
                video, audio = layer(video, audio)
        return video, audio


class MMDiffusion(nn.Module):
    """The coupled U-Net.

    Args:
        config: Sizes.
        activation_checkpointing: Recompute each stage in the backward pass instead of keeping its activations; the
            recomputation sees the same shifts and the same dropout.
    """

    def __init__(self, config: MMDiffusionConfig, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = activation_checkpointing
        width = config.model_channels
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        builder = _Builder(config)
        self.input_blocks = nn.ModuleList(builder.down())
        self.middle_blocks = builder.middle()
        self.output_blocks = nn.ModuleList(builder.up())
        base, groups = config.level_channels[0], config.norm_groups
        self.audio_out = Activated(GroupNorm(groups, base), nn.SiLU(), zeroed(AudioConv(base, config.audio_size[0])))
        self.video_out = Activated(GroupNorm(groups, base), nn.SiLU(), zeroed(VideoHead(base, config.video_size[1])))

    @classmethod
    def from_published(
        cls,
        state_dict: Mapping[str, Tensor],
        cross_head_channels: int = 64,
        *,
        windows: Sequence[int] | None = None,
        attention_heads: int = 4,
        dropout: float = 0.1,
    ) -> MMDiffusion:
        """Build the network of a published checkpoint and load it.

        The keyword arguments are what no tensor tells; their defaults are those of the published models. Every other
        size is read from the tensors.

        Args:
            state_dict: Tensors by name; a ``module.`` prefix is removed.
            cross_head_channels: Channels per head of the cross-attention.
            windows: Window of each level with cross-attention; None is (1, 4, 8), which the published code implies
                where the middle couples the streams.
            attention_heads: Heads of the self-attention.
            dropout: Dropout, for training on.

        Returns:
            The network in float32 on the CPU, in training mode as any new module.

        Raises:
            UserError: Tensors are missing, too many or misshapen (the message names them), or ``windows`` is needed.
        """
        tensors = published.stripped(state_dict)
        config = published.config_of(
            tensors,
            cross_head_channels=cross_head_channels,
            windows=windows,
            attention_heads=attention_heads,
            dropout=dropout,
        )
        with torch.device("meta"):
            model = cls(config)
        published.check_tensors(tensors, model.state_dict())
        model.to_empty(device="cpu")
        model.load_state_dict(tensors)
        return model

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        timesteps: Tensor,
        shifts: Sequence[int] | Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the noise in a noisy clip.

        Args:
            video: (B, T, C, H, W), in the scale of training ([-1, 1] plus noise).
            audio: (B, C, L), likewise.
            timesteps: (B,), integer or fractional, in units of training steps.
            shifts: One shift R per RS-MMA that draws one, in order of execution (``len(model.windows)`` of them); None
                draws them, as published, also for sampling; `fixed_shifts` gives windows that stay. The range of a
                tensor is not checked (that would wait for the device), and a compiled network takes new values without
                compiling again.
            generator: Draws the shifts; None is torch's global CPU generator.

        Returns:
            Predicted noise of the video (B, T, C, H, W) and of the audio (B, C, L), in the type of the inputs. The
            computation has the type of the weights, or autocast's.

        Raises:
            UserError: A shape that the network cannot take, or shifts out of range.
        """
        self._check_clip(video, audio, timesteps)
        if shifts is None:
            shifts = self.draw_shifts(video.shape[1], generator)
        shift = iter(self._shift_tensor(shifts, video.shape[1]).to(video.device).unbind())
        dtype = next(self.time_embed.parameters()).dtype
        emb = self.time_embed(timestep_embedding(timesteps, self.config.model_channels).to(dtype))
        wanted = video.dtype, audio.dtype
        video = video.to(dtype).permute(0, 1, 3, 4, 2).contiguous()
        # strides (..., 1, 1) where it has one channel: others make the first convolution leave channels-last memory
        audio = audio.to(dtype).transpose(1, 2).flatten(1).unflatten(1, (-1, audio.shape[1]))
        skips = []
        for stage in self.input_blocks:
            video, audio = self._run(stage, video, audio, emb, shift)
            skips.append((video, audio))
        video, audio = self._run(self.middle_blocks, video, audio, emb, shift)
        for stage in self.output_blocks:
            video_skip, audio_skip = skips.pop()
            video, audio = torch.cat([video, video_skip], -1), torch.cat([audio, audio_skip], -1)
            video, audio = self._run(stage, video, audio, emb, shift)
        video, audio = self.video_out(video), self.audio_out(audio)
        video, audio = video.permute(0, 1, 4, 2, 3).to(wanted[0]), audio.transpose(1, 2).to(wanted[1])
        return video.contiguous(), audio.contiguous()

    @property
    def windows(self) -> list[int]:
        """Window S of every RS-MMA that draws a shift, in order of execution."""
        stages = [*self.input_blocks, self.middle_blocks, *self.output_blocks]
        blocks = [stage.cross for stage in stages]
        return [block.window for block in blocks if block is not None and block.shifted and block.window is not None]

    def draw_shifts(self, frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw one shift R, uniform in {0, ..., frames - S}, per RS-MMA that takes one.

        Args:
            frames: Frames F of the clip.
            generator: Source of randomness; None is torch's global CPU generator.

        Returns:
            int64 (number of blocks,), on the generator's device.

        Raises:
            UserError: The clip has fewer frames than a window.
        """
        self._check_frames(frames)
        device = "cpu" if generator is None else generator.device
        drawn = [torch.randint(frames - window + 1, (), generator=generator, device=device) for window in self.windows]
        return torch.stack(drawn) if drawn else torch.zeros(0, dtype=torch.int64)

    def fixed_shifts(self, window: Literal["ahead", "centred"]) -> list[int]:
        """Shifts for `forward` that do not change from call to call.

        Args:
            window: "ahead" is R = 0, where frame i sees the sound from frame i on; "centred" puts frame i in the middle
                of its window (one segment earlier than the middle where S is even). Both wrap at the ends of the clip.
                Training draws R >= 0 only, so that a trained network has seen "ahead", but "centred" for S < 3 alone.

        Returns:
            One shift per RS-MMA that takes one.
        """
        return [0 if window == "ahead" else -((size - 1) // 2) for size in self.windows]

    def _shift_tensor(self, shifts: Sequence[int] | Tensor, frames: int) -> Tensor:
        """Check given shifts (their range only where that costs no device synchronisation)."""
        windows = self.windows
        if len(shifts) != len(windows):
            raise UserError(f"{len(shifts)} shifts given; this network draws {len(windows)}")
        if isinstance(shifts, Tensor):
            return shifts
        for number, (shift, window) in enumerate(zip(shifts, windows, strict=True)):
            least = -((window - 1) // 2)
            if not least <= shift <= frames - window:
                raise UserError(
                    f"shift {number} is {shift}; window {window} of {frames} frames takes {least} to {frames - window}"
                )
        return torch.tensor(list(shifts), dtype=torch.int64)

    def _check_frames(self, frames: int) -> None:
        """Refuse a clip in which a window would see the same segment twice."""
        longest = max(self.config.windows, default=0)
        if frames < longest:
            raise UserError(f"a clip of {frames} frames is shorter than the attention window {longest}")

    def _check_clip(self, video: Tensor, audio: Tensor, timesteps: Tensor) -> None:
        """Refuse shapes that would fail deep inside, or silently broadcast."""
        (_, channels, _, _), (audio_channels, _) = self.config.video_size, self.config.audio_size
        halvings = len(self.config.channel_mult) - 1
        if video.ndim != 5 or video.shape[2] != channels:
            raise UserError(f"video is {tuple(video.shape)}; it must be (batch, frames, {channels}, height, width)")
        if audio.ndim != 3 or audio.shape[1] != audio_channels:
            raise UserError(f"audio is {tuple(audio.shape)}; it must be (batch, {audio_channels}, samples)")
        if timesteps.shape != video.shape[:1] or audio.shape[0] != video.shape[0]:
            sizes = f"{video.shape[0]} videos, {audio.shape[0]} sounds and timesteps {tuple(timesteps.shape)}"
            raise UserError(f"{sizes} do not belong together; each needs the same batch")
        self._check_frames(video.shape[1])
        if video.shape[3] % 2**halvings or video.shape[4] % 2**halvings:
            raise UserError(f"video of {video.shape[3]} x {video.shape[4]}: both must be multiples of {2**halvings}")
        if audio.shape[2] % 4**halvings:
            raise UserError(f"audio of {audio.shape[2]} samples: the number must be a multiple of {4**halvings}")
        if audio.shape[2] // 4**halvings < video.shape[1]:
            least = video.shape[1] * 4**halvings
            raise UserError(f"{audio.shape[2]} audio samples for {video.shape[1]} frames; at least {least} are needed")

    def _run(
        self, stage: nn.Module, video: Tensor, audio: Tensor, emb: Tensor, shift: Iterator[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run one stage, giving it the next shift if it takes one."""
        assert isinstance(stage, Stage)
        drawn = next(shift) if stage.cross is not None and stage.cross.shifted else None
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, video, audio, emb, drawn)
        return stage(video, audio, emb, drawn)


class _Builder:
    """Lays out the stages: the channels they carry, the audio dilation and the resolution."""

    def __init__(self, config: MMDiffusionConfig) -> None:
        self.config = config
        self.channels = config.level_channels[0]
        self.skips: list[int] = []
        self.dilation_step = 1

    def down(self) -> Iterator[Stage]:
        """Stem, then per level its Res stages and, but for the last level, a Res that halves the resolution."""
        config = self.config
        self.skips.append(self.channels)
        yield Stage([Stem(config.video_size[1], config.audio_size[0], self.channels)])
        for level, channels in enumerate(config.level_channels):
            for _ in range(config.num_res_blocks):
                yield Stage(self._level_layers(level, self.channels, channels))
                self._after_down(channels)
            if level < len(config.level_channels) - 1:
                yield Stage([self._res(channels, channels, resample="down")])
                self._after_down(channels)

    def middle(self) -> Stage:
        """Res, perhaps RS-MMA over the whole clip without a shift, Res; both Res attend in both streams."""
        first, last = (self._res(self.channels, self.channels, video=True, audio=True) for _ in range(2))
        self.dilation_step -= 1
        if not self.config.middle_cross_attention:
            return Stage([first, last])
        return Stage([first, self._cross(self.channels, None, shifted=False), last])

    def up(self) -> Iterator[Stage]:
        """Per level in reverse: Res stages on the concatenated skips; the last of a level doubles the resolution."""
        for level in reversed(range(len(self.config.level_channels))):
            channels = self.config.level_channels[level]
            for number in range(self.config.num_res_blocks + 1):
                layers = self._level_layers(level, self.channels + self.skips.pop(), channels)
                self.dilation_step -= 1
                if level and number == self.config.num_res_blocks:
                    layers.append(self._res(channels, channels, resample="up"))
                self.channels = channels
                yield Stage(layers)

    def _after_down(self, channels: int) -> None:
        self.channels = channels
        self.skips.append(channels)
        self.dilation_step += 1

    def _level_layers(self, level: int, in_channels: int, out_channels: int) -> list[nn.Module]:
        """Res of a level and, where its resolution has one, its RS-MMA."""
        config, scale = self.config, 2**level
        video, audio = scale in config.video_attention_resolutions, scale in config.audio_attention_resolutions
        layers: list[nn.Module] = [self._res(in_channels, out_channels, video=video, audio=audio)]
        if scale in config.cross_attention_resolutions:
            window = config.windows[config.cross_attention_resolutions.index(scale)]
            layers.append(self._cross(out_channels, window, shifted=config.cross_attention_shift))
        return layers

    def _res(
        self,
        in_channels: int,
        out_channels: int,
        *,
        resample: Resample = "keep",
        video: bool = False,
        audio: bool = False,
    ) -> ResBlock:
        return ResBlock(
            in_channels,
            out_channels,
            emb_channels=self.config.model_channels,
            audio_dilation=2 ** (self.dilation_step % _DILATION_CYCLE),
            groups=self.config.norm_groups,
            heads=self.config.attention_heads,
            dropout=self.config.dropout,
            resample=resample,
            video_attention=video,
            audio_attention=audio,
        )

    def _cross(self, channels: int, window: int | None, *, shifted: bool) -> CrossAttention:
        heads = channels // self.config.cross_head_channels
        return CrossAttention(channels, heads, self.config.norm_groups, window, shifted)
