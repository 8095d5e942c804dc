"""Pictures of single clips: a contact sheet, and the spectrogram of its sound over its waveform, on one time axis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media, parallel, workspace
from avbench.errors import MediaError
from avbench.inspection.reading import Judged
from avbench.leaderboard.samples import magma_png, spectrogram_levels, strip_jpeg
from avbench.progress import SILENT, Reporter
from avbench.workspace import Workspace

FOLDER = "stills"
FRAMES = 6
"""Pictures of a contact sheet, each from the middle of one of equal parts of the clip."""
WAVE_ROWS = 40
"""Height of the waveform below the spectrogram, pixels; a full-scale sound fills it."""
_WAVE_LEVEL = 45
"""Colour of the waveform, of 64."""


@dataclass(frozen=True)
class Still:
    """What there is to see and hear of a clip.

    Attributes:
        frames: File name of the contact sheet, or empty.
        sound: File name of the spectrogram and waveform, or empty where it has no sound.
        peak: Largest sample, 0 to 1 (more where the sound was stored beyond full scale).
        problem: Why it cannot be shown, or empty.
    """

    frames: str = ""
    sound: str = ""
    peak: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class _Shot:
    """One clip to draw, by a worker."""

    key: str
    judged: Judged
    root: Path


def draw(
    roots: Sequence[Path],
    wanted: Sequence[tuple[int, Judged]],
    folder: Path,
    *,
    workers: int = 1,
    reporter: Reporter = SILENT,
) -> dict[tuple[int, str], Still]:
    """Draw clips into ``folder``, one decode each; files of an earlier page that no clip needs now are removed.

    Args:
        roots: Folders of the datasets.
        wanted: The clips, each with the place of its dataset in ``roots``.
        folder: Where the pictures go.
        workers: Processes.
        reporter: Progress.

    Returns:
        The pictures, or the reason why there are none, by dataset and clip id.

    Raises:
        EnvironmentFault: The disk is full.
    """
    shots = {
        (number, judged.clip.clip_id): _Shot(_key(number, judged.clip.clip_id), judged, roots[number])
        for number, judged in wanted
    }
    places = list(shots)
    outcomes = parallel.run(
        partial(_draw, folder=folder),
        list(shots.values()),
        item_id=lambda shot: shot.judged.clip.clip_id,
        workers=workers,
        reporter=reporter,
        description="inspect",
        ordered=True,
    )
    found = {}
    for place, outcome in zip(places, outcomes, strict=True):
        # the page is the same wherever the dataset lies
        error = outcome.error.replace(f"{roots[place[0]]}/", "")
        found[place] = outcome.value or Still(problem=error)
    used = {name for still in found.values() for name in (still.frames, still.sound)}
    for path in folder.glob("*"):
        if path.name not in used and path.suffix in (".jpg", ".png"):
            path.unlink()
    return found


def _key(number: int, clip_id: str) -> str:
    """Stem of a clip's files: an id is whatever a dataset says, a digest of it is safe."""
    return hashlib.sha256(f"{number}\n{clip_id}".encode()).hexdigest()[:20]


def _draw(shot: _Shot, folder: Path) -> Still:
    """Decode one clip and write its pictures.

    Raises:
        MediaError: It is gone or cannot be decoded.
    """
    clip = shot.judged.clip
    with _clip_file(shot) as path:
        picked = sorted({int((k + 0.5) * clip.n_frames / FRAMES) for k in range(FRAMES)})
        frames = media.decode_video(path, n_frames=clip.n_frames, picked=picked)
        sound = np.zeros((0, 0), np.float32)
        if clip.channels:
            sound = media.decode_audio(path, sample_rate_hz=clip.sample_rate_hz)
    strip, picture, peak = _write(folder / f"{shot.key}.jpg", strip_jpeg(frames)), "", 0.0
    if sound.size:
        peak = float(np.abs(sound).max())
        levels = spectrogram_levels(sound, clip.sample_rate_hz)
        whole = np.vstack([levels, waveform(sound, levels.shape[1])])
        picture = _write(folder / f"{shot.key}.png", magma_png(whole))
    return Still(strip, picture, peak)


@contextmanager
def _clip_file(shot: _Shot) -> Iterator[Path]:
    """The clip as a file: the finished clip, or what the shard holds of it.

    Raises:
        MediaError: It is in neither.
    """
    clip, ws = shot.judged.clip, Workspace(shot.root)
    path = ws.clips / Path(clip.file).name
    if clip.file and path.is_file():
        yield path
        return
    if shot.judged.shard:
        from avbench.inputs.shards import extracted, members  # loads torch, which drawing itself does not need

        tar = ws.shards / Path(shot.judged.shard).name
        member = members(tar).get(clip.clip_id, {}).get("mp4")
        if member is not None:
            with extracted(tar, member, "mp4") as taken:
                yield taken
            return
    raise MediaError(f"its picture is gone: neither work/clips nor the shards hold {clip.clip_id}")


def waveform(sound: NDArray[np.float32], columns: int) -> NDArray[np.uint8]:
    """Envelope of a sound as a picture: from the smallest to the largest sample of each column, all channels together.

    Args:
        sound: float32 (C, L) in [-1, 1].
        columns: Width.

    Returns:
        uint8 (`WAVE_ROWS`, columns): 0 where there is nothing, a level for `magma_png` where there is sound.
    """
    edges = np.linspace(0, sound.shape[1], columns + 1).astype(np.int64)[:-1]
    edges = np.minimum(edges, sound.shape[1] - 1)
    highest = np.maximum.reduceat(sound.max(axis=0), edges)
    lowest = np.minimum.reduceat(sound.min(axis=0), edges)
    rows = np.linspace(1, -1, WAVE_ROWS + 1)
    # a row is filled where the envelope reaches into it; silence is a thin line in the middle
    inside = (rows[1:, None] <= np.maximum(highest, 0)) & (rows[:-1, None] >= np.minimum(lowest, 0))
    return np.where(inside, _WAVE_LEVEL, 0).astype(np.uint8)


def _write(path: Path, content: bytes) -> str:
    with workspace.publish(path) as temporary:
        temporary.write_bytes(content)
    return path.name
