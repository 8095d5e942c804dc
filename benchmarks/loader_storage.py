"""What the sound of the training view would cost in other forms: bytes per clip, and time to a window of it.

    python benchmarks/loader_storage.py DATASET --windows 2000

Reads the view's float32 sound of every clip of the train split, writes it beside as 16-bit integers and as FLAC, and
reads the same random windows of 25600 samples from all three, in turns; figures are medians of 5. What a window's
picture costs is shown for scale.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from avbench.dataset import load_index

SAMPLES = 25600


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dataset", type=Path)
    options.add_argument("--windows", type=int, default=2000)
    chosen = options.parse_args()
    index = load_index(chosen.dataset)
    rows = index[index["split"] == "train"].reset_index(drop=True)
    rate = int(rows["view_sample_rate_hz"].iloc[0])
    with tempfile.TemporaryDirectory() as folder:
        sounds = [sound(chosen.dataset, row) for _, row in rows.iterrows()]
        forms: dict[str, tuple[list[Path], Callable[[Path, int], np.ndarray]]] = {
            "float32": (written(folder, "f32", [s.tobytes() for s in sounds]), as_float32),
            "int16": (written(folder, "i16", [as_pcm(s).tobytes() for s in sounds]), as_int16),
            "flac": (written(folder, "flac", [flac(as_pcm(s), rate) for s in sounds]), as_flac),
        }
        rng = np.random.default_rng(0)
        places = [
            (int(i), int(rng.integers(0, len(sounds[i]) - SAMPLES)))
            for i in rng.integers(0, len(sounds), chosen.windows)
        ]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(5):
            for name, (files, read) in forms.items():
                begun = time.perf_counter()
                for i, start in places:
                    read(files[i], start)
                times[name].append(time.perf_counter() - begun)
        worst = max(
            float(np.abs(forms["flac"][1](forms["flac"][0][i], at) - sounds[i][at : at + SAMPLES]).max())
            for i, at in places[:20]
        )
        picture = int(rows["view_frames"].iloc[0]) * int(rows["view_size"].iloc[0]) ** 2 * 3
        archive = int(rows["bytes"].mean())
        print(f"{len(rows)} clips; a clip's archive mp4 {archive:,} bytes, picture of its view {picture:,} bytes")
        for name, (files, _) in forms.items():
            size = statistics.mean(path.stat().st_size for path in files)
            share = size / (archive + picture + len(sounds[0]) * 4)
            spent = statistics.median(times[name]) / len(places) * 1e6
            print(
                f"{name:8} {size:12,.0f} bytes a clip, {share:5.1%} of what a clip takes now; {spent:8.1f} us a window"
            )
        print(f"largest error of 16 bits: {worst:.1e}")


def sound(dataset: Path, row: object) -> np.ndarray:
    """The view's sound of one clip."""
    with open(dataset / "shards" / row["shard"], "rb") as stream:  # type: ignore[index]
        stream.seek(int(row["audio_offset"]))  # type: ignore[index]
        return np.frombuffer(stream.read(int(row["view_samples"]) * 4), "<f4")  # type: ignore[index]


def as_pcm(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples.clip(-1, 1) * 32767).astype("<i2")


def flac(pcm: np.ndarray, rate: int) -> bytes:
    stored = io.BytesIO()
    with av.open(stored, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return stored.getvalue()


def written(folder: str, suffix: str, contents: list[bytes]) -> list[Path]:
    paths = [Path(folder) / f"{i}.{suffix}" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def as_float32(path: Path, start: int) -> np.ndarray:
    return _raw(path, start, "<f4")


def as_int16(path: Path, start: int) -> np.ndarray:
    return np.multiply(_raw(path, start, "<i2"), np.float32(1 / 32767))


def _raw(path: Path, start: int, kind: str) -> np.ndarray:
    found = np.empty(SAMPLES, kind)
    handle = os.open(path, os.O_RDONLY)
    os.preadv(handle, [found], start * found.itemsize)
    os.close(handle)
    return found


def as_flac(path: Path, start: int) -> np.ndarray:
    parts, held = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        container.seek(round(start / stream.rate / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if not parts:
                start -= round(frame.time * stream.rate)
            parts.append(frame.to_ndarray()[0])
            held += len(parts[-1])
            if held >= start + SAMPLES:
                break
    return np.multiply(np.concatenate(parts)[start : start + SAMPLES], np.float32(1 / 32767))


if __name__ == "__main__":
    main()
