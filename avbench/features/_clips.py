"""From decoded clips (picture, sound and their rates) to the arrays a feature takes, and through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio.functional import resample

from avbench.errors import UserError
from avbench.features._base import AudioFeature, Embedding, Feature


class Signals(Protocol):
    """A decoded clip: `avbench.metrics._base.ClipSignals`, or anything with these attributes."""

    @property
    def video(self) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3)."""

    @property
    def fps(self) -> float:
        """Frames per second."""

    @property
    def audio(self) -> NDArray[np.float32]:
        """float32 (C, L) in [-1, 1]."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second."""


def embed_clips(feature: Feature, clips: Sequence[Signals]) -> Embedding:
    """Embed decoded clips; sound is mixed to mono and brought to the feature's rate.

    Args:
        feature: From `avbench.features.load`.
        clips: At least one, of any lengths.

    Returns:
        Rows of all clips in order; ``owner`` is the index in ``clips``.

    Raises:
        MediaError: A clip is too short for the feature.
        UserError: There is no clip, or one has not the frame rate the feature is defined at.
    """
    if not clips:
        raise UserError(f"feature {feature.name}: there are no clips to embed")
    arrays = [_video(feature, clip) if feature.modality == "video" else _sound(feature, clip) for clip in clips]
    if len({array.shape for array in arrays}) == 1:
        return feature.embed(np.stack(arrays))
    parts = [feature.embed(array[None]) for array in arrays]
    return Embedding(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.owner + index for index, part in enumerate(parts)]),
    )


def to_rate(
    sound: NDArray[Any], from_hz: int, to_hz: int, resampler: Literal["kaiser_best", "sinc_hann"] = "kaiser_best"
) -> NDArray[np.float32]:
    """Resample (..., L) with a windowed sinc.

    Args:
        sound: float (..., L).
        from_hz: Its rate.
        to_hz: The rate wanted.
        resampler: ``kaiser_best`` is resampy's window of that name (width 64, roll-off 0.9476, beta 14.77), as in
            VGGish's own code and fadtk; ``sinc_hann`` is torchaudio's default (width 6, roll-off 0.99).
    """
    sound = np.ascontiguousarray(sound, dtype=np.float32)
    if from_hz == to_hz:
        return sound
    if resampler == "sinc_hann":
        return resample(torch.from_numpy(sound), from_hz, to_hz).numpy()
    return resample(
        torch.from_numpy(sound),
        from_hz,
        to_hz,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    ).numpy()


def _video(feature: Feature, clip: Signals) -> NDArray[np.uint8]:
    if feature.fps is not None and abs(feature.fps - clip.fps) > 1e-6 * feature.fps:
        raise UserError(f"feature {feature.name} is defined at {feature.fps:g} frames per second, not {clip.fps:g}")
    return clip.video


def _sound(feature: Feature, clip: Signals) -> NDArray[np.float32]:
    assert feature.sample_rate_hz is not None
    mono = np.atleast_2d(clip.audio).mean(axis=0)
    resampler = feature.resampler if isinstance(feature, AudioFeature) else "kaiser_best"
    return to_rate(mono, clip.sample_rate_hz, feature.sample_rate_hz, resampler)
