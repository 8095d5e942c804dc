"""Denoisers of latent clips: MM-Diffusion's coupled U-Net, or AVDiT's transformer, in the sizes that codecs give.

The U-Net is that of arXiv 2212.09478 with the channels of the codecs in place of red, green, blue and the waveform. Two
things differ, because latents are few. Its levels are as many as the grid bears: a picture of 8 x 8 cells is halved
once. And the attention between picture and sound is not shifted at random, which spares that of 25,600 samples: each
latent frame sees the sound around it, and the middle all of it.

The transformer is AVDiT (arXiv 2405.13762) with one noise level for the whole clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.errors import UserError
from avbench.models.avdit import PRESETS as TRANSFORMERS, AVDiT, AVDiTConfig
from avbench.models.mmdiffusion import MMDiffusion, MMDiffusionConfig
from avbench.recipe import parse
from avbench.registry import unknown

LEAST_SIDE = 4
"""Cells that the deepest level of a U-Net keeps of a picture's width and height."""

_SEEN = 3
"""Latent frames' worth of sound that a latent frame sees, and the other way round: its own in the middle. The segments
of a causal codec's sound are shifted against its frames by less than one."""

_COMMON: dict[str, Any] = {"audio_attention_resolutions": (1, 2), "video_attention_resolutions": (1, 2)}
_SMALL: dict[str, Any] = {"model_channels": 128, "num_res_blocks": 2, "dropout": 0.1, **_COMMON}

_UNETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_channels": 32,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "cross_head_channels": 16,
        "attention_heads": 2,
        "norm_groups": 8,
        "dropout": 0.0,
        **_COMMON,
    },
    "small-flat": {**_SMALL, "channel_mult": (2,)},
    "small": {**_SMALL, "channel_mult": (1, 2)},
    "small-deep": {**_SMALL, "channel_mult": (1, 2, 3), "video_attention_resolutions": (2, 4)},
}

_TRANSFORMERS = {f"{name}-transformer": name for name in ("tiny", "small")}

NAMES = (*_UNETS, *_TRANSFORMERS)
"""Sizes of denoiser: U-Nets of one, two and three levels, and transformers."""


