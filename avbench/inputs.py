"""What can be scored: a folder of clips, or a dataset of avbench. Both become windows of one shape.

A window is `ClipSignals` at the protocol's frame rate, picture size and audio rate. A file that cannot give one is a
failure with its reason; nothing is padded, repeated or replaced.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avbench import media, recipe
from avbench.dataset import dataset_card, is_dataset
from avbench.errors import MediaError, UserError
from avbench.metrics._base import ClipSignals
from avbench.protocol import Protocol
from avbench.training.loader import WindowLoader, WindowSpec
from avbench.workspace import file_sha256

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov")
LOSSLESS_SUFFIX = ".npz"


@dataclass(frozen=True)
class Window:
    """One window to score.

    Attributes:
        window_id: ``<item>@<start frame>``.
        cluster: Windows of one cluster are not independent (same source, same file).
        signals: Picture and sound.
    """

    window_id: str
    cluster: str
    signals: ClipSignals


@dataclass(frozen=True)
class FileItem:
    """A clip file of a folder."""

    path: Path

    @property
    def item_id(self) -> str:
        """File name."""
        return self.path.name

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Decode the file into windows.

        Raises:
            MediaError: Unreadable, silent container, or shorter than one window.
        """
        video, audio = _read_npz(self.path, protocol) if self.path.suffix == LOSSLESS_SUFFIX else self._decode(protocol)
        count = min(len(video) // protocol.frames, audio.shape[-1] // protocol.n_samples)
        if count == 0:
            raise MediaError(
                f"{self.path}: shorter than one window of {protocol.seconds:g} s "
                f"({len(video)} frames at {protocol.fps:g} fps, {audio.shape[-1]} samples)"
            )
        for k in range(count if protocol.windows == "tile" else 1):
            start = k * protocol.frames
            yield Window(
                f"{self.path.stem}@{start}",
                self.path.stem,
                ClipSignals(
                    video[start : start + protocol.frames],
                    protocol.fps,
                    audio[:, k * protocol.n_samples : (k + 1) * protocol.n_samples],
                    protocol.sample_rate_hz,
                ),
            )

    def _decode(self, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
        info = media.probe(self.path)
        if not (info.has_video and info.has_audio):
            raise MediaError(f"{self.path}: has no {'sound' if info.has_video else 'picture'}")
        whole = protocol.windows == "tile"
        video = media.decode_video(
            self.path,
            fps=protocol.fps,
            size=(protocol.size, protocol.size),
            resize=protocol.resize,
            n_frames=None if whole else protocol.frames,
        )
        audio = media.decode_audio(self.path, sample_rate_hz=protocol.sample_rate_hz, mono=True)
        return video, audio


@dataclass(frozen=True)
class DatasetItem:
    """One clip of a dataset, read from its training view."""

    root: Path
    split: str
    row: int
    clip_id: str
    source: str

    @property
    def item_id(self) -> str:
        """Clip id."""
        return self.clip_id

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Every whole window of the clip, or the first."""
        loader = _loader(self.root, self.split, _spec(protocol))
        for row, start in loader.tiles():
            if row != self.row:
                continue
            video, audio = loader.window_at(row, start)
            signals = ClipSignals(video, protocol.fps, audio[None], protocol.sample_rate_hz)
            yield Window(f"{self.clip_id}@{start}", self.source, signals)
            if protocol.windows == "first":
                return


Item = FileItem | DatasetItem


def _spec(protocol: Protocol) -> WindowSpec:
    return WindowSpec(protocol.frames, protocol.fps, protocol.size, protocol.n_samples, protocol.sample_rate_hz)


@functools.lru_cache(maxsize=8)
def _loader(root: Path, split: str, window: WindowSpec) -> WindowLoader:
    """Opened once per process, not once per clip."""
    return WindowLoader(root, split, window, seed=0)


def _read_npz(path: Path, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Lossless tensors at the protocol's rate: video (T, H, W, 3), audio (1, L).

    Raises:
        MediaError: Not such a file, NaN inside, or other rates than the protocol's (tensors are not resampled in time).
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            video, audio = data["video"], np.atleast_2d(data["audio"]).astype(np.float32)
            fps, rate = float(data["fps"]), int(data["sample_rate_hz"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MediaError(f"{path}: not an .npz with video, fps, audio and sample_rate_hz ({error})") from error
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise MediaError(f"{path}: video is {video.dtype} {video.shape}, must be uint8 (T, H, W, 3)")
    if not np.isfinite(audio).all():
        raise MediaError(f"{path}: audio holds NaN or infinity")
    if (fps, rate) != (protocol.fps, protocol.sample_rate_hz):
        raise MediaError(
            f"{path}: {fps:g} fps and {rate} Hz, the protocol {protocol.name} takes "
            f"{protocol.fps:g} fps and {protocol.sample_rate_hz} Hz; write these clips as .mp4, which is resampled"
        )
    size = (protocol.size, protocol.size)
    return media.fit_frames(video, size, resize=protocol.resize), audio.mean(axis=0, keepdims=True)


def outputs(folder: Path, protocol: Protocol) -> tuple[list[FileItem], dict[str, str]]:
    """The clips of an outputs folder, and the files that are none with the reason.

    A clip that is there as ``x.mp4`` and as lossless ``x.npz`` counts once, as the lossless one.

    Raises:
        UserError: No folder, no clips, one clip, or clips of different frame rates.
    """
    items = _files(folder)
    if len(items) < 2:
        found = "no clip" if not items else f"one clip ({items[0].item_id})"
        raise UserError(
            f"{folder}: holds {found}; a score needs at least {protocol.min_n} clips "
            f"({', '.join((*VIDEO_SUFFIXES, LOSSLESS_SUFFIX))})"
        )
    rates: Counter[float] = Counter()
    example: dict[float, str] = {}
    failed = {}
    for item in items:
        try:
            rate = round(_frame_rate(item.path), 2)
        except MediaError as error:
            failed[item.item_id] = str(error)
            continue
        rates[rate] += 1
        example.setdefault(rate, item.item_id)
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g} fps: {count} (as {example[rate]})" for rate, count in rates.most_common())
        raise UserError(f"{folder}: mixes frame rates ({listed}); score each rate in a folder of its own")
    return [item for item in items if item.item_id not in failed], failed


def _frame_rate(path: Path) -> float:
    if path.suffix != LOSSLESS_SUFFIX:
        info = media.probe(path)
        if not info.has_video:
            raise MediaError(f"{path}: has no picture")
        return info.fps
    try:
        with np.load(path, allow_pickle=False) as data:
            return float(data["fps"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MediaError(f"{path}: not an .npz with video, fps, audio and sample_rate_hz ({error})") from error


def _files(folder: Path) -> list[FileItem]:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    chosen: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (*VIDEO_SUFFIXES, LOSSLESS_SUFFIX) and not path.name.startswith("."):
            key = (
                path.stem
                if path.stem not in chosen or LOSSLESS_SUFFIX in (path.suffix, chosen[path.stem].suffix)
                else path.name
            )
            if key not in chosen or path.suffix == LOSSLESS_SUFFIX:
                chosen[key] = path
    return [FileItem(path) for path in sorted(chosen.values())]


def _digest(files: list[Item]) -> str:
    """One sha256 over names and contents of a folder's clips."""
    hashes = {item.path.name: file_sha256(item.path) for item in files if isinstance(item, FileItem)}
    return recipe.sha256(hashes)


def reference(where: Path, protocol: Protocol) -> tuple[list[Item], dict[str, str]]:
    """The reference side: a finished dataset, or a folder of clips.

    Returns:
        Items, and what is known of the reference for the record (name, version, sha256, split).

    Raises:
        UserError: Neither, or the dataset's training view does not suit the protocol.
    """
    if not is_dataset(where):
        files: list[Item] = list(_files(where))
        if not files:
            raise UserError(f"{where}: neither a finished dataset (no shards/DATASET.json) nor a folder of clips")
        return files, {"name": where.resolve().name, "version": "", "sha256": _digest(files), "split": ""}
    card = dataset_card(where)
    splits = list(card["splits"]) if protocol.reference_split == "all" else [protocol.reference_split]
    items: list[Item] = []
    for split in splits:
        if card["splits"].get(split, {}).get("clips", 0):
            rows = _loader(where, split, _spec(protocol)).rows
            items += [
                DatasetItem(where, split, row, clip, source)
                for row, (clip, source) in enumerate(zip(rows["clip_id"], rows["source_id"], strict=True))
            ]
    if not items:
        raise UserError(f"{where}: its {protocol.reference_split} split holds no clip; build it with more sources")
    split = protocol.reference_split
    return items, {"name": card["name"], "version": card["version"], "sha256": card["dataset_sha256"], "split": split}
