"""What every feature is: a name, what it needs of a clip, and `embed`, which turns a batch into rows of numbers.

A feature file defines ``WEIGHT`` (its `avbench.weights.Weight`, or None) and ``class Feature`` on top of `VideoFeature`
or `AudioFeature`. The checks of the input, the loading of weights and the shape of the answer are here, once.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avbench import weights as weights_store
from avbench.errors import MediaError, UserError
from avbench.weights import Weight

WeightSource = str | Path | Mapping[str, Tensor] | None
"""Where a network's tensors come from: None is the published file in the cache folder."""

LOUDEST = 100.0
"""Peak above which audio cannot be meant for [-1, 1]: it is int16 scale, the error behind some published FADs."""


class Embedding(NamedTuple):
    """Rows of numbers and the clip each belongs to.

    Attributes:
        values: float32 (rows, dim).
        owner: int64 (rows,): index in the batch of the clip the row describes; a clip may have several rows.
    """

    values: NDArray[np.float32]
    owner: NDArray[np.int64]


class Feature(nn.Module, ABC):
    """An embedding of clips: a module whose call is the network alone, on the input its reference implementation takes.

    `embed` is what scores use: it prepares decoded clips, checks them and says whose row is whose. The module is ready
    when it is made and never trains: `train` does not change it, its parameters ask for no gradient.

    Attributes:
        name: The file's name.
        modality: What ``embed`` takes.
        dim: Numbers per row.
        fps: Frame rate the feature is defined at; None: whatever the protocol says.
        sample_rate_hz: Sample rate ``embed`` expects; None for video.
        min_frames: Fewest frames a clip may have; None for audio.
        min_samples: Fewest samples a clip may have; None for video.
        weight: The published weights; None where the feature needs none.
        weights_sha256: Digest of the weights in use; None where there are none. Belongs in every result.
        published: True when the numbers are what the name promises: the published weights, checked, or none needed.
            A score that bears a published name (FVD, FAD) must refuse a feature where this is False.
        settings: Every choice that changes the numbers, for the protocol id.
        batch_dependent: True where a row depends on the clips around it in the batch. Such a feature is given batches
            of exactly ``batch_size`` clips in order (the last may be smaller), and its rows are not kept per clip.
        batch_size: Clips per batch of a feature that depends on it; None for all others.
    """

    name: ClassVar[str]
    modality: ClassVar[Literal["video", "audio"]]
    dim: ClassVar[int]
    fps: ClassVar[float | None] = None
    sample_rate_hz: int | None = None
    min_frames: ClassVar[int | None] = None
    min_samples: int | None = None
    weight: ClassVar[Weight | None] = None
    batch_dependent: bool = False
    batch_size: int | None = None
    _place: Tensor

    def __init__(self, weights: WeightSource = None, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.training = False
        # follows the module to whatever device it is moved to, also where there is no other tensor
        self.register_buffer("_place", torch.empty(0, device=usable_device(device)), persistent=False)
        self.settings: dict[str, str | int | float] = {}
        self.weights_sha256: str | None = None
        self.published = True
        if self.weight is None:
            if weights is not None:
                raise UserError(f"feature {self.name} computes without weights; leave them out")
            return
        tensors, self.weights_sha256, self.published = read_weights(self.weight, weights)
        self.network = assemble(self.name, self.architecture, self.select(tensors)).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._place.device

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a network that measures stays as it was made, also inside a model that is being trained."""
        return self

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights, with the tensors of the published file; for features that have weights."""
        raise NotImplementedError

    @staticmethod
    def select(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of the network among those of the file; all of them, unless a feature knows better."""
        return tensors

    def forward(self, x: Tensor) -> Tensor:
        """The network's answer to the input its reference implementation takes; without a network, to `embed`'s."""
        answer: Tensor = self._embed(x) if self.weight is None else self.network(x)
        return answer

    def embed(self, batch: NDArray[Any] | Tensor) -> Embedding:
        """Describe a batch of clips of one length.

        Args:
            batch: Video: uint8 (B, T, H, W, 3) RGB at any size. Audio: float (B, L) mono in [-1, 1] at
                ``sample_rate_hz``.

        Returns:
            At least one row per clip, rows of a clip adjacent, clips in order; the same under any batch size (to the
            rounding of float32).

        Raises:
            MediaError: The clips are too short, or hold values that are not numbers.
            UserError: The batch has another shape, type or scale.
        """
        clips = torch.as_tensor(batch)
        if clips.ndim == 0 or len(clips) == 0:
            raise UserError(f"feature {self.name}: the batch is empty")
        self._check(clips)
        with torch.inference_mode(), exact_float32():
            values = self._embed(clips).to("cpu", torch.float32).numpy()
        if not np.isfinite(values).all():
            raise MediaError(f"feature {self.name}: the embedding is not finite; its weights or the clip are damaged")
        return Embedding(values, np.repeat(np.arange(len(clips)), len(values) // len(clips)))

    @abstractmethod
    def _check(self, clips: Tensor) -> None:
        """Refuse a batch that is not what the feature takes."""

    @abstractmethod
    def _embed(self, clips: Tensor) -> Tensor:
        """Rows (B * rows per clip, dim) of a checked batch."""


class VideoFeature(Feature):
    """A feature of moving pictures: ``embed`` takes uint8 (B, T, H, W, 3)."""

    modality = "video"
    min_frames: ClassVar[int]

    def _check(self, clips: Tensor) -> None:
        if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype != torch.uint8:
            raise UserError(f"feature {self.name} takes uint8 (B, T, H, W, 3), not {clips.dtype} {tuple(clips.shape)}")
        if clips.shape[1] < self.min_frames:
            raise MediaError(
                f"feature {self.name}: a clip of {clips.shape[1]} frames is too short, it needs {self.min_frames}"
            )


class AudioFeature(Feature):
    """A feature of sound: ``embed`` takes float (B, L), mono, in [-1, 1], at ``sample_rate_hz``."""

    modality = "audio"
    sample_rate_hz: int
    min_samples: int
    resampler: Literal["kaiser_best", "sinc_hann"] = "kaiser_best"
    """How sound of another rate is brought to this one; see `avbench.features._clips.to_rate`."""

    def _check(self, clips: Tensor) -> None:
        if clips.ndim != 2 or not clips.is_floating_point():
            raise UserError(f"feature {self.name} takes float (B, L), not {clips.dtype} {tuple(clips.shape)}")
        if clips.shape[1] < self.min_samples:
            raise MediaError(
                f"feature {self.name}: a clip of {clips.shape[1]} samples is too short, it needs {self.min_samples} "
                f"({self.min_samples / self.sample_rate_hz:g} s at {self.sample_rate_hz} Hz)"
            )
        peak = float(clips.abs().max())
        if not np.isfinite(peak):
            raise MediaError(f"feature {self.name}: the sound holds values that are not finite")
        if peak > LOUDEST:
            raise UserError(f"feature {self.name} takes sound in [-1, 1]; a peak of {peak:g} is another scale")


def assemble(name: str, architecture: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build a network whose every tensor comes from ``tensors``: none is ever initialised at random.

    Raises:
        UserError: A tensor is missing, left over, or has another shape: these are weights of another network.
    """
    with torch.device("meta"):
        network: nn.Module = architecture()
    wanted = network.state_dict()
    odd = sorted(wanted.keys() ^ tensors.keys())
    if odd:
        state = "missing" if odd[0] in wanted else "not known"
        raise UserError(f"these are not weights of {name}: tensor {odd[0]} is {state} ({len(odd)} such names)")
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key].shape:
            raise UserError(
                f"these are not weights of {name}: {key} is {tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            )
    typed = {key: tensor.detach().to(wanted[key].dtype) for key, tensor in tensors.items()}
    network.load_state_dict(typed, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def usable_device(device: str | torch.device) -> torch.device:
    """The device, if this machine has it.

    Raises:
        UserError: It has not.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"there is no device called {device!r}; use cpu or cuda") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {device!r} was asked for, but this machine has no usable CUDA device; use cpu")
    return chosen


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Full float32 on CUDA: TF32 convolutions, cuDNN's default, would shift every score in the fourth digit."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def read_weights(weight: Weight, source: WeightSource) -> tuple[Mapping[str, Tensor], str, bool]:
    """The tensors, their digest, and whether they are the published ones."""
    if source is None:
        path = weights_store.locate(weight)
        return weights_store.read_tensors(path), weights_store.digest(weight), True
    if isinstance(source, Mapping):
        return source, _state_sha256(source), False
    path = Path(source)
    tensors = weights_store.read_tensors(path)
    sha256 = weights_store.file_sha256(path)
    return tensors, sha256, sha256 == weight.sha256


def _state_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Digest of a state dict that is in no file: names, types, shapes and bytes, in order of name."""
    hasher = hashlib.sha256()
    for key in sorted(tensors):
        array = tensors[key].detach().cpu().contiguous().numpy()
        hasher.update(f"{key} {array.dtype} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()
