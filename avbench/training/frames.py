"""Single frames of a dataset at a size of one's own, for networks that learn from pictures.

Frame ``g`` of a run is a pure function of ``(seed, g)``, as windows are (`avbench.training.loader`). Where the training
view holds the size (or a multiple) a frame is read from the shard by position. Where it is smaller the archive clip is
decoded from the key frame before: hundreds of times the work, but a dataset need not hold its pictures twice, and a
large network takes longer for a frame than decoding one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media
from avbench.dataset import load_index
from avbench.errors import MediaError, UserError
from avbench.schema import Batch
from avbench.training.archive import ArchiveReader
from avbench.training.loader import WindowLoader, WindowSpec, is_mirrored, order, share


class FrameLoader:
    """Random frames of the clips of one split, letterboxed to a square.

    It can be used from several threads.

    Args:
        dataset_root: Folder of a finished dataset.
        split: ``train``, ``validation`` or ``test``.
        size: Width and height, pixels.
        seed: Seed of order, choice and mirroring.
        flip: Probability that a frame is mirrored, left for right.

    Attributes:
        source: Where frames come from.

    Raises:
        UserError: The split is empty, a shard is damaged, or all pictures of the dataset are smaller than ``size``.
    """

    source: Literal["view", "archive"]

    def __init__(self, dataset_root: Path, split: str, size: int, *, seed: int, flip: float = 0.0) -> None:
        index = load_index(dataset_root)
        rows = index[index["split"] == split]
        self.size, self.seed, self.flip = size, seed, flip
        self._window: WindowLoader | None = None
        self._archive: ArchiveReader | None = None
        if not rows.empty and not (rows["view_size"] % size).any():
            fps, rate = float(rows["view_fps"].iloc[0]), int(rows["view_sample_rate_hz"].iloc[0])
            spec = WindowSpec(1, fps, size, round(rate / fps), rate)
            self.source, self._window = "view", WindowLoader(dataset_root, split, spec, seed=seed, flip=flip)
            return
        self.source, self._archive = "archive", ArchiveReader(dataset_root, split)
        width, height = int(rows["width"].min()), int(rows["height"].min())
        if max(width, height) < size:
            raise UserError(
                f"{dataset_root}: its clips are {width} x {height} px, the model learns from {size} px; build the "
                f"dataset with a larger segment.width and segment.height, or choose a smaller preset"
            )

    def __len__(self) -> int:
        """Clips in the split (one epoch shows one frame of each)."""
        return len(self._window or self._archive or ())

    def batch(self, step: int, batch_size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Batch number ``step``, or one process's share of it: windows of one frame, without sound.

        Args:
            step: Number of the batch.
            batch_size: Frames of all processes together.
            rank: Which process, from 0.
            world: How many processes train together.

        Raises:
            UserError: The batch cannot be divided equally, or a shard is damaged.
        """
        if self._window is not None:
            found = self._window.batch(step, batch_size, rank=rank, world=world)
            return Batch(found.video, found.audio[:, :, :0], found.ids)
        first, end = share(batch_size, rank, world)
        drawn = [self._decoded(step * batch_size + place) for place in range(first, end)]
        video = torch.from_numpy(np.stack([frame for frame, _ in drawn])).permute(0, 3, 1, 2).unsqueeze(1)
        return Batch(video.contiguous(), torch.zeros(len(drawn), 1, 0), tuple(name for _, name in drawn))

    def _decoded(self, g: int) -> tuple[NDArray[np.uint8], str]:
        """Frame ``g`` of the run, from the archive clip, and its name."""
        assert self._archive is not None
        epoch, place = divmod(g, len(self))
        row = int(order(self.seed, epoch, len(self))[place])
        clip = self._archive.rows.iloc[row]
        count = round(float(clip["clip_s"]) * float(clip["fps"]))
        number = int(np.random.default_rng([self.seed, 2, g]).integers(count))
        with self._archive.mp4(row) as path:
            try:
                start_s = number / float(clip["fps"])
                frame = media.decode_video(path, size=(self.size, self.size), start_s=start_s, n_frames=1)[0]
            except MediaError as error:
                raise UserError(f"{clip['clip_id']}: frame {number} cannot be decoded ({error})") from error
        if is_mirrored(self.seed, g, self.flip):
            frame = frame[:, ::-1]
        return frame, f"{clip['clip_id']}@{number}"
