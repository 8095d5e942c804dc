"""Sizes of our own autoencoder, and those that ship."""

from __future__ import annotations

from math import prod
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from avbench.recipe import Strict


class VideoVAEConfig(Strict):
    """The autoencoder of the picture.

    Attributes:
        size: Width and height of a training clip, pixels. The network takes any size that ``spatial`` divides.
        frames: Frames of a training clip. The network takes any 1 + ``temporal`` k.
        spatial: Pixels of a latent cell in both directions, a power of two.
        temporal: Frames of a latent frame, a power of two; the first stands for one frame.
        channels: Channels of a latent.
        width: Channels at half the picture's size; each halving doubles them.
        blocks: Residual blocks at each size.
        norm_groups: Groups of every GroupNorm.
    """

    size: PositiveInt = 64
    frames: PositiveInt = 17
    spatial: Annotated[int, Field(ge=2)] = 8
    temporal: PositiveInt = 4
    channels: PositiveInt = 16
    width: PositiveInt = 64
    blocks: PositiveInt = 2
    norm_groups: PositiveInt = 8

    @model_validator(mode="after")
    def _consistent(self) -> VideoVAEConfig:
        for name in ("spatial", "temporal"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(f"{name} = {value} must be a power of two")
        if self.size % self.spatial:
            raise ValueError(f"size = {self.size} must be a multiple of spatial = {self.spatial}")
        if (self.frames - 1) % self.temporal:
            raise ValueError(f"frames = {self.frames} must be 1 + a multiple of temporal = {self.temporal}")
        if self.width % self.norm_groups:
            raise ValueError(f"width = {self.width} does not split into {self.norm_groups} groups")
        return self


class AudioVAEConfig(Strict):
    """The autoencoder of the sound.

    Attributes:
        sample_rate_hz: Rate it works at.
        strides: Each level's step; their product is the samples of a latent. The first is from samples to frames.
        channels: Channels of a latent.
        width: Channels behind the first step; each further step doubles them.
        blocks: Residual blocks at each level.
    """

    sample_rate_hz: PositiveInt = 16000
    strides: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (20, 4, 4)
    channels: PositiveInt = 64
    width: PositiveInt = 96
    blocks: PositiveInt = 2

    @property
    def hop(self) -> int:
        """Samples of a latent."""
        return prod(self.strides)


class AutoencoderConfig(Strict):
    """Both autoencoders and what they learn.

    Attributes:
        fps: Frames per second of the pictures.
        video: The picture's.
        audio: The sound's.
        video_kl: Weight of the divergence of the picture's latents from a standard normal, per number of a latent.
        audio_kl: The same of the sound's.
    """

    fps: PositiveFloat = 10.0
    video: VideoVAEConfig = VideoVAEConfig()
    audio: AudioVAEConfig = AudioVAEConfig()
    video_kl: NonNegativeFloat = 3e-4
    audio_kl: NonNegativeFloat = 3e-4

    @property
    def samples(self) -> int:
        """Samples of a training clip."""
        return round(self.video.frames / self.fps * self.audio.sample_rate_hz)


PRESETS = {
    "tiny": AutoencoderConfig(
        video=VideoVAEConfig(size=32, spatial=4, width=32, blocks=1),
        audio=AudioVAEConfig(channels=32, width=64, blocks=1),
    ),
    "small": AutoencoderConfig(),
}
"""`tiny` trains on a laptop CPU within minutes, on the demo's 32 pixels; `small` is for 64 pixels and a GPU."""
