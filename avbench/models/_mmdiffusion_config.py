"""Sizes of MM-Diffusion, and those that ship."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from avbench.recipe import Strict


class MMDiffusionConfig(Strict):
    """Everything that determines the network. The defaults are the paper's (arXiv 2212.09478), 133,675,524 parameters.

    "Resolution" counts as in the published code: 1 is the input, 2 the first level below it.

    Attributes:
        video_size: Frames, channels, height, width of a training clip. The network itself takes any number of frames,
            and any size that its levels divide.
        audio_size: Channels and samples of a training clip.
        model_channels: Width that ``channel_mult`` multiplies, and width of the time embedding.
        channel_mult: Width of each level. Each level halves the picture and quarters the sound.
        num_res_blocks: Res stages per level on the way down (one more on the way up).
        cross_attention_resolutions: Where RS-MMA follows each Res.
        windows: Window of RS-MMA at each of these, frames.
        cross_attention_shift: Draw a random shift per RS-MMA and forward pass. Without it each frame attends to its own
            sound.
        middle_cross_attention: Couple the streams in the middle, over the whole clip. The published code does so only
            for windows 1, 4, 8.
        cross_head_channels: Channels per head of RS-MMA.
        video_attention_resolutions: Where Res ends with spatial and temporal self-attention of the video.
        audio_attention_resolutions: Where Res ends with self-attention of the audio.
        attention_heads: Heads of the self-attention.
        norm_groups: Groups of every GroupNorm.
        dropout: Dropout before the last convolution of a Res.
        fps: Frames per second of a training clip. The network does not know it; its clips are written with it.
        sample_rate_hz: Audio rate of a training clip, likewise.
    """

    video_size: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (16, 3, 64, 64)
    audio_size: tuple[PositiveInt, PositiveInt] = (1, 25600)
    model_channels: PositiveInt = 128
    channel_mult: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1, 2, 3, 4)
    num_res_blocks: PositiveInt = 2
    cross_attention_resolutions: tuple[PositiveInt, ...] = (2, 4, 8)
    windows: tuple[PositiveInt, ...] = (1, 4, 8)
    cross_attention_shift: bool = True
    middle_cross_attention: bool = True
    cross_head_channels: PositiveInt = 64
    video_attention_resolutions: tuple[PositiveInt, ...] = (2, 4, 8)
    audio_attention_resolutions: tuple[PositiveInt, ...] = ()
    attention_heads: PositiveInt = 4
    norm_groups: PositiveInt = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    fps: PositiveFloat = 10.0
    sample_rate_hz: PositiveInt = 16000

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(round(self.model_channels * mult) for mult in self.channel_mult)

    @model_validator(mode="after")
    def _consistent(self) -> MMDiffusionConfig:
        if len(self.windows) != len(self.cross_attention_resolutions):
            raise ValueError(
                f"windows = {self.windows} and cross_attention_resolutions = {self.cross_attention_resolutions} "
                "must be of one length"
            )
        for level, channels in enumerate(self.level_channels):
            if channels % self.norm_groups:
                raise ValueError(f"{channels} channels of level {level} do not split into {self.norm_groups} groups")
            attends = 2**level in (*self.video_attention_resolutions, *self.audio_attention_resolutions)
            last = level == len(self.channel_mult) - 1
            if (attends or last) and channels % self.attention_heads:
                raise ValueError(f"{channels} channels of level {level} do not split into {self.attention_heads} heads")
            crosses = 2**level in self.cross_attention_resolutions or (last and self.middle_cross_attention)
            if crosses and channels % self.cross_head_channels:
                raise ValueError(
                    f"{channels} channels of level {level} do not split into heads of {self.cross_head_channels}"
                )
        return self


_UNCOUPLED: dict[str, object] = {
    "cross_attention_resolutions": (),
    "windows": (),
    "middle_cross_attention": False,
}
"""No cross-attention anywhere: picture and sound know of each other only the timestep."""

PRESETS = {
    "tiny": MMDiffusionConfig(
        video_size=(16, 3, 32, 32),
        model_channels=16,
        channel_mult=(1, 1, 2, 4),
        num_res_blocks=1,
        cross_attention_resolutions=(4, 8),
        windows=(1, 4),
        cross_head_channels=32,
        video_attention_resolutions=(4, 8),
        attention_heads=2,
        norm_groups=8,
        dropout=0.0,
    ),
    "bounce": MMDiffusionConfig(
        video_size=(16, 3, 16, 16),
        audio_size=(1, 4096),
        model_channels=16,
        channel_mult=(1, 2, 4),
        num_res_blocks=1,
        cross_attention_resolutions=(2, 4),
        windows=(1, 1),
        cross_attention_shift=False,
        cross_head_channels=32,
        video_attention_resolutions=(4,),
        attention_heads=2,
        norm_groups=8,
        dropout=0.0,
        sample_rate_hz=2560,
    ),
    "small": MMDiffusionConfig(model_channels=64),
    "paper": MMDiffusionConfig(),
}
"""`tiny` trains on a laptop CPU within minutes, `bounce` within half an hour; `paper` is the published model, `small`
the same at half its width."""

PRESETS |= {f"{name}-uncoupled": PRESETS[name].model_copy(update=_UNCOUPLED) for name in ("tiny", "bounce", "small")}
"""The same without cross-attention, to see what it is good for."""
