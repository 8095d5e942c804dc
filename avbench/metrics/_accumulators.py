"""Metrics that gather batches in a training loop: ``update``, ``compute``, ``merge``, ``reset``.

In the manner of torchmetrics, which they do not need. Batches may be arrays or tensors on any device; a tensor is
detached and copied to the host once, and nothing else waits for the device. Every accumulator pickles, and gives its
state as a dict of tensors (``state_dict``) to save with a checkpoint or to send to another process.

    fvd = FrechetDistance()
    for batch in loader:
        fvd.update(features_of(batch), real=True)
    for batch in samples:
        fvd.update(features_of(batch), real=False)
    fvd.compute()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from avbench.errors import UserError
from avbench.metrics._arrays import as_features, check_same_width
from avbench.metrics._base import ClipSignals
from avbench.metrics._frechet import FrechetStatistics, Moments
from avbench.metrics._kernel import polynomial_mmd

GENERATED, REFERENCE = "generated", "reference"


class Accumulator(ABC):
    """What all accumulators share."""

    @abstractmethod
    def compute(self) -> float:
        """The metric over everything seen so far; more may be added afterwards.

        Raises:
            UserError: Too little was seen.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add all that another accumulator of the same settings has seen; it stays as it is.

        Raises:
            UserError: It has other settings, or features of another dimension.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget everything seen."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All that was seen, as tensors on the CPU; the settings are not among them."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a state in place of all that was seen.

        Raises:
            UserError: A tensor is missing.
        """


class FrechetDistance(Accumulator):
    """Frechet distance between two growing sets of features; see `avbench.metrics.frechet_distance`.

    The state is a count, a mean and a factor of at most d x d for each side, whatever the number of rows. Batch size,
    order and number of processes do not change the result (to 1e-10 of the traces).

    Args:
        ddof: Covariances are divided by ``n - ddof``.
    """

    def __init__(self, ddof: int = 1) -> None:
        self.ddof = ddof
        self.reset()

    def update(self, features: ArrayLike | Tensor, real: bool) -> None:
        """Add rows to one side.

        Args:
            features: Float (n, d).
            real: They belong to the reference.

        Raises:
            UserError: NaN or infinity in a row, or another d than before. Nothing is added then.
        """
        self._sides[REFERENCE if real else GENERATED].update(features)

    def compute(self) -> float:
        """The distance, at least 0.

        Raises:
            UserError: A side is empty or too small, or the two have different d.
        """
        return self._sides[GENERATED].compute(self._sides[REFERENCE], self.ddof)

    def merge(self, other: Self) -> None:
        """Add what another accumulator has seen, side by side.

        Raises:
            UserError: It divides by another number, or has features of another dimension.
        """
        if other.ddof != self.ddof:
            raise UserError(f"a Frechet distance with ddof {self.ddof} cannot take up one with ddof {other.ddof}")
        for name, side in self._sides.items():
            side.merge(other._sides[name])

    def reset(self) -> None:
        """Forget both sides; ``reset(); update(real rows)`` begins anew."""
        self._sides = {name: FrechetStatistics(name) for name in (GENERATED, REFERENCE)}

    def state_dict(self) -> dict[str, Tensor]:
        """``<side>.count`` (), ``<side>.mean`` (d,) and ``<side>.factor`` (k, d) of each side seen, in float64."""
        state = {}
        for name, side in self._sides.items():
            if side.count:
                found = side.moments()
                state[f"{name}.count"] = torch.tensor(found.count)
                state[f"{name}.mean"] = torch.from_numpy(found.mean.copy())
                state[f"{name}.factor"] = torch.from_numpy(found.factor.copy())
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a state in place of both sides.

        Raises:
            UserError: A tensor is missing.
        """
        self.reset()
        for name in self._sides:
            if f"{name}.count" in state:
                count, mean, factor = (_tensor(state, f"{name}.{part}") for part in ("count", "mean", "factor"))
                self._sides[name] = FrechetStatistics.of(Moments(int(count), mean.numpy(), factor.numpy()), name)