class LatentUNet(nn.Module):
    """The coupled U-Net on latents. The sound is lengthened with zeros to what its levels divide, and cut again.

    Args:
        config: Sizes, as `unet_config` gives them.
        activation_checkpointing: See `MMDiffusion`.
    """

    def __init__(self, config: MMDiffusionConfig, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.network = MMDiffusion(config, activation_checkpointing=activation_checkpointing)

    @property
    def card(self) -> dict[str, Any]:
        """What `rebuild` needs."""
        return {"kind": "unet", "sizes": self.network.config.model_dump(mode="json")}

    def forward(
        self, video: Tensor, audio: Tensor, timesteps: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict the noise in noisy latents.

        Args:
            video: (B, N, C, h, w).
            audio: (B, C, M).
            timesteps: (B,), from 0.
            generator: Not used: nothing is drawn.
        """
        tokens = audio.shape[2]
        lengthened = F.pad(audio, (0, self.network.config.audio_size[1] - tokens))
        video, sound = self.network(video, lengthened, timesteps, self.network.fixed_shifts("centred"))
        return video, sound[..., :tokens]


class LatentTransformer(nn.Module):
    """AVDiT with the same noise level everywhere.

    Args:
        config: Sizes.
        activation_checkpointing: See `AVDiT`.
    """

    def __init__(self, config: AVDiTConfig, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.network = AVDiT(config, activation_checkpointing=activation_checkpointing)

    @property
    def card(self) -> dict[str, Any]:
        """What `rebuild` needs."""
        return {"kind": "transformer", "sizes": self.network.config.model_dump(mode="json")}

    def forward(
        self, video: Tensor, audio: Tensor, timesteps: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `LatentUNet.forward`. AVDiT counts noise levels from 1; 0 is a clean token."""
        levels = (timesteps + 1).unsqueeze(1).expand(-1, self.network.config.slices)
        video_noise, audio_noise = self.network(video, audio.transpose(1, 2), levels, levels)
        return video_noise, audio_noise.transpose(1, 2)


Denoiser = LatentUNet | LatentTransformer


def build(name: str, codec: Mapping[str, Any], *, activation_checkpointing: bool = False) -> Denoiser:
    """A denoiser with fresh weights.

    Args:
        name: One of `NAMES`.
        codec: The latents and their times, as `AVDiTConfig.fitted` takes them: ``video_size`` (N, C, h, w),
            ``audio_size`` (M, C), ``fps``, ``frames_per_slice``, ``causal``, ``audio_tokens_per_s``.
        activation_checkpointing: Recompute activations in the backward pass instead of keeping them.

    Raises:
        UserError: No such size, or it does not fit the latents; the message names one that does.
    """
    if name in _UNETS:
        config = unet_config(name, codec["video_size"], codec["audio_size"])
        return LatentUNet(config, activation_checkpointing=activation_checkpointing)
    if name not in _TRANSFORMERS:
        raise unknown("network", name, sorted(NAMES))
    fitted = TRANSFORMERS[_TRANSFORMERS[name]].fitted(**codec)
    return LatentTransformer(fitted, activation_checkpointing=activation_checkpointing)


def rebuild(card: Mapping[str, Any], where: str) -> Denoiser:
    """The denoiser that a checkpoint describes.

    Args:
        card: What `LatentUNet.card` or `LatentTransformer.card` gave.
        where: The checkpoint, for messages.

    Raises:
        UserError: Its sizes contradict each other.
    """
    if card["kind"] == "unet":
        return LatentUNet(parse(card["sizes"], MMDiffusionConfig, where))
    return LatentTransformer(parse(card["sizes"], AVDiTConfig, where))


def unet_config(name: str, video_size: tuple[int, int, int, int], audio_size: tuple[int, int]) -> MMDiffusionConfig:
    """Sizes of a U-Net for latents.

    Args:
        name: Which.
        video_size: (N, C, h, w).
        audio_size: (M, C).

    Raises:
        UserError: Its levels do not fit; the message names those that do.
    """
    reason = _misfit(name, video_size, audio_size)
    if reason:
        fitting = [other for other in NAMES if other in _TRANSFORMERS or not _misfit(other, video_size, audio_size)]
        raise UserError(f"network {name!r} does not fit these latents: {reason}; take {' or '.join(fitting)}")
    sizes, frames = _UNETS[name], video_size[0]
    levels = len(sizes["channel_mult"])
    step = 4 ** (levels - 1)
    return MMDiffusionConfig(
        **sizes,
        video_size=video_size,
        audio_size=(audio_size[1], -(-audio_size[0] // step) * step),
        cross_attention_resolutions=tuple(2**level for level in range(levels)),
        windows=(min(_SEEN, frames),) * levels,
    )


def _misfit(name: str, video_size: tuple[int, int, int, int], audio_size: tuple[int, int]) -> str:
    """Why the levels of a U-Net do not fit, or empty."""
    halvings = len(_UNETS[name]["channel_mult"]) - 1
    frames, _, height, width = video_size
    if height % 2**halvings or width % 2**halvings:
        return f"{height} x {width} cells cannot be halved {halvings} times"
    if halvings and min(height, width) // 2**halvings < LEAST_SIDE:
        return (
            f"its {halvings + 1} levels leave {height // 2**halvings} x {width // 2**halvings} of {height} x {width} "
            f"cells, fewer than {LEAST_SIDE} a side"
        )
    deepest = -(-audio_size[0] // 4**halvings)
    if deepest < frames:
        return (
            f"its {halvings + 1} levels leave {deepest} of {audio_size[0]} positions in the sound for {frames} latent "
            "frames"
        )
    return ""
