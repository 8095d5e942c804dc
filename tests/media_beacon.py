"""A source whose every frame and every sample says when it is: numbered pictures under noise that never repeats."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from avbench import media

WIDTH, HEIGHT = 160, 96
RATE_HZ = 48_000
_BITS = 10
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "100")
AAC = ("-c:a", "aac")


def picture(number: int) -> NDArray[np.uint8]:
    """Two rows of five cells: a bright cell is a one."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for bit in range(_BITS):
        x, y = bit % 5 * 32, bit // 5 * 48
        if number >> bit & 1:
            image[y + 4 : y + 44, x + 2 : x + 30] = 220
    return image


def number(image: NDArray[np.uint8]) -> int:
    """Read back what `picture` drew, at any size."""
    scale_y, scale_x = image.shape[0] / HEIGHT, image.shape[1] / WIDTH
    found = 0
    for bit in range(_BITS):
        x, y = bit % 5 * 32, bit // 5 * 48
        rows = slice(int((y + 16) * scale_y), int((y + 32) * scale_y))
        cell = image[rows, int((x + 10) * scale_x) : int((x + 22) * scale_x)]
        found |= int(cell.mean() > 130) << bit
    return found


def sound(seconds: float, rate_hz: int = RATE_HZ) -> NDArray[np.float64]:
    """Noise between 200 Hz and 5 kHz, the same sound at every rate."""
    n = int(rate_hz * seconds)
    bins = np.arange(int(200 * seconds), int(min(5000, 0.4 * rate_hz) * seconds))
    spectrum = np.zeros(n // 2 + 1, complex)
    spectrum[bins] = np.exp(2j * np.pi * np.random.default_rng(0).random(len(bins)))
    noise = np.fft.irfft(spectrum, n)
    return np.asarray(0.2 * noise / noise.std())


def make(
    path: Path,
    fps: Fraction = Fraction(30),
    *,
    seconds: float = 7.0,
    rate_hz: int = RATE_HZ,
    codecs: Sequence[str] = (*H264, *AAC),
    video_filter: str = "null",
    channels: int = 2,
) -> Path:
    """Encode numbered pictures and noise with the ffmpeg command line."""
    raw = path.with_suffix(".rgb"), path.with_suffix(".pcm")
    raw[0].write_bytes(b"".join(picture(k).tobytes() for k in range(int(seconds * fps))))
    samples = np.clip(np.rint(sound(seconds, rate_hz) * 32767), -32768, 32767).astype("<i2")
    raw[1].write_bytes(np.repeat(samples[:, None], channels, axis=1).tobytes())
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    run(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", str(fps), "-i", str(raw[0])),
        *("-f", "s16le", "-ar", str(rate_hz), "-ch_layout", layout, "-i", str(raw[1])),
        *("-map", "0:v", "-map", "1:a", "-vf", video_filter, "-pix_fmt", "yuv420p", *codecs, str(path)),
    )
    for file in raw:
        file.unlink()
    return path


def run(*arguments: str) -> bytes:
    """Run the ffmpeg command line and return its standard output."""
    command = [media.ffmpeg_path(), "-y", "-nostdin", "-loglevel", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def dump_frames(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Frames as the ffmpeg command line counts them: an opinion that shares no code with `avbench.media`."""
    data = run("-i", str(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def dump_samples(path: Path, channels: int = 2) -> NDArray[np.float32]:
    """Samples (L, C) as the ffmpeg command line counts them."""
    data = run("-i", str(path), "-map", "0:a", "-f", "f32le", "-c:a", "pcm_f32le", "-")
    return np.frombuffer(data, "<f4").reshape(-1, channels)


def lag(sound_in: NDArray[np.floating], part: NDArray[np.floating]) -> float:
    """Where in ``sound_in`` ``part`` begins, samples, finer than one sample."""
    n = 1 << (len(sound_in) + len(part)).bit_length()
    spectrum = np.fft.rfft(sound_in, n) * np.conj(np.fft.rfft(part, n))
    c = np.fft.irfft(spectrum, n)
    peak = int(np.argmax(c))
    before, at, after = c[peak - 1], c[peak], c[(peak + 1) % n]
    return (peak if peak < n / 2 else peak - n) + 0.5 * (before - after) / (before - 2 * at + after)


def source_skew_s(path: Path, fps: Fraction, seconds: float = 7.0) -> float:
    """Picture time minus sound time of the same moment in a source, by its time stamps alone, seconds."""
    with av.open(str(path)) as container:
        shifts = []
        for frame in container.decode(video=0):
            shifts.append(float(frame.pts * frame.time_base) - number(frame.to_ndarray(format="rgb24")) / float(fps))
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    start = float(frames[0].pts * frames[0].time_base)
    rate = frames[0].sample_rate
    samples = np.concatenate([np.atleast_2d(frame.to_ndarray())[0] for frame in frames])
    if not frames[0].format.is_planar:
        samples = samples[:: frames[0].layout.nb_channels]
    skip = rate // 4  # a priming part has no counterpart
    at = lag(sound(seconds, rate), samples[skip : skip + 2 * rate].astype(np.float64)) - skip
    return float(np.median(shifts)) - (start - at / rate)


def clip_times_s(clip: Path, fps: Fraction, seconds: float = 7.0) -> tuple[NDArray[np.float64], float]:
    """What a clip shows: the source moment of each picture, and of its first sample, seconds."""
    pictures = dump_frames(clip, WIDTH, HEIGHT)
    shown = np.array([number(image) for image in pictures]) / float(fps)
    samples = dump_samples(clip)[:, 0].astype(np.float64)
    skip = RATE_HZ // 2
    return shown, (lag(sound(seconds), samples[skip : skip + RATE_HZ]) - skip) / RATE_HZ