class KernelDistance(Accumulator):
    """A distance that needs all rows, between two growing sets of features.

    The rows are kept on the host, in the precision they came in: N x d numbers a side.

    Args:
        distance: Of (generated, reference); `avbench.metrics.polynomial_mmd` gives KVD,
            `avbench.metrics.kernel_audio_distance` KAD. Options go in by ``functools.partial``.
    """

    def __init__(self, distance: Callable[[Any, Any], float] = polynomial_mmd) -> None:
        self.distance = distance
        self.reset()

    def update(self, features: ArrayLike | Tensor, real: bool) -> None:
        """Add rows to one side.

        Args:
            features: Float (n, d).
            real: They belong to the reference.

        Raises:
            UserError: NaN or infinity in a row, or another d than before. Nothing is added then.
        """
        name = REFERENCE if real else GENERATED
        rows = _on_host(features)
        checked = as_features(rows, name)
        for kept in self._rows.values():
            if kept:
                check_same_width(as_features(kept[-1][:1], "earlier"), checked, ("earlier", f"further {name}"))
        self._rows[name].append(rows)

    def compute(self) -> float:
        """The distance over all rows.

        Raises:
            UserError: A side is empty or too small.
        """
        for name, kept in self._rows.items():
            if not kept:
                raise UserError(f"there are no {name} features to compare")
        return float(self.distance(*(np.concatenate(self._rows[name]) for name in (GENERATED, REFERENCE))))

    def merge(self, other: Self) -> None:
        """Add the rows of another accumulator, after its own.

        Raises:
            UserError: Its features have another dimension.
        """
        for name, kept in other._rows.items():
            for rows in list(kept):
                self.update(rows, real=name == REFERENCE)

    def reset(self) -> None:
        """Forget both sides."""
        self._rows: dict[str, list[np.ndarray]] = {GENERATED: [], REFERENCE: []}

    def state_dict(self) -> dict[str, Tensor]:
        """``<side>.rows`` (n, d) of each side seen."""
        return {f"{name}.rows": torch.from_numpy(np.concatenate(kept)) for name, kept in self._rows.items() if kept}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a state in place of both sides."""
        self.reset()
        for name in self._rows:
            if f"{name}.rows" in state:
                self.update(_tensor(state, f"{name}.rows"), real=name == REFERENCE)


class AVAlign(Accumulator):
    """Mean AV-align over a growing set of clips; see `avbench.metrics.av_align_score`.

    Clips with neither onset nor motion peak have no score: they are left out of the mean and counted in `n_undefined`.
    """

    def __init__(self) -> None:
        self.reset()

    def update(self, video: ArrayLike | Tensor, audio: ArrayLike | Tensor, *, fps: float, sample_rate_hz: int) -> None:
        """Add clips whose picture and sound begin at time 0.

        Args:
            video: uint8 (B, T, H, W, 3), RGB.
            audio: float (B, C, L) in [-1, 1].
            fps: Frame rate of the pictures; the score depends on it.
            sample_rate_hz: Rate of the sound.

        Raises:
            UserError: Another shape or type, or sound that is not finite. Nothing is added then.
        """
        from avbench.metrics.av_align import per_clip

        pictures, sounds = _on_host(video), _on_host(audio)
        if pictures.ndim != 5 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
            raise UserError(f"AV-align takes video uint8 (B, T, H, W, 3), not {pictures.dtype} {pictures.shape}")
        if sounds.ndim != 3 or sounds.dtype.kind != "f" or len(sounds) != len(pictures):
            raise UserError(
                f"AV-align takes audio float (B, C, L) for each of the {len(pictures)} clips, not {sounds.dtype} "
                f"{sounds.shape}"
            )
        clips = [
            ClipSignals(picture, fps, sound.astype(np.float32), sample_rate_hz)
            for picture, sound in zip(pictures, sounds, strict=True)
        ]
        self._values += [per_clip(clip) for clip in clips]

    @property
    def n_undefined(self) -> int:
        """Clips seen that have no score."""
        return int(np.isnan(self._values).sum())

    def compute(self) -> float:
        """Mean over the clips that have a score, in [0, 1].

        Raises:
            UserError: None has.
        """
        if self.n_undefined == len(self._values):
            raise UserError(f"AV-align is undefined on all {len(self._values)} clips: none has an onset or a peak")
        return float(np.nanmean(self._values))

    def merge(self, other: Self) -> None:
        """Add the clips of another accumulator."""
        self._values += other._values

    def reset(self) -> None:
        """Forget all clips."""
        self._values: list[float] = []

    def state_dict(self) -> dict[str, Tensor]:
        """``values`` float64 (n,): the score of each clip, NaN where it has none."""
        return {"values": torch.tensor(self._values, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a state in place of all clips.

        Raises:
            UserError: ``values`` is missing.
        """
        self._values = _tensor(state, "values").tolist()


def _on_host(values: ArrayLike | Tensor) -> np.ndarray:
    """A copy as an array; bfloat16, which numpy lacks, becomes float32."""
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        return np.array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    return np.array(values)


def _tensor(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise UserError(f"the state has no tensor {key!r}; it is of another accumulator, or not whole")
    return state[key].detach().cpu()
