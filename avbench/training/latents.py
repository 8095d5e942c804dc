"""The windows of a dataset as latents, encoded once, and the loader that trains from them.

    <dataset>/latents/<key>/train-00000.video.npy  float32 (windows, N, C, h, w), as the codec gives them
                            train-00000.audio.npy  float32 (windows, M, C)
                            index.parquet          one row per window
                            LATENTS.json           codecs, window, statistics, digests; written last

The key is a digest of all that the latents depend on: the dataset's own digest, the codecs with their weights, the
window. So several runs share a folder, and a dataset that has changed, for instance because a recording was taken down,
never meets latents of its earlier self. Windows lie at fixed starts and each is encoded by itself: a causal codec gives
the first frame of a clip another latent than the same frame in the middle.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from avbench import formats, recipe
from avbench.curate._tar import npy_header
from avbench.dataset import LATENTS_FOLDER, dataset_card
from avbench.errors import EnvironmentFault, UserError
from avbench.progress import SILENT, Bar, Reporter
from avbench.schema import SCHEMA_VERSION, Batch
from avbench.training._latent_files import (
    CARD_NAME,
    INDEX_NAME,
    ArrayFile,
    damaged,
    measure,
    names_of,
    read_index,
)
from avbench.training.latent_space import CodecPair, LatentShape, LatentStatistics
from avbench.training.loader import WindowLoader, WindowSpec, order, share
from avbench.workspace import TEMPORARY, file_sha256, free_bytes, fsync_tree, publish, read_json, write_json

_SHARD_BYTES = 256_000_000
_BATCH_PIXELS = 1 << 20
"""Pixels, of all frames, that are encoded at a time."""
_FORMAT = 1
"""Counted up when the same settings give other bytes."""
_LARGEST = {"video_largest", "audio_largest"}
"""Statistics that cards of earlier versions lack."""


def encode_dataset(
    dataset: Path,
    split: str,
    pair: CodecPair,
    *,
    stride: int,
    reporter: Reporter = SILENT,
    folder: Path | None = None,
) -> Path:
    """Encode the windows of a split, unless they are encoded already.

    After a kill at any moment the same call goes on with the shard that was under way and ends with the same bytes.
    Several processes may ask for the same latents: one encodes, the others wait for it. Of latents whose card does not
    say how large they are, as earlier versions of avbench left it, that is measured now; they are not encoded again.

    Args:
        dataset: Folder of a finished dataset.
        split: Whose clips; the statistics are measured on them.
        pair: The codecs, and the window.
        stride: Frames from the start of a window of a clip to that of the next.
        reporter: Progress.
        folder: Where folders of latents lie; None is ``latents`` in the folder of the dataset.

    Returns:
        The folder of these latents.

    Raises:
        UserError: Window, dataset and codecs do not suit each other, or a codec gives what is no number.
        EnvironmentFault: No room on the disk, or the folder cannot be written.
    """
    card = dataset_card(dataset)
    about = {
        "format": _FORMAT,
        "dataset_sha256": card["dataset_sha256"],
        "split": split,
        "codecs": pair.identity(),
        "window": asdict(pair.window),
        "stride": stride,
    }
    key = recipe.sha256(about)[:16]
    root = folder or dataset / LATENTS_FOLDER
    final, scratch = root / key, root / f"{TEMPORARY}{key}"
    if _is_measured(final):
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f".{key}.lock")
        lock.acquire()
    except OSError as error:
        raise EnvironmentFault(
            f"{root}: latents cannot be written there ({error.strerror}); make the folder writable, or copy the "
            f"dataset to a place that is"
        ) from error
    try:
        if not (final / CARD_NAME).is_file():
            work = _Encoding(WindowLoader(dataset, split, pair.window, seed=0), pair, stride, scratch)
            work.run({"schema_version": SCHEMA_VERSION, "name": card["name"], **about}, reporter)
            shutil.rmtree(final, ignore_errors=True)
            scratch.replace(final)
        elif not _is_measured(final):
            _measure_anew(final, pair.shape)
    finally:
        lock.release()
    return final


def _is_measured(folder: Path) -> bool:
    """Whether finished latents lie there whose card has all statistics that sampling needs."""
    return (folder / CARD_NAME).is_file() and _card(folder)["statistics"].keys() >= _LARGEST


def _measure_anew(folder: Path, shape: LatentShape) -> None:
    """Put the statistics of latents on their card, from the arrays beside it.

    Raises:
        UserError: One of them is damaged.
    """
    card = _card(folder)
    for name, digest in card["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != digest:
            raise damaged(folder / name)
    names = [name for name in card["files"] if name != INDEX_NAME]
    write_json(folder / CARD_NAME, {**card, "statistics": measure(folder, names, shape).as_json()})


def _card(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = formats.check(read_json(folder / CARD_NAME), formats.Latents, folder / CARD_NAME)
    return found


class _Encoding:
    """The latents of one split on their way to a folder."""

    def __init__(self, loader: WindowLoader, pair: CodecPair, stride: int, folder: Path) -> None:
        self._loader, self._pair, self._folder, self._shape = loader, pair, folder, pair.shape
        window = loader.window
        frames = loader.rows["view_frames"].tolist()
        self._places = [
            (row, start) for row, n in enumerate(frames) for start in range(0, int(n) - window.frames + 1, stride)
        ]
        bytes_each = 4 * sum(int(np.prod(shape)) for shape in self._shape)
        self._per_shard = max(1, _SHARD_BYTES // bytes_each)
        self._per_batch = max(1, _BATCH_PIXELS // (window.frames * window.size**2))
        self._bytes = bytes_each * len(self._places)

    def run(self, card: dict[str, Any], reporter: Reporter) -> None:
        """Write what is missing, index and card last."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{TEMPORARY}*"):
            left.unlink()
        there = sum(path.stat().st_size for path in self._folder.iterdir())
        if free_bytes(self._folder) < self._bytes - there:
            raise EnvironmentFault(
                f"{self._folder.parent}: latents of {len(self._places)} windows need {self._bytes / 1e9:.1f} GB and "
                f"the disk has {free_bytes(self._folder) / 1e9:.1f} GB free; free some, or take a larger codec.stride"
            )
        shards = [
            self._places[first : first + self._per_shard] for first in range(0, len(self._places), self._per_shard)
        ]
        with reporter.bar("encode", total=len(self._places), unit="window") as bar:
            for number, places in enumerate(shards):
                self._shard(number, places, bar)
        names = [name for number in range(len(shards)) for name in names_of(self._loader.split, number)]
        self._write_index(shards)
        write_json(
            self._folder / CARD_NAME,
            {
                **card,
                "shape": {"video": list(self._shape.video), "audio": list(self._shape.audio)},
                "windows": len(self._places),
                "windows_per_shard": self._per_shard,
                "statistics": measure(self._folder, names, self._shape).as_json(),
                "files": {name: file_sha256(self._folder / name) for name in [*names, INDEX_NAME]},
            },
        )
        fsync_tree(self._folder)

    def _shard(self, number: int, places: list[tuple[int, int]], bar: Bar) -> None:
        """Encode the windows of one shard; both of its files are there, or it is encoded anew."""
        video_name, audio_name = names_of(self._loader.split, number)
        if (self._folder / video_name).is_file() and (self._folder / audio_name).is_file():
            bar.advance(len(places))
            return
        with (
            publish(self._folder / video_name) as video_path,
            publish(self._folder / audio_name) as audio_path,
            open(video_path, "wb") as video_file,
            open(audio_path, "wb") as audio_file,
        ):
            video_file.write(npy_header("<f4", (len(places), *self._shape.video)))
            audio_file.write(npy_header("<f4", (len(places), *self._shape.audio)))
            for first in range(0, len(places), self._per_batch):
                part = places[first : first + self._per_batch]
                video, audio = self._encoded(part)
                video_file.write(video.tobytes())
                audio_file.write(audio.tobytes())
                bar.advance(len(part))

    def _encoded(self, places: list[tuple[int, int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents of some windows, checked."""
        read = [self._loader.window_at(row, start) for row, start in places]
        pictures = torch.from_numpy(np.stack([video for video, _ in read])).permute(0, 1, 4, 2, 3)
        sounds = torch.from_numpy(np.stack([audio for _, audio in read]))[:, None]
        found = []
        names = self._pair.video.name, self._pair.audio.name
        for name, latents, shape in zip(names, self._pair.encode(pictures, sounds), self._shape, strict=True):
            if tuple(latents.shape) != (len(places), *shape):
                raise UserError(
                    f"codec {name}: gives latents {tuple(latents.shape[1:])} of a clip, announced are {shape}"
                )
            if not torch.isfinite(latents).all():
                bad = int((~torch.isfinite(latents.flatten(1)).all(1)).nonzero()[0])
                window = self._name(places[bad])
                raise UserError(f"codec {name}: its latents of the window {window} hold NaN or infinity; take another")
            found.append(np.ascontiguousarray(latents.numpy(), "<f4"))
        return found[0], found[1]

    def _name(self, place: tuple[int, int]) -> str:
        return f"{self._loader.rows['clip_id'].iloc[place[0]]}@{place[1]}"

    def _write_index(self, shards: list[list[tuple[int, int]]]) -> None:
        import pandas

        clips = self._loader.rows["clip_id"].tolist()
        rows = [
            {
                "window_id": f"{clips[row]}@{start}", "clip_id": clips[row], "start_frame": start,
                "split": self._loader.split, "shard": shard, "row": place,
            }
            for shard, places in enumerate(shards)
            for place, (row, start) in enumerate(places)
        ]  # fmt: skip
        with publish(self._folder / INDEX_NAME) as temporary:
            pandas.DataFrame(rows).to_parquet(temporary, index=False)


class LatentLoader:
    """Normalised latents of the windows of a split, in random order; each window once in an epoch.

    Sample ``g`` of a run is a pure function of ``(seed, g)``, as it is of `avbench.training.loader.WindowLoader`. It
    holds the index and no latents, and can be used from several threads.

    Args:
        folder: What `encode_dataset` returned.
        split: The split that was encoded.
        seed: Seed of the order.

    Attributes:
        card: ``LATENTS.json``.
        statistics: Of the latents as they lie on disk.
        shape: Latents of one window.
        window: The clip that one window is.

    Raises:
        UserError: No latents of that split, or they are damaged.
    """

    def __init__(self, folder: Path, split: str, *, seed: int) -> None:
        if not (folder / CARD_NAME).is_file():
            raise UserError(f"{folder}: holds no finished latents (no {CARD_NAME}); encode the dataset again")
        self.card = _card(folder)
        if self.card["split"] != split:
            raise UserError(f"{folder}: holds latents of the split {self.card['split']!r}, not {split!r}")
        self.seed, self.window = seed, WindowSpec(**self.card["window"])
        self.statistics = LatentStatistics.from_json(self.card["statistics"])
        video, audio = (tuple(self.card["shape"][what]) for what in ("video", "audio"))
        self.shape = LatentShape(video, audio)
        index = read_index(folder)
        if index.empty:
            raise UserError(f"{folder}: damaged (its index names no window); delete the folder and run again")
        self._ids: list[str] = index["window_id"].tolist()
        self._shard, self._row = (index[name].to_numpy(np.int64) for name in ("shard", "row"))
        counts = np.bincount(self._shard)
        self._video = [ArrayFile.open(folder / names_of(split, n)[0], int(c), video) for n, c in enumerate(counts)]
        self._audio = [ArrayFile.open(folder / names_of(split, n)[1], int(c), audio) for n, c in enumerate(counts)]

    def __len__(self) -> int:
        """Windows in the split."""
        return len(self._ids)

    def raw(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
        """Window ``number`` of the index as the codecs gave it: video (N, C, h, w), audio (M, C), its id."""
        shard, row = int(self._shard[number]), int(self._row[number])
        return self._video[shard].window(row), self._audio[shard].window(row), self._ids[number]

    def batch(self, step: int, batch_size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Batch number ``step``, or one process's share of it.

        Args:
            step: Number of the batch.
            batch_size: Windows of all processes together.
            rank: Which process, from 0.
            world: How many processes train together.

        Returns:
            Video float32 (B, N, C, h, w) and audio float32 (B, M, C), normalised; ids ``<clip_id>@<start_frame>``.

        Raises:
            UserError: The batch cannot be divided equally, or a file is damaged.
        """
        first, end = share(batch_size, rank, world)
        numbers = []
        for place in range(first, end):
            epoch, place = divmod(step * batch_size + place, len(self))
            numbers.append(int(order(self.seed, epoch, len(self))[place]))
        read = [self.raw(number) for number in numbers]
        video, audio = (torch.from_numpy(np.stack([window[part] for window in read])) for part in (0, 1))
        return Batch(*self.statistics.normalise(video, audio), tuple(window[2] for window in read))
