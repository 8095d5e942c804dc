"""Sizes of AVDiT, those that ship, and the time slices that pair its video tokens with its audio tokens."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from avbench.recipe import Strict, parse


class AVDiTConfig(Strict):
    """Everything that determines the network. The defaults are the paper's (arXiv 2405.13762), 419,171,336 parameters.

    A clip is N latent frames of h x w tokens, then M audio tokens. Latent frame n is also *time slice* n: it covers the
    video frames that the codec made it from, and the audio tokens of that time belong to the same slice. One noise
    level per modality and slice is what the paper calls t in {1..T}^(M x N).

    Attributes:
        video_size: Latent frames N, channels, height, width: of the video codec.
        audio_size: Audio tokens M and their channels: of the audio codec.
        fps: Video frames per second.
        frames_per_slice: Video frames that become one latent frame.
        causal: The first latent frame is made of one video frame only, as in MAGVIT-v2 and other causal codecs.
        audio_tokens_per_s: Rate of the audio codec: sample rate / hop.
        width: Width of the tokens.
        layers: Transformer blocks.
        heads: Attention heads.
        mlp_ratio: Width of each MLP, and of the one of the noise levels, as a multiple of ``width``.
    """

    video_size: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (5, 8, 16, 16)
    audio_size: tuple[PositiveInt, PositiveInt] = (106, 1024)
    fps: PositiveFloat = 8.0
    frames_per_slice: PositiveInt = 4
    causal: bool = True
    audio_tokens_per_s: PositiveFloat = 50.0
    width: PositiveInt = 1024
    layers: PositiveInt = 24
    heads: PositiveInt = 16
    mlp_ratio: Annotated[PositiveInt, Field(le=16)] = 4

    @property
    def slices(self) -> int:
        """Time slices N."""
        return self.video_size[0]

    @property
    def video_tokens(self) -> int:
        """Video tokens of a clip, N h w."""
        return self.video_size[0] * self.video_size[2] * self.video_size[3]

    @property
    def frames(self) -> int:
        """Video frames that the latent frames stand for."""
        return self._first_frame(self.slices)

    @property
    def slice_bounds_s(self) -> tuple[float, ...]:
        """Where each slice begins, seconds, and at last where the clip ends: N + 1 numbers."""
        return tuple(self._first_frame(number) / self.fps for number in range(self.slices + 1))

    @property
    def audio_slices(self) -> tuple[int, ...]:
        """The slice of each audio token, (M,): the one that covers the middle of the token, (j + 1/2) / rate.

        The paper's slice 0 takes 6.25 tokens' time and every other slice 25; a last token that reaches beyond the video
        belongs to the last slice.
        """
        fps, rate = (Fraction(value).limit_denominator(10**6) for value in (self.fps, self.audio_tokens_per_s))
        found = []
        for token in range(self.audio_size[0]):
            frame = int((token + Fraction(1, 2)) / rate * fps)
            slice_ = -(-frame // self.frames_per_slice) if self.causal else frame // self.frames_per_slice
            found.append(min(slice_, self.slices - 1))
        return tuple(found)

    def fitted(self, **codec: Any) -> AVDiTConfig:
        """The same transformer for other codecs.

        Args:
            codec: ``video_size``, ``audio_size``, ``fps``, ``frames_per_slice``, ``causal`` or ``audio_tokens_per_s``.

        Raises:
            UserError: The sizes contradict each other.
        """
        return parse(self.model_dump() | codec, AVDiTConfig, "AVDiT for these codecs")

    def _first_frame(self, slice_: int) -> int:
        """Video frames before a slice."""
        if self.causal and slice_ > 0:
            return 1 + (slice_ - 1) * self.frames_per_slice
        return slice_ * self.frames_per_slice

    @model_validator(mode="after")
    def _consistent(self) -> AVDiTConfig:
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4 and of its {self.heads} heads")
        video_s, audio_s = self.frames / self.fps, self.audio_size[0] / self.audio_tokens_per_s
        if abs(video_s - audio_s) > max(self.frames_per_slice / self.fps, 1 / self.audio_tokens_per_s):
            raise ValueError(
                f"{self.video_size[0]} latent frames last {video_s:g} s and {self.audio_size[0]} audio tokens "
                f"{audio_s:g} s; both must last equally long, to within a slice"
            )
        return self


PRESETS = {
    "tiny": AVDiTConfig(video_size=(5, 8, 8, 8), audio_size=(85, 32), fps=10.0, width=128, layers=4, heads=4),
    "small": AVDiTConfig(video_size=(5, 8, 8, 8), audio_size=(85, 32), fps=10.0, width=384, layers=12, heads=6),
    "paper": AVDiTConfig(),
}
"""``paper`` is the published size; ``small`` and ``tiny`` train on one GPU and on a CPU. Their latent sizes are only
defaults: `AVDiTConfig.fitted` takes those of the codecs at hand."""
