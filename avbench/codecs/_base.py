"""What every codec does: pictures or sound to a small grid of numbers, and back.

Latents are RAW: the mean of the posterior as the network gives it, without the factors that published pipelines apply.
Whoever trains on latents measures their mean and spread and normalises by these (`avbench.training.latents`).

Each clip goes through the network by itself. So its latents are the same whatever else is in the batch, and memory is
that of one clip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from avbench.errors import UserError


@dataclass(frozen=True)
class Origin:
    """Where the weights of a codec come from.

    Attributes:
        name: What loads it again: a shipped name, or ``autoencoder-<preset>`` of a run trained here.
        source: Hub repository, ``run`` or ``folder``.
        revision: Commit of the repository, or the step of the run; empty for a folder.
        licence: Licence of the weights.
        weights_sha256: Digest of the weights and of the configuration beside them.
    """

    name: str
    source: str
    revision: str
    licence: str
    weights_sha256: str


class Codec(ABC):
    """What codecs of picture and sound share.

    Attributes:
        modality: ``video`` or ``audio``.
        origin: Where the weights come from.
        network: The library's network, frozen and in float32.
        channels: Channels of a latent.
    """

    modality: ClassVar[str]
    channels: int

    def __init__(self, network: nn.Module, origin: Origin) -> None:
        self.origin = origin
        self.network: Any = network.float().eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """Name of the codec."""
        return self.origin.name

    @property
    def revision(self) -> str:
        """Commit of the repository, or step of the run."""
        return self.origin.revision

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.origin.licence

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the network; returns the codec."""
        self.network.to(device)
        return self

    @contextmanager
    def _exact(self) -> Iterator[None]:
        """No gradients, and float32 whatever the caller computes in."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            yield

    def _each(self, clips: Tensor) -> Iterator[Tensor]:
        """The clips of a batch one by one, as a batch of one in float32 on the network's device."""
        for clip in clips:
            yield clip[None].to(self.device, torch.float32)


class VideoCodec(Codec):
    """A codec of pictures.

    Attributes:
        spatial: Pixels of a latent cell, in both directions.
        temporal: Frames of a latent frame.
        causal: The first latent frame stands for one frame, every further one for ``temporal`` frames.
    """

    modality = "video"
    spatial: int
    temporal: int
    causal: bool

    @property
    def frame_step(self) -> int:
        """Clips may have this many frames more or less than one that fits."""
        return self.temporal

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip.

        Raises:
            UserError: The codec takes no clip of so many frames.
        """
        first = 1 if self.causal else 0
        if frames < max(1, first) or (frames - first) % self.frame_step:
            below = (frames - first) // self.frame_step * self.frame_step + first
            fits = [number for number in (below, below + self.frame_step) if number > 0]
            rule = f"{first} + {self.frame_step} k" if first else f"a multiple of {self.frame_step}"
            raise UserError(
                f"codec {self.name} takes clips of {rule} frames, not {frames}; take {' or '.join(map(str, fits))}"
            )
        return first + (frames - first) // self.temporal

    def frames(self, latent_frames: int) -> int:
        """Frames that so many latent frames stand for."""
        return 1 + (latent_frames - 1) * self.temporal if self.causal else latent_frames * self.temporal

    def encode(self, video: Tensor) -> Tensor:
        """Latents of clips.

        Args:
            video: (B, T, 3, H, W) in [-1, 1].

        Returns:
            float32 (B, N, C, H / spatial, W / spatial), not normalised, on the codec's device.

        Raises:
            UserError: The clips have a number of frames or a size that the codec does not take.
        """
        frames, height, width = video.shape[1], *video.shape[3:]
        self.latent_frames(frames)
        if height % self.spatial or width % self.spatial:
            raise UserError(
                f"codec {self.name} takes pictures whose sides are multiples of {self.spatial} pixels, not {width} x "
                f"{height}; choose another size, or a codec of smaller cells"
            )
        with self._exact():
            found = [self._encode(clip) for clip in self._each(video.transpose(1, 2))]
        return torch.cat(found).transpose(1, 2).contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """Clips of latents.

        Args:
            latents: (B, N, C, h, w), not normalised.

        Returns:
            float32 (B, T, 3, h * spatial, w * spatial) in [-1, 1], on the codec's device.
        """
        with self._exact():
            found = [self._decode(clip).clamp(-1, 1) for clip in self._each(latents.transpose(1, 2))]
        video = torch.cat(found).transpose(1, 2).contiguous()
        sides = (latents.shape[3] * self.spatial, latents.shape[4] * self.spatial)
        assert video.shape[1:] == (self.frames(latents.shape[1]), 3, *sides), f"{self.name} gave {tuple(video.shape)}"
        return video

    @abstractmethod
    def _encode(self, clip: Tensor) -> Tensor:
        """(1, 3, T, H, W) -> (1, C, N, h, w)."""

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """(1, C, N, h, w) -> (1, 3, T, H, W)."""


class AudioCodec(Codec):
    """A codec of sound.

    Attributes:
        sample_rate_hz: Rate of the sound it takes and gives.
        hop: Samples of a latent.
    """

    modality = "audio"
    sample_rate_hz: int
    hop: int

    def latents_of(self, samples: int) -> int:
        """Latents of a sound; the last may stand for less than a hop."""
        return -(-samples // self.hop)

    def encode(self, audio: Tensor) -> Tensor:
        """Latents of sounds.

        Args:
            audio: (B, 1, L) in [-1, 1] at the codec's rate; silence is added up to a whole hop.

        Returns:
            float32 (B, M, C), not normalised, on the codec's device.
        """
        missing = self.latents_of(audio.shape[2]) * self.hop - audio.shape[2]
        with self._exact():
            found = [self._encode(nn.functional.pad(clip, (0, missing))) for clip in self._each(audio)]
        return torch.cat(found).transpose(1, 2).contiguous()

    def decode(self, latents: Tensor, samples: int) -> Tensor:
        """Sounds of latents.

        Args:
            latents: (B, M, C), not normalised.
            samples: Length of the sound that was encoded, or is wanted.

        Returns:
            float32 (B, 1, samples) in [-1, 1], on the codec's device.

        Raises:
            ValueError: So many latents do not stand for so many samples.
        """
        if self.latents_of(samples) != latents.shape[1]:
            raise ValueError(f"{latents.shape[1]} latents of {self.hop} samples do not stand for {samples} samples")
        with self._exact():
            found = [self._cut(clip, samples) for clip in self._each(latents.transpose(1, 2))]
        return torch.cat(found).clamp(-1, 1)

    def _cut(self, latents: Tensor, samples: int) -> Tensor:
        """Decode one clip to exactly ``samples``.

        Where a network's strides are odd it gives some samples less than its hop says: then the last latent is
        repeated once, and what that adds behind the end is cut off.
        """
        sound = self._decode(latents)
        if sound.shape[2] < samples:
            sound = self._decode(torch.cat([latents, latents[:, :, -1:]], 2))
        return sound[:, :, :samples]

    @abstractmethod
    def _encode(self, clip: Tensor) -> Tensor:
        """(1, 1, L) with whole hops -> (1, C, M)."""

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor:
        """(1, C, M) -> (1, 1, about M hops)."""
