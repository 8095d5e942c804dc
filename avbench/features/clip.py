"""512 numbers of a clip's pictures (mean over frames) and of a prompt: the embeddings of CLIP.

Network: CLIP (Radford et al. 2021, arXiv 2103.00020) with a ViT-B/32, trained on LAION-2B (Cherti et al. 2023, arXiv
2212.07143) as ``laion2b_s34b_b79k`` of open_clip, whose own classes and preprocessing compute it: shorter side to 224
(bicubic, antialiased, rounded to uint8), centre square, mean and deviation of OpenAI's CLIP, GELU.

Each frame's embedding has length 1; their mean has not, and is not brought back to it. So the inner product of a clip's
row with a prompt's row is the mean over frames of their cosines: CLIPSIM of Wu et al. 2021 (arXiv 2104.14806).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from avbench.errors import UserError
from avbench.features._base import VideoFeature, exact_float32
from avbench.weights import Weight

if TYPE_CHECKING:
    from open_clip import CLIP

# open_clip is imported where it is used: it takes two seconds, which `avbench list weights` need not spend

MODEL = "ViT-B-32"
TRAINING = "laion2b_s34b_b79k"
"""Architecture and training as open_clip calls them."""

CHUNK_FRAMES = 64
"""Frames per forward pass: bounds memory at about 0.2 GB."""

CHUNK_PROMPTS = 64
"""Prompts per forward pass: bounds memory at about 0.15 GB."""

WEIGHT = Weight(
    name="clip",
    file="open_clip_model.safetensors",
    urls=(
        "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/"
        "1a25a446712ba5ee05982a381eed697ef9b435cf/open_clip_model.safetensors",
    ),
    sha256="ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
    size_bytes=605_143_316,
    licence="MIT",
    note="LAION's CLIP ViT-B/32; sha256 and size as several public repositories record them for this revision",
)


class Feature(VideoFeature):
    """CLIP picture embeddings: one row of 512 per clip, the mean over all its frames."""

    name = "clip"
    dim = 512
    min_frames = 1
    weight = WEIGHT

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights."""
        return clip_network(MODEL)

    def embed_text(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Describe prompts in the space of the pictures.

        Args:
            prompts: At least one, in English, each of at most 75 tokens (about 55 words).

        Returns:
            float32 (prompts, 512), each row of length 1; independent of the prompts around it (to the rounding of
            float32).

        Raises:
            UserError: There is no prompt, one is blank, or one is longer than the network reads.
        """
        tokens = tokenize(prompts)
        clip: CLIP = self.network
        with torch.inference_mode(), exact_float32():
            rows = [clip.encode_text(part.to(self.device), normalize=True) for part in tokens.split(CHUNK_PROMPTS)]
            return torch.cat(rows).to("cpu", torch.float32).numpy()

    def _embed(self, clips: Tensor) -> Tensor:
        clip: CLIP = self.network
        frames = clips.flatten(0, 1).split(CHUNK_FRAMES)
        rows = [clip.encode_image(preprocess(chunk).to(self.device), normalize=True) for chunk in frames]
        return torch.cat(rows).unflatten(0, clips.shape[:2]).mean(dim=1)


def clip_network(model: str, *, quick_gelu: bool = False) -> CLIP:
    """A network of CLIP without its weights.

    Args:
        model: Architecture as open_clip calls it.
        quick_gelu: Use the approximate GELU that OpenAI's own weights were trained with.
    """
    from open_clip import CLIP, get_model_config

    network = CLIP(**get_model_config(model), quick_gelu=quick_gelu)
    # the constructor's causal mask is in no file of weights, and has no values when built on the meta device
    side = network.context_length
    network.attn_mask = torch.full((side, side), -torch.inf, device="cpu").triu(1)
    return network


def preprocess(frames: Tensor) -> Tensor:
    """What the network sees: uint8 (N, H, W, 3) -> float32 (N, 3, 224, 224) on the CPU, by open_clip's own transform.

    It runs on PIL pictures, as for every published number of CLIP; bicubic on tensors is not quite the same.
    """
    transform = _transform()
    return torch.stack([transform(Image.fromarray(frame)) for frame in frames.cpu().numpy()])


def tokenize(prompts: Sequence[str]) -> Tensor:
    """Tokens of prompts, by open_clip's tokenizer, whose vocabulary is part of its package: int64 (prompts, 77).

    Raises:
        UserError: There is no prompt, one is blank, or one is longer than the network reads: open_clip would cut it.
    """
    from open_clip import tokenize as clip_tokens

    if isinstance(prompts, str):
        raise UserError("feature clip takes a list of prompts, not one string; put it in brackets")
    if not len(prompts):
        raise UserError("feature clip: there are no prompts to embed")
    for number, prompt in enumerate(prompts, 1):
        if not prompt.strip():
            raise UserError(f"feature clip: prompt {number} is blank")
    # one place more than the network reads: a prompt that reaches it is too long
    tokens: Tensor = clip_tokens(list(prompts), context_length=_context_length() + 1)
    if tokens[:, -1].any():
        number = int(tokens[:, -1].argmax())
        raise UserError(
            f"feature clip: prompt {number + 1} ({prompts[number][:40]!r}...) is longer than the "
            f"{_context_length() - 2} tokens the network reads; shorten it"
        )
    return tokens[:, :-1]


def _context_length() -> int:
    """Tokens the network reads, start and end among them."""
    from open_clip import get_model_config

    return int(get_model_config(MODEL)["text_cfg"]["context_length"])


@functools.cache
def _transform() -> Callable[[Image.Image], Tensor]:
    """open_clip's preprocessing of this training: PIL picture -> float32 (3, 224, 224)."""
    from open_clip import get_model_config, get_pretrained_cfg, image_transform

    chosen = get_pretrained_cfg(MODEL, TRAINING)
    made: Any = image_transform(
        get_model_config(MODEL)["vision_cfg"]["image_size"],
        is_train=False,
        **{key: chosen[key] for key in ("mean", "std", "interpolation", "resize_mode")},
    )
    return made
