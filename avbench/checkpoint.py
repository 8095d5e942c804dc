"""Reading what training leaves: weights as safetensors, the configuration inside; `avbench.training.checkpoint` writes.

A checkpoint is a folder ``checkpoints/step-00000500/`` that appears by one rename, so it is whole or absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from avbench.errors import UserError


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk.

    Attributes:
        path: Its folder.
        step: Optimizer steps taken.
        config: What the weights were made with (model, preset, recipe, dataset hash).
    """

    path: Path
    step: int
    config: dict[str, Any]

    def weights(self, kind: str = "ema") -> dict[str, torch.Tensor]:
        """Tensors of ``model``, ``ema`` or ``optimizer``, on the CPU.

        Raises:
            UserError: The file is damaged, or was deleted since the checkpoint was found.
        """
        file = self.path / f"{kind}.safetensors"
        try:
            return load_tensors(file)
        except (OSError, SafetensorError) as error:
            raise _unreadable(file, error) from error


def load_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.safetensors`` file, on the CPU, read and not mapped.

    Mapped, safetensors 0.8 never frees 64 bytes for each tensor that it gives: 3 MiB in 50,000 tensors.

    Raises:
        OSError: It cannot be read.
        SafetensorError: It is damaged.
    """
    return load_file(file, backend="pread")


def read(path: Path) -> Checkpoint:
    """Open a checkpoint folder.

    Raises:
        UserError: It is no checkpoint of avbench, or damaged.
    """
    file = path / "ema.safetensors"
    try:
        with safe_open(file, framework="pt") as handle:
            metadata = json.loads((handle.metadata() or {})["avbench"])
        step, config = metadata["step"], metadata["config"]
        if type(step) is not int or not isinstance(config, dict):
            raise ValueError("its metadata has no step or no configuration")
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error
    return Checkpoint(path, step, config)


def _unreadable(file: Path, error: Exception) -> UserError:
    return UserError(f"{file}: not a checkpoint of avbench, or damaged ({error}); train again")


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in a ``checkpoints`` folder, or None."""
    found = sorted(folder.glob("step-*"))
    return read(found[-1]) if found else None
