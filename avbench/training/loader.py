"""Training windows read straight from the shards: no video is decoded and nothing holds a dataset.

Sample ``g`` of a run is a pure function of ``(seed, g)``: the clip comes from a permutation of the split that changes
every epoch, the start frame from a generator of its own. So the order is the same after a resume, under any batch size
and with any number of processes, and no loader state needs saving. The order has no end: a batch may hold the last
clips of one epoch and the first of the next, and none is ever short.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.curate._tar import npy_header
from avbench.dataset import load_index
from avbench.errors import UserError
from avbench.schema import Batch
from avbench.training._shards import ShardFiles


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

    It holds the index and no data: reading needs the memory of the batch it returns and of one window. It can be used
    from several threads, and copied to other processes.

    Args:
        dataset_root: Folder of a finished dataset.
        split: ``train``, ``validation`` or ``test``.
        window: Window to cut; its rates must be those of the dataset's training view, its size a whole fraction.
        seed: Seed of order, start frames and mirroring.
        flip: Probability that the picture of a sample is mirrored, left for right.

    Raises:
        UserError: The dataset's training view does not suit the window, the split is empty, or a shard is damaged.
    """

    def __init__(self, dataset_root: Path, split: str, window: WindowSpec, *, seed: int, flip: float = 0.0) -> None:
        index = load_index(dataset_root)
        self.rows = index[index["split"] == split].reset_index(drop=True)
        self.split, self.window, self.seed, self.flip = split, window, seed, flip
        if self.rows.empty:
            raise UserError(f"{dataset_root}: the split {split!r} holds no clip; build the dataset with more sources")
        self._check(dataset_root)
        # a row of a data frame costs more than reading the window it names
        self._clip_ids: list[str] = self.rows["clip_id"].tolist()
        self._shards: list[str] = self.rows["shard"].tolist()
        columns = ("view_frames", "view_samples", "video_offset", "audio_offset")
        self._frames, self._samples, self._video_at, self._audio_at = (
            self.rows[name].to_numpy(np.int64) for name in columns
        )
        self._size = int(self.rows["view_size"].iloc[0])
        self._files = ShardFiles(dataset_root, sorted(set(self._shards)))
        self._seen = np.zeros(len(self.rows), bool)

    def _check(self, root: Path) -> None:
        want = self.window
        for _, row in self.rows[["view_fps", "view_sample_rate_hz", "view_size"]].drop_duplicates().iterrows():
            have = (float(row["view_fps"]), int(row["view_sample_rate_hz"]))
            if have != (want.fps, want.sample_rate_hz):
                raise UserError(
                    f"{root}: its training view is {have[0]:g} fps and {have[1]} Hz but the model takes {want.fps:g} "
                    f"fps and {want.sample_rate_hz} Hz; rebuild the dataset with these numbers under [view] in its "
                    f"recipe"
                )
            if int(row["view_size"]) % want.size:
                raise UserError(
                    f"{root}: its training view is {int(row['view_size'])} px and the model takes {want.size} px; "
                    f"rebuild the dataset with view.size = {want.size} (or a multiple), or choose a preset of that size"
                )
        due = want.frames / want.fps * want.sample_rate_hz
        if abs(want.samples - due) >= 1:
            raise UserError(
                f"a window of {want.frames} frames at {want.fps:g} fps lasts {due:g} samples at {want.sample_rate_hz} "
                f"Hz, not {want.samples}: picture and sound would drift apart; set samples = {round(due)}"
            )
        if (shortest := int(self.rows["view_frames"].min())) < want.frames:
            raise UserError(
                f"{root}: its shortest clip holds {shortest} frames ({shortest / want.fps:g} s), the model takes "
                f"{want.frames}; take a shorter window, or rebuild the dataset with a longer segment.clip_s"
            )

    def __len__(self) -> int:
        """Clips in the split (one epoch shows one window of each)."""
        return len(self._clip_ids)

    def window_at(self, row: int, start_frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Read one window.

        Args:
            row: Clip number within the split.
            start_frame: First frame in the clip's training view.

        Returns:
            Video uint8 (T, S, S, 3) and audio float32 (L,), whose sample 0 is at the time of frame 0.

        Raises:
            UserError: The shard is damaged.
        """
        want, size = self.window, self._size
        video = np.empty((want.frames, size, size, 3), np.uint8)
        audio = np.empty(want.samples, "<f4")
        first = round(start_frame / want.fps * want.sample_rate_hz)
        # never past the end of the clip: the last window may end up to one sample early by rounding
        first = min(first, int(self._samples[row]) - want.samples)
        if not self._seen[row]:
            self._check_clip(row)
        self._files.read(
            self._shards[row],
            (int(self._video_at[row]) + start_frame * size * size * 3, video),
            (int(self._audio_at[row]) + first * 4, audio.view(np.uint8)),
        )
        return _shrink(video, size // want.size), audio

    def _check_clip(self, row: int) -> None:
        """Both arrays begin where the index says; once per clip, so that another build's shard is not read as data."""
        shape = (int(self._frames[row]), self._size, self._size, 3)
        heads = {"picture": npy_header("u1", shape), "sound": npy_header("<f4", (int(self._samples[row]),))}
        for (what, head), at in zip(heads.items(), (self._video_at[row], self._audio_at[row]), strict=True):
            found = np.empty(len(head), np.uint8)
            self._files.read(self._shards[row], (max(0, int(at) - len(head)), found))
            if found.tobytes() != head:
                how = f"the {what} of {self._clip_ids[row]} does not begin where the index says"
                raise self._files.damaged(self._shards[row], how)
        self._seen[row] = True

    def place(self, g: int) -> tuple[int, int]:
        """Clip number within the split and start frame of sample ``g``."""
        epoch, place = divmod(g, len(self))
        row = int(order(self.seed, epoch, len(self))[place])
        last = int(self._frames[row]) - self.window.frames
        return row, int(np.random.default_rng([self.seed, 2, g]).integers(0, last + 1))

    def sample(self, g: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        """Window ``g`` of the run: video, audio and ``<clip_id>@<start_frame>``; see `window_at`.

        A mirrored one has the same name: it says where the window lies.
        """
        row, start = self.place(g)
        video, audio = self.window_at(row, start)
        if is_mirrored(self.seed, g, self.flip):
            video = np.ascontiguousarray(video[:, :, ::-1])
        return video, audio, f"{self._clip_ids[row]}@{start}"

    def batch(self, step: int, batch_size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Batch number ``step``, or one process's share of it.

        Args:
            step: Number of the batch; holds samples ``step * batch_size ... (step + 1) * batch_size - 1``.
            batch_size: Samples of all processes together.
            rank: Which process, from 0. The shares of all ranks, in their order, are the batch of one process.
            world: How many processes train together.

        Raises:
            UserError: The batch cannot be divided equally, or a shard is damaged.
        """
        first, end = share(batch_size, rank, world)
        want = self.window
        video = np.empty((end - first, want.frames, 3, want.size, want.size), np.uint8)
        audio = np.empty((end - first, 1, want.samples), np.float32)
        names = []
        for place in range(end - first):
            picture, audio[place, 0], name = self.sample(step * batch_size + first + place)
            video[place] = picture.transpose(0, 3, 1, 2)
            names.append(name)
        return Batch(torch.from_numpy(video), torch.from_numpy(audio), tuple(names))

    def tiles(self) -> list[tuple[int, int]]:
        """Every non-overlapping window of the split, as (row, start_frame): the reference side of a score."""
        step = self.window.frames
        return [
            (row, start) for row, frames in enumerate(self._frames) for start in range(0, int(frames) - step + 1, step)
        ]


def share(batch_size: int, rank: int, world: int) -> tuple[int, int]:
    """First place and end of the part of a batch that process ``rank`` of ``world`` takes.

    Raises:
        UserError: No such process, or the batch cannot be divided equally.
    """
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} of {world} processes does not exist; ranks are 0 to {world - 1}")
    if batch_size < 1 or batch_size % world:
        raise UserError(
            f"a batch of {batch_size} cannot be divided among {world} processes; choose a multiple of {world}"
        )
    each = batch_size // world
    return rank * each, (rank + 1) * each


@lru_cache(maxsize=8)
def order(seed: int, epoch: int, clips: int) -> NDArray[np.int64]:
    """The order of the clips in one epoch, drawn once and not once per sample."""
    order = np.random.default_rng([seed, 1, epoch]).permutation(clips)
    order.flags.writeable = False
    return order


def is_mirrored(seed: int, g: int, flip: float) -> bool:
    """Whether the picture of sample ``g`` is mirrored, which happens with the probability ``flip``."""
    return flip > 0 and bool(np.random.default_rng([seed, 4, g]).random() < flip)


def _shrink(video: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average ``factor`` x ``factor`` blocks of pixels; uint8 (T, S, S, 3) in and out."""
    if factor == 1:
        return video
    t, s, _, c = video.shape
    blocks = video.reshape(t, s // factor, factor, s // factor, factor, c)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
