"""Bytes at known places of a dataset's shards, or one sentence that names the shard that does not hold them.

Read by position, not by memory map. Both are as fast, but a map raises a signal instead of an error where a file is cut
off under it, and its pages count as memory of the process until the system wants them back: over an epoch that is the
whole dataset. Nothing is held open, so a reader can be copied to other threads and processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.dataset import CARD_NAME, dataset_card
from avbench.errors import UserError

_MEND = "copy it again from where the dataset is whole, or run the same `avbench build-dataset` again"


class ShardFiles:
    """The shards of one dataset.

    Args:
        root: Folder of a finished dataset.
        names: Shards that will be read; each must be there, as long as ``DATASET.json`` says.

    Raises:
        UserError: Not a finished dataset, or a shard is absent or of another length.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._folder = root / "shards"
        self._made: dict[str, tuple[int, int]] = {}
        sizes = {entry["file"]: int(entry["bytes"]) for entry in dataset_card(root).get("shards", [])}
        for name in names:
            path = self._folder / name
            if name not in sizes:
                raise UserError(f"{path}: {CARD_NAME} does not name this shard; {_MEND}")
            if not path.is_file():
                raise UserError(f"{path}: is not there; {_MEND}")
            self._made[name] = _state(path.stat())
            if (size := self._made[name][0]) != sizes[name]:
                raise UserError(f"{path}: damaged: it has {size} bytes, {CARD_NAME} says {sizes[name]}; {_MEND}")

    def damaged(self, name: str, how: str) -> UserError:
        """The error for a shard whose content is not what the index says."""
        return UserError(f"{self._folder / name}: damaged: {how}; {_MEND}")

    def read(self, name: str, *parts: tuple[int, NDArray[np.uint8]]) -> None:
        """Fill buffers from a shard.

        Args:
            name: The shard.
            parts: Offset in the shard and contiguous array to fill from there, each.

        Raises:
            UserError: The shard is not the file it was, ends before, or the disk cannot read it.
        """
        try:
            handle = os.open(self._folder / name, os.O_RDONLY)
            try:
                # a dataset may be built again, or lose a clip, while it is read: its places would then be others
                if _state(os.fstat(handle)) != self._made[name]:
                    raise UserError(
                        f"{self._folder / name}: has changed since it was opened; run the same command again with the "
                        f"dataset as it is now"
                    )
                for offset, buffer in parts:
                    self._fill(handle, name, offset, buffer.data.cast("B"))
            finally:
                os.close(handle)
        except OSError as error:
            raise UserError(f"{self._folder / name}: cannot be read ({error.strerror}); {_MEND}") from error

    def _fill(self, handle: int, name: str, offset: int, buffer: memoryview) -> None:
        while buffer:
            count = os.preadv(handle, [buffer], offset)
            if not count:
                raise self.damaged(name, f"it ends before byte {offset + len(buffer)}")
            offset, buffer = offset + count, buffer[count:]


def _state(stat: os.stat_result) -> tuple[int, int]:
    """What tells a file from another one under the same name: size and time."""
    return stat.st_size, stat.st_mtime_ns
