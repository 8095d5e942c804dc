"""The clips that people see: every browser plays them, and neither name nor content tells whose they are.

Every clip is decoded and encoded once more, those of all systems alike. Loudness is kept, and said, or brought to one
target after EBU R 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.errors import MediaError
from avbench.features._lufs import GATE_LUFS, integrated_lufs
from avbench.workspace import file_sha256

HIGHEST_PEAK = 10 ** (-1 / 20)
"""No clip is made louder than a sample peak of -1 dBFS; what would need more stays below the target."""


@dataclass(frozen=True)
class Job:
    """A clip to write, for a worker that needs to know no more.

    Attributes:
        source: Clip of a system.
        dest: mp4 to write.
        silenced: Replace its sound by silence.
    """

    source: Path
    dest: Path
    silenced: bool


@dataclass(frozen=True)
class Made:
    """A clip that was written.

    Attributes:
        sha256: Digest of the file.
        source_sha256: Digest of the file it was made from.
        duration_s: How long it plays, seconds.
        lufs: Loudness of the source; None where nothing in it can be heard.
        gain_db: What its loudness was changed by.
    """

    sha256: str
    source_sha256: str
    duration_s: float
    lufs: float | None
    gain_db: float


def write_job(job: Job, target_lufs: float | None) -> Made:
    """`write` for `avbench.parallel`."""
    return write(job.source, job.dest, target_lufs=target_lufs, silenced=job.silenced)


def write(source: Path, dest: Path, *, target_lufs: float | None = None, silenced: bool = False) -> Made:
    """Write a clip for the browser.

    Args:
        source: Clip of a system.
        dest: mp4 to write.
        target_lufs: Loudness to bring it to; None keeps its own.
        silenced: Replace its sound by silence of the same length, for an attention check.

    Raises:
        MediaError: No picture or no sound, or damaged.
        EnvironmentFault: The disk is full, or there is no ffmpeg.
    """
    info = media.probe(source)
    for what, there in (("picture", info.has_video), ("sound", info.has_audio)):
        if not there:
            raise MediaError(f"{source}: has no {what}; every clip of a study needs picture and sound")
    sound = media.playable_sound(source, info.channels)
    lufs = integrated_lufs(sound, media.PLAYABLE_RATE_HZ)
    audible = lufs > GATE_LUFS
    gain = _gain(sound, lufs, target_lufs) if audible and target_lufs is not None else 1.0
    played = np.zeros_like(sound) if silenced else sound * np.float32(gain)
    length_s = media.write_playable(source, dest, played, fps=info.fps, is_vfr=info.is_vfr)
    return Made(
        sha256=file_sha256(dest),
        source_sha256=file_sha256(source),
        duration_s=round(max(length_s, sound.shape[1] / media.PLAYABLE_RATE_HZ), 3),
        lufs=round(lufs, 2) if audible else None,
        gain_db=round(20 * float(np.log10(gain)), 2),
    )


def _gain(sound: NDArray[np.float32], lufs: float, target_lufs: float) -> float:
    """The factor that brings ``sound`` to the target, or as near to it as its peak allows."""
    wanted = 10 ** ((target_lufs - lufs) / 20)
    return float(min(wanted, max(1e-6, HIGHEST_PEAK / float(np.abs(sound).max()))))
