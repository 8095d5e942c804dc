"""Small folders of clips for the tests of `avbench.inputs`, with files made by ffmpeg."""

from __future__ import annotations

from pathlib import Path

import media_beacon as beacon
import numpy as np
from PIL import Image

from avbench import media
from avbench.protocol import Protocol
from tests.clips import RATE, clip

BOTH = Protocol(name="toy", metrics=("av_align", "mel_fd", "flow_fd"), frames=16, fps=10, size=32, n=64, min_n=2)
PICTURE = BOTH.model_copy(update={"metrics": ("flow_fd",)})
SOUND = BOTH.model_copy(update={"metrics": ("mel_fd",)})


def film(path: Path, seed: int = 0, *, sound: bool = True, frames: int = 16, fps: float = 10.0) -> Path:
    """A clip of jumping squares; the same clip for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video, audio = pictures(seed, frames=frames, fps=fps), sounds(seed, seconds=frames / fps)
    if path.suffix == ".mp4":
        media.encode(path, video, fps, audio if sound else None, RATE, audio_codec="flac")
        return path
    source = path.with_name(f".{path.name}.mp4")
    media.encode(source, video, fps, audio if sound else None, RATE, audio_codec="flac")
    codecs = {".gif": ("-an",), ".webm": ("-c:v", "libvpx", "-c:a", "libvorbis", "-ar", "48000")}
    beacon.run("-i", str(source), *codecs.get(path.suffix, ("-c:v", "mpeg4", "-q:v", "2", "-c:a", "aac")), str(path))
    source.unlink()
    return path


def wav(path: Path, seed: int = 0, *, frames: int = 16, codec: str = "") -> Path:
    """The sound of the clip of that seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = sounds(seed, seconds=frames / 10)
    raw = path.with_name(f".{path.name}.raw")
    raw.write_bytes(audio[0].astype("<f4").tobytes())
    codecs = ("-c:a", codec) if codec else ()
    beacon.run("-f", "f32le", "-ar", str(RATE), "-ch_layout", "mono", "-i", str(raw), *codecs, str(path))
    raw.unlink()
    return path


def stills(folder: Path, seed: int = 0, *, frames: int = 16, name: str = "{:06d}.png") -> Path:
    """The pictures of the clip of that seed, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(clip(seed, frames=frames)[0], start=1):
        Image.fromarray(picture).save(folder / name.format(number))
    return folder


def pictures(seed: int = 0, **options: float) -> np.ndarray:
    """What `film`, `stills` and the tensors of a seed show at the size of the protocols here."""
    return clip(seed, **options)[0]  # type: ignore[arg-type]


def sounds(seed: int = 0, seconds: float = 1.6) -> np.ndarray:
    """Their sound, a tone of the seed's own pitch, float32 (1, L)."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * seed) * times))[None].astype(np.float32)
