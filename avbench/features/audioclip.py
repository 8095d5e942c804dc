"""1024 numbers for the sound of a clip: the embedding of what MM-Diffusion calls FAD.

Network: the audio tower of AudioCLIP (Guzhov et al. 2021, arXiv 2106.13043), ESResNeXt-FBSP, its output as it is (not
brought to length 1). Its authors feed it sound in the range of int16 and normalise by the statistics of training.
MM-Diffusion's evaluator (researchmm/MM-Diffusion 7250222) does neither: sound in [-1, 1] goes in, which the network
takes for about 90 dB less, and the network was left in training, so that batch norm uses the batch at hand and a row
depends on the seven clips around it; it takes 1.6 s of the left channel at 44.1 kHz. JavisBench (JavisVerse/JavisDiT
b505b37) mends the training mode, but reads sound at 16 kHz by default and hands it on as it is, so that the network
takes it for shorter and higher sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from avbench.errors import UserError
from avbench.features._base import AudioFeature, WeightSource
from avbench.weights import Weight

if TYPE_CHECKING:
    from avbench.features._esresnext import ESResNeXt

# the network is imported where it is made: it takes torchvision, which `avbench list weights` need not load

CHUNK_CLIPS = 8
"""Clips per forward pass: bounds memory at about 0.5 GB for 1.6 s. In mode train, the batch of the statistics."""

INT16 = 32768.0
PREFIX = "audio."

WEIGHT = Weight(
    name="audioclip",
    file="AudioCLIP-Full-Training.pt",
    urls=("https://github.com/AndreyGuzhov/AudioCLIP/releases/download/v0.1/AudioCLIP-Full-Training.pt",),
    sha256=None,
    # of the tensors, counted from the architecture; no size is published
    size_bytes=536_774_720,
    licence="MIT",
    note="AudioCLIP, all three heads trained on AudioSet; only the audio head is used",
)


class Feature(AudioFeature):
    """AudioCLIP embeddings of sound: one row of 1024 per clip.

    Called as a module it takes sound (B, 1, samples) in the network's own range, which ``scale`` does not touch.

    Args:
        weights: None for the published weights; or a file; or a state dict of AudioCLIP or of its audio tower. A tower
            without filters and window (``fbsp.*``, ``window``) has those that training began with.
        device: Where the network runs.
        mode: ``eval`` normalises by the statistics of training. ``train`` normalises by each batch of 8 clips, as
            MM-Diffusion's evaluator does: rows then depend on order and neighbours.
        scale: ``float`` passes sound in [-1, 1] on as it is, as MM-Diffusion and JavisBench do. ``int16`` multiplies it
            by 32,768, as the network expects.
        input_rate_hz: Rate of the sound that is handed to the network. It was made for 44,100; JavisBench hands it
            16,000.
    """

    name = "audioclip"
    dim = 1024
    sample_rate_hz = 44_100
    min_samples = 1654
    weight = WEIGHT
    network: ESResNeXt

    def __init__(
        self,
        weights: WeightSource = None,
        device: str | torch.device = "cpu",
        mode: Literal["eval", "train"] = "eval",
        scale: Literal["float", "int16"] = "float",
        input_rate_hz: int = 44_100,
    ) -> None:
        if mode not in ("eval", "train"):
            raise UserError(f"feature audioclip: mode is eval or train, not {mode!r}")
        if scale not in ("float", "int16"):
            raise UserError(f"feature audioclip: scale is float or int16, not {scale!r}")
        if input_rate_hz < 1:
            raise UserError(f"feature audioclip: input_rate_hz is a rate of sound in Hz, not {input_rate_hz!r}")
        super().__init__(weights, device)
        self.scale, self.sample_rate_hz = scale, input_rate_hz
        self.settings |= {"mode": mode, "scale": scale, "input_rate_hz": input_rate_hz}
        if mode == "train":
            self.batch_dependent, self.batch_size = True, CHUNK_CLIPS
            self.network.use_batch_statistics()

    @staticmethod
    def architecture() -> ESResNeXt:
        """The network without its weights."""
        from avbench.features._esresnext import ESResNeXt

        return ESResNeXt()

    @staticmethod
    def select(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The audio tower's tensors out of the whole AudioCLIP's, or of the tower's alone."""
        from avbench.features._esresnext import untrained

        if any(name.startswith(PREFIX) for name in tensors):
            tensors = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        begun_with = untrained()
        # nothing at all stays nothing: filters alone are no network
        return {**begun_with, **tensors} if tensors and begun_with.keys().isdisjoint(tensors) else tensors

    def _check(self, clips: Tensor) -> None:
        super()._check(clips)
        if self.batch_size and not 2 <= len(clips) <= self.batch_size:
            raise UserError(
                f"feature audioclip: in mode train a batch is 2 to {self.batch_size} clips, not {len(clips)}; "
                "mode eval takes any number"
            )

    def _embed(self, clips: Tensor) -> Tensor:
        sound = clips.to(self.device, torch.float32)[:, None]
        if self.scale == "int16":
            sound = sound * INT16
        return torch.cat([self(chunk) for chunk in sound.split(CHUNK_CLIPS)])
