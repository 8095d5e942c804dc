"""Drops clips that do not show what the dataset is about, by CLIP and a list of prompts (needs weights)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field, field_validator

from avbench import features
from avbench.features import clip as clip_feature
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.weights import Weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURELY_READ_BYTES = 75
"""A prompt of so many bytes is never longer than the 75 tokens that the network reads."""


class Filter(ClipFilter):
    """Mean cosine between the stills of the clip and a prompt, for the prompt that fits best, -1 to 1.

    Network and preparation are those of the feature ``clip`` (LAION's ViT-B/32): the value for one prompt is CLIPSIM.
    Scores that rest on the same network (``clip_score``) look better on a dataset that it has chosen.

    Attributes:
        prompts: What the clips should show, in English: ``["a concert on a stage", "a musician playing"]``.
        min_cosine: Lowest mean cosine kept, -1 to 1. Default 0.1: the lowest similarity data-juicer keeps. With this
            network matching pairs lie about 0.3 and unrelated ones about 0.1, so measure your own before you set it.
    """

    prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.1

    unit: ClassVar[str] = "cosine with the best prompt"
    lowest: ClassVar[str] = "min_cosine"
    weights: ClassVar[tuple[Weight, ...]] = (clip_feature.WEIGHT,)

    @field_validator("prompts")
    @classmethod
    def _readable(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        """A prompt that is blank or too long is found when the recipe is read, not after the downloads."""
        # a token is a byte at least, so short prompts need no tokenizer, whose import takes seconds
        if any(not prompt.strip() or len(prompt.encode()) > SURELY_READ_BYTES for prompt in prompts):
            clip_feature.tokenize(prompts)
        return prompts

    def measure(self, clip: ClipSignals) -> float:
        """Mean cosine over the stills with the prompt that fits best."""
        row = _network().embed(clip.stills[None]).values[0]
        return float(np.clip((_texts(self.prompts) @ row).max(), -1, 1))

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"shows none of the prompts, best cosine {value:.3f}"


@functools.cache
def _network() -> clip_feature.Feature:
    """The network, read once in each worker."""
    made = features.load("clip")
    assert isinstance(made, clip_feature.Feature)
    return made


@functools.cache
def _texts(prompts: tuple[str, ...]) -> NDArray[np.float32]:
    """Rows of the prompts, made once in each worker."""
    return _network().embed_text(prompts)
