"""A clip as latents and back: two codecs, the clips they take, and how their latents are scaled.

Latent diffusion (Rombach et al., arXiv 2112.10752) adds noise to z = (e - mean) / std, where e is what the codec gives
for a clip and mean and std are measured per channel on the training set, as AVDiT does (arXiv 2405.13762). A noise
schedule is made for values of unit variance: a constant that suits another data set, or none, makes the noise too weak
or too strong. Sound is brought to the codec's rate before it is encoded and back after it is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from avbench import codecs
from avbench.codecs._base import AudioCodec, VideoCodec
from avbench.errors import UserError
from avbench.training.loader import WindowSpec

Pair = tuple[torch.Tensor, torch.Tensor]
"""Video latents (B, N, C, h, w) and audio latents (B, M, C)."""


class LatentShape(NamedTuple):
    """Latents of one clip.

    Attributes:
        video: (N, C, h, w): latent frames, channels, cells.
        audio: (M, C): positions in time, channels.
    """

    video: tuple[int, int, int, int]
    audio: tuple[int, int]


@dataclass(frozen=True)
class CodecPair:
    """The codec of the picture and that of the sound, for clips of one form.

    Attributes:
        video: Codec of the picture.
        audio: Codec of the sound.
        window: The clips: frames and samples at the rates of the training view, not of the codecs.
    """

    video: VideoCodec
    audio: AudioCodec
    window: WindowSpec

    def identity(self) -> dict[str, Any]:
        """Which codecs these are: name, revision, licence and digest of the weights of both."""
        return {"video": codecs.identity(self.video), "audio": codecs.identity(self.audio)}

    @property
    def shape(self) -> LatentShape:
        """Latents of one clip.

        Raises:
            UserError: The clip does not fit the codec.
        """
        window, side = self.window, self.video.spatial
        if window.size % side:
            raise UserError(
                f"codec.size = {window.size}: the codec {self.video.name} makes one cell of {side} x {side} pixels; "
                f"take a multiple of {side}"
            )
        cells = window.size // side
        frames = self.video.latent_frames(window.frames)
        return LatentShape(
            (frames, self.video.channels, cells, cells),
            (self.audio.latents_of(self.codec_samples(window.samples)), self.audio.channels),
        )

    def codec_samples(self, samples: int) -> int:
        """Samples that ``samples`` of the view become at the rate of the audio codec."""
        return -(-samples * self.audio.sample_rate_hz // self.window.sample_rate_hz)

    def encode(self, video: torch.Tensor, audio: torch.Tensor) -> Pair:
        """Latents of clips as the codecs give them, not normalised; float32 on the CPU.

        Args:
            video: Grey levels 0 ... 255 of any type, (B, T, 3, H, W).
            audio: float32 (B, 1, L) at the view's rate.
        """
        return self.encode_video(video), self.encode_audio(audio)

    def encode_video(self, video: torch.Tensor) -> torch.Tensor:
        """Latents (B, N, C, h, w) of grey levels (B, T, 3, H, W)."""
        return self.video.encode(video.float() / 127.5 - 1).cpu()

    def encode_audio(self, audio: torch.Tensor) -> torch.Tensor:
        """Latents (B, M, C) of float32 (B, 1, L) at the view's rate."""
        return self.audio.encode(_resampled(audio, self.window.sample_rate_hz, self.audio.sample_rate_hz)).cpu()

    def decode(self, video: torch.Tensor, audio: torch.Tensor, samples: int | None = None) -> Pair:
        """Clips of latents that are not normalised, in float32, one clip at a time.

        Args:
            video: (B, N, C, h, w).
            audio: (B, M, C).
            samples: Samples of the sound at the view's rate; None takes those of a window.

        Returns:
            Video float32 (B, T, 3, H, W) and audio float32 (B, 1, samples), both in [-1, 1], on the CPU.
        """
        return self.decode_video(video), self.decode_audio(audio, samples)

    def decode_video(self, video: torch.Tensor) -> torch.Tensor:
        """Pictures (B, T, 3, H, W) in [-1, 1] of latents (B, N, C, h, w)."""
        return self.video.decode(video).cpu()

    def decode_audio(self, audio: torch.Tensor, samples: int | None = None) -> torch.Tensor:
        """Sound (B, 1, samples) in [-1, 1] of latents (B, M, C), at the view's rate."""
        samples = self.window.samples if samples is None else samples
        sound = self.audio.decode(audio, self.codec_samples(samples)).cpu()
        # resampling may overshoot the range that the codec keeps to
        return _resampled(sound, self.audio.sample_rate_hz, self.window.sample_rate_hz)[..., :samples].clamp(-1, 1)


def _resampled(audio: torch.Tensor, rate_hz: int, wanted_hz: int) -> torch.Tensor:
    """Band-limited resampling; ceil(L * wanted / rate) samples. Clip by clip, so that a batch changes no bit."""
    if rate_hz == wanted_hz:
        return audio
    from torchaudio.functional import resample

    return torch.cat([resample(clip[None], rate_hz, wanted_hz) for clip in audio])


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of each channel, measured on the latents of a training set.

    Attributes:
        video_mean: One per channel of the video latents.
        video_std: Likewise.
        audio_mean: One per channel of the audio latents.
        audio_std: Likewise.
        video_largest: Largest absolute value of a normalised video latent of the training set; 0 where it is not known.
        audio_largest: Likewise.
    """

    video_mean: tuple[float, ...]
    video_std: tuple[float, ...]
    audio_mean: tuple[float, ...]
    audio_std: tuple[float, ...]
    video_largest: float = 0.0
    audio_largest: float = 0.0

    def normalise(self, video: torch.Tensor, audio: torch.Tensor) -> Pair:
        """Video (..., C, h, w) and audio (..., C) with mean 0 and variance 1 per channel over the training set."""
        return (
            (video - _cells(self.video_mean, video)) / _cells(self.video_std, video),
            (audio - audio.new_tensor(self.audio_mean)) / audio.new_tensor(self.audio_std),
        )

    def denormalise(self, video: torch.Tensor, audio: torch.Tensor) -> Pair:
        """The inverse of `normalise`."""
        return (
            video * _cells(self.video_std, video) + _cells(self.video_mean, video),
            audio * audio.new_tensor(self.audio_std) + audio.new_tensor(self.audio_mean),
        )

    def as_json(self) -> dict[str, Any]:
        """For a file; `from_json` gives equal statistics back."""
        found = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LatentStatistics:
        """What `as_json` gave."""
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**found)


def _cells(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """One number per channel of (..., C, h, w)."""
    return like.new_tensor(values).view(-1, 1, 1)


def decode_pair(
    statistics: LatentStatistics,
    pair: CodecPair,
    video: torch.Tensor,
    audio: torch.Tensor,
    samples: int | None = None,
) -> Pair:
    """Clips of normalised latents; see `CodecPair.decode`."""
    return pair.decode(*statistics.denormalise(video, audio), samples)
