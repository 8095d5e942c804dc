"""The archive clips in the shards, for models that want another size or rate than the training view has.

Decoding costs hundreds of times what reading the view costs. For a long training, build the dataset with the view the
model takes; this reader is for looking, for evaluation, and for models that need more pixels than a view can hold.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.curate._tar import member_bytes, npy_header
from avbench.dataset import load_index
from avbench.errors import MediaError, UserError
from avbench.training._shards import ShardFiles


class ArchiveReader:
    """Archive clips of one split, numbered as `WindowLoader` numbers them.

    Args:
        dataset_root: Folder of a finished dataset.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        UserError: Not a finished dataset, the split is empty, or a shard is damaged.
    """

    def __init__(self, dataset_root: Path, split: str) -> None:
        index = load_index(dataset_root)
        self.rows = index[index["split"] == split].reset_index(drop=True)
        if self.rows.empty:
            raise UserError(f"{dataset_root}: the split {split!r} holds no clip; build the dataset with more sources")
        self._files = ShardFiles(dataset_root, sorted(set(self.rows["shard"])))

    def __len__(self) -> int:
        """Clips in the split."""
        return len(self.rows)

    @contextmanager
    def mp4(self, row: int) -> Iterator[Path]:
        """The archive clip as a file of its own, for as long as it is read.

        Args:
            row: Clip number within the split.

        Raises:
            UserError: The shard does not hold the clip the index names, byte for byte.
        """
        clip = self.rows.iloc[row]
        head = npy_header("u1", (int(clip["view_frames"]), int(clip["view_size"]), int(clip["view_size"]), 3))
        # the mp4 lies right before its picture array, see docs/architecture.md
        padded = member_bytes(int(clip["bytes"]))
        data = np.empty(int(clip["bytes"]), np.uint8)
        self._files.read(clip["shard"], (max(0, int(clip["video_offset"]) - len(head) - padded), data))
        if hashlib.sha256(data.data).hexdigest() != clip["sha256"]:
            raise self._files.damaged(clip["shard"], f"the mp4 of {clip['clip_id']} is not the one the index names")
        with tempfile.TemporaryDirectory(prefix="avbench-") as folder:
            path = Path(folder) / f"{clip['clip_id']}.mp4"
            path.write_bytes(data.data)
            yield path

    def read(
        self,
        row: int,
        *,
        start_s: float = 0.0,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        sample_rate_hz: int | None = None,
        mono: bool = False,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Decode a span of a clip.

        Args:
            row: Clip number within the split.
            start_s: Where the span begins, seconds from the start of the clip.
            seconds: How long it is; None means to the end of the clip.
            fps: Frames per second; None means those of the clip.
            size: (width, height) in pixels, letterboxed; None means that of the clip.
            sample_rate_hz: Audio rate; None means that of the clip.
            mono: Mix all channels into one.

        Returns:
            Video uint8 (T, H, W, 3) and audio float32 (C, L); frame 0 and sample 0 are at ``start_s``, T and L are
            ``seconds`` at the two rates, rounded.

        Raises:
            UserError: The span reaches out of the clip, or the shard is damaged.
        """
        clip = self.rows.iloc[row]
        length = float(clip["clip_s"])
        span = length - start_s if seconds is None else seconds
        if start_s < 0 or span <= 0 or start_s + span > length + 1e-9:
            raise UserError(
                f"{clip['clip_id']}: {start_s:g} s to {start_s + span:g} s does not lie in the clip, which lasts "
                f"{length:g} s; choose another start_s or seconds"
            )
        rate, sound_rate = fps or float(clip["fps"]), sample_rate_hz or int(clip["sample_rate_hz"])
        with self.mp4(row) as path:
            try:
                video = media.decode_video(path, fps=rate, size=size, start_s=start_s, n_frames=round(span * rate))
                audio = media.decode_audio(
                    path, sample_rate_hz=sound_rate, mono=mono, start_s=start_s, n_samples=round(span * sound_rate)
                )
            except MediaError as error:
                raise UserError(str(error).replace(str(path), f"{clip['shard']}, {path.name}")) from error
        return video, audio
