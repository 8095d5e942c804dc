"""Training windows read straight from the shards by memory map: no video is decoded and nothing holds a dataset.

Sample ``g`` of a run is a pure function of ``(seed, g)``: the clip comes from a permutation of the split that changes
every epoch, the start frame from a generator of its own. So the order is the same after a resume, under any batch size
and with any number of processes, and no loader state needs saving.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from avbench.dataset import load_index
from avbench.errors import UserError
from avbench.schema import Batch


@dataclass(frozen=True)
class WindowSpec:
    """What a model takes.

    Attributes:
        frames: Frames per window.
        fps: Frames per second.
        size: Square picture size, pixels.
        samples: Audio samples per window.
        sample_rate_hz: Audio rate.
    """

    frames: int
    fps: float
    size: int
    samples: int
    sample_rate_hz: int


class WindowLoader:
    """Random aligned windows of the clips of one split.

    Args:
        dataset_root: Folder of a finished dataset.
        split: ``train``, ``validation`` or ``test``.
        window: Window to cut; its rates must be those of the dataset's training view, its size a whole fraction.
        seed: Seed of order and start frames.

    Raises:
        UserError: The dataset's training view does not suit the window, or the split is empty.
    """

    def __init__(self, dataset_root: Path, split: str, window: WindowSpec, *, seed: int) -> None:
        index = load_index(dataset_root)
        self.rows = index[index["split"] == split].reset_index(drop=True)
        self.folder = dataset_root / "shards"
        self.split, self.window, self.seed = split, window, seed
        if self.rows.empty:
            raise UserError(f"{dataset_root}: the split {split!r} holds no clip; build the dataset with more sources")
        self._check(dataset_root)

    def _check(self, root: Path) -> None:
        row, want = self.rows.iloc[0], self.window
        have = (float(row["view_fps"]), int(row["view_sample_rate_hz"]))
        if have != (want.fps, want.sample_rate_hz):
            raise UserError(
                f"{root}: its training view is {have[0]:g} fps and {have[1]} Hz but the model takes {want.fps:g} fps "
                f"and {want.sample_rate_hz} Hz; rebuild the dataset with these numbers under [view] in its recipe"
            )
        if int(row["view_size"]) % want.size:
            raise UserError(
                f"{root}: its training view is {row['view_size']} px and the model takes {want.size} px; rebuild the "
                f"dataset with view.size = {want.size} (or a multiple), or choose a preset of that size"
            )
        if int(self.rows["view_frames"].min()) < want.frames:
            raise UserError(f"{root}: its clips hold {row['view_frames']} frames, the model takes {want.frames}")

    def __len__(self) -> int:
        """Clips in the split (one epoch shows one window of each)."""
        return len(self.rows)

    @cached_property
    def _shards(self) -> dict[str, np.memmap]:
        return {name: np.memmap(self.folder / name, dtype=np.uint8, mode="r") for name in self.rows["shard"].unique()}

    def window_at(self, row: int, start_frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one window.

        Args:
            row: Clip number within the split.
            start_frame: First frame in the clip's training view.

        Returns:
            Video uint8 (T, S, S, 3) and audio float32 (L,), whose sample 0 is at the time of frame 0.
        """
        clip, want = self.rows.iloc[row], self.window
        data, size = self._shards[clip["shard"]], int(clip["view_size"])
        frame_bytes = size * size * 3
        at = int(clip["video_offset"]) + start_frame * frame_bytes
        video = data[at : at + want.frames * frame_bytes].reshape(want.frames, size, size, 3)
        first = round(start_frame / want.fps * want.sample_rate_hz)
        # never past the end of the clip: the last window may end up to one sample early by rounding
        first = min(first, int(clip["view_samples"]) - want.samples)
        at = int(clip["audio_offset"]) + first * 4
        audio = data[at : at + want.samples * 4].view(np.float32)
        return _shrink(video, size // want.size), np.array(audio)

    def sample(self, g: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Window ``g`` of the run: video, audio and ``<clip_id>@<start_frame>``."""
        epoch, place = divmod(g, len(self.rows))
        row = int(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.rows))[place])
        clip = self.rows.iloc[row]
        last = int(clip["view_frames"]) - self.window.frames
        start = int(np.random.default_rng([self.seed, 2, g]).integers(0, last + 1))
        video, audio = self.window_at(row, start)
        return video, audio, f"{clip['clip_id']}@{start}"

    def batch(self, step: int, batch_size: int) -> Batch:
        """Batch number ``step``: samples ``step * batch_size ... (step + 1) * batch_size - 1``."""
        items = [self.sample(step * batch_size + i) for i in range(batch_size)]
        video = torch.from_numpy(np.stack([v for v, _, _ in items])).permute(0, 1, 4, 2, 3).contiguous()
        audio = torch.from_numpy(np.stack([a for _, a, _ in items])).unsqueeze(1)
        return Batch(video, audio, tuple(name for _, _, name in items))

    def tiles(self) -> list[tuple[int, int]]:
        """Every non-overlapping window of the split, as (row, start_frame): the reference side of a score."""
        step = self.window.frames
        return [
            (row, start)
            for row, frames in enumerate(self.rows["view_frames"])
            for start in range(0, int(frames) - step + 1, step)
        ]


def _shrink(video: np.ndarray, factor: int) -> np.ndarray:
    """Average ``factor`` x ``factor`` blocks of pixels; uint8 (T, S, S, 3) in and out."""
    if factor == 1:
        return np.array(video)
    t, s, _, c = video.shape
    blocks = video.reshape(t, s // factor, factor, s // factor, factor, c)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
