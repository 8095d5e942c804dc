"""Training windows per second: ours beside the loader of MM-Diffusion, on the same archive clips.

    pip install --no-deps --target REFERENCE torchvision==0.15.2 moviepy==1.0.3 proglog==0.1.10 imageio decorator==4.4.2
    python benchmarks/loader_throughput.py --reference REFERENCE --media FOLDER

The dataset is built once into ``--folder`` by the ordinary stages, from the recordings of ``--media`` that are long
enough, or from rendered ones: clips of 34 s, 640 x 360, 30 fps. Every loader gives random windows of 16 frames of
64 x 64 at 10 fps with their 25600 samples of sound, in batches.

``reference`` is what MM-Diffusion trains with: torchvision's VideoClips, a bicubic resize, and moviepy's AudioFileClip
for the sound. It needs the releases of its time, kept apart in the folder REFERENCE and shown to one process only;
current torchvision has no video reader any more. ``pyav`` is the same work done by PyAV alone, for machines without
that folder: open the mp4, seek, decode the window, resize, decode its sound.

Each measurement is a process of its own, the loaders take turns, figures are medians. Opening, the list of frame times
that VideoClips makes, and the first batch of each worker are not counted. Memory is the peak of the process (of all its
processes with workers), at a quarter, half and all of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

FRAMES, FPS, SIZE, SAMPLES, RATE = 16, 10, 64, 25600, 16000
OURS = ("ours", "ours-dataloader")
PEERS = ("reference", "pyav")
RECIPE = """
[segment]
clip_s = {seconds}
lead_s = 0.0
fps = 30
width = 640
height = 360

[shard]
train = 1.0
validation = 0.0
test = 0.0
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--reference", type=Path, help="folder with the peer's packages; without it only pyav runs")
    options.add_argument("--media", type=Path, help="folder of recordings; rendered ones where it is not given")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "avbench-loader")
    options.add_argument("--clips", type=int, default=12, help="rendered clips")
    options.add_argument("--seconds", type=float, default=34.0, help="length of a clip")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--batches", type=int, default=1000, help="batches of ours per measurement")
    options.add_argument("--peer-batches", type=int, default=4, help="batches of a peer per measurement")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--measure", nargs=2, metavar=("LOADER", "WORKERS"), help="used by the script itself")
    chosen = options.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen)))
        return
    clips = build(chosen)
    peers = [name for name in PEERS if name != "reference" or chosen.reference]
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(chosen.repeats):
        for name, workers in [(name, workers) for workers in (0, 2) for name in (*peers, *OURS)]:
            if name != "ours-dataloader" or workers:
                runs.setdefault((name, workers), []).append(in_a_process(chosen, name, workers))
    report(chosen, clips, runs)


def build(chosen: argparse.Namespace) -> int:
    """Build the dataset in the chosen folder; returns its number of clips."""
    from avbench import media
    from avbench.curate.build import Build
    from avbench.dataset import load_index
    from avbench.errors import MediaError

    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"r{i},synthetic:kind=impacts&seed={i}&seconds={chosen.seconds + 1:g}&width=640&height=360"
        for i in range(chosen.clips)
    ]
    if chosen.media:
        rows = []
        for path in sorted(chosen.media.iterdir()):
            try:
                info = media.probe(path)
            except MediaError:
                continue
            if info.has_video and info.has_audio and min(info.video_end_s, info.audio_end_s) > chosen.seconds + 1:
                rows.append(f"{path.stem.replace('.', '_')[:60]},{path.resolve()}")
    (chosen.folder / "sources.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
    (chosen.folder / "recipe.toml").write_text(RECIPE.format(seconds=chosen.seconds))
    dataset = chosen.folder / "dataset"
    work = Build.open(str(chosen.folder / "sources.csv"), out=dataset, recipe=str(chosen.folder / "recipe.toml"))
    with work.lock():
        for stage in ("download", "segment", "filter", "shard"):
            for item, reason in work.stage(stage, None).failed.items():
                print(f"left out: {item}: {reason}")
    return len(load_index(dataset))


def in_a_process(chosen: argparse.Namespace, name: str, workers: int) -> dict[str, Any]:
    """One measurement; only the reference sees the folder of old packages."""
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, str(workers)]
    batches = chosen.batches if name in OURS else chosen.peer_batches
    for option, value in (("folder", chosen.folder), ("batch", chosen.batch), ("batches", batches)):
        command += [f"--{option}", str(value)]
    environment = {**os.environ, "PYTHONPATH": str(chosen.reference)} if name == "reference" else dict(os.environ)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} with {workers} workers failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Clips per second and memory of one loader in this process."""
    name, workers = chosen.measure[0], int(chosen.measure[1])
    dataset = chosen.folder / "dataset"
    make = ours if name in OURS else peer
    batches, close = make(name, dataset, chosen.batch, workers)
    for _ in islice(batches, max(1, 2 * workers)):  # every worker has begun
        pass
    memory = [peak_mib()]
    begun = time.perf_counter()
    for number, (video, audio) in enumerate(islice(batches, chosen.batches), 1):
        assert tuple(video.shape) == (chosen.batch, FRAMES, 3, SIZE, SIZE), video.shape
        assert tuple(audio.shape) == (chosen.batch, 1, SAMPLES), audio.shape
        if number in (chosen.batches // 4, chosen.batches // 2, chosen.batches):
            memory.append(peak_mib())
    seconds = time.perf_counter() - begun
    close()
    return {"rate": chosen.batches * chosen.batch / seconds, "mib": memory}


def peak_mib() -> float:
    """Resident peak of this process and of the workers that run now, summed, MiB."""
    pids = [os.getpid(), *(int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


Batches = tuple[Iterator[tuple[Any, Any]], Callable[[], None]]


def ours(name: str, dataset: Path, batch: int, workers: int) -> Batches:
    """Our loader: alone, with threads that read ahead, or behind torch's DataLoader."""
    from torch.utils.data import DataLoader

    from avbench.training.loader import WindowLoader, WindowSpec
    from avbench.training.prefetch import Prefetcher
    from avbench.training.stream import WindowStream

    loader = WindowLoader(dataset, "train", WindowSpec(FRAMES, FPS, SIZE, SAMPLES, RATE), seed=0)
    if name == "ours-dataloader":
        stream = DataLoader(WindowStream(loader, batch), batch_size=None, num_workers=workers)
        return ((found.video, found.audio) for found in stream), lambda: None
    if not workers:
        steps = (loader.batch(step, batch) for step in range(10**9))
        return ((found.video, found.audio) for found in steps), lambda: None
    ahead = Prefetcher(loader.batch, threads=workers, ahead=2 * workers)
    read = (ahead(step, batch) for step in range(10**9))
    return ((found.video, found.audio) for found in read), lambda: ahead.__exit__(None, None, None)


def peer(name: str, dataset: Path, batch: int, workers: int) -> Batches:
    """A loader that decodes the archive clips, behind torch's DataLoader."""
    import torch
    from torch.utils.data import DataLoader

    clips = sorted((dataset / "work" / "clips").glob("*.mp4"))
    data: Any = Reference(clips) if name == "reference" else Decoding(clips)
    order = torch.utils.data.RandomSampler(data, replacement=True, num_samples=10**6)
    return iter(DataLoader(data, batch_size=batch, sampler=order, num_workers=workers)), lambda: None


class Reference:
    """What MM-Diffusion's dataset does for one window, with the same libraries and the same steps."""

    def __init__(self, clips: list[Path]) -> None:
        from torchvision.datasets.video_utils import VideoClips

        self.index = VideoClips([str(path) for path in clips], FRAMES, 1, frame_rate=FPS, num_workers=0)

    def __len__(self) -> int:
        return int(self.index.num_clips())

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        import torch
        from moviepy.editor import AudioFileClip
        from torchvision.transforms import InterpolationMode, functional

        pictures, _, _, which = self.index.get_clip(number)
        pictures = pictures.permute(0, 3, 1, 2)
        scale = SIZE / max(pictures.shape[2:])
        high, wide = (int(side * scale) for side in pictures.shape[2:])
        small = functional.resize(pictures, [high, wide], interpolation=InterpolationMode.BICUBIC)
        left, top = (SIZE - wide) // 2, (SIZE - high) // 2
        small = functional.pad(small, [left, top, SIZE - wide - left, SIZE - high - top])
        _, place = self.index.get_clip_location(number)
        first_s = place / FPS
        whole = AudioFileClip(self.index.video_paths[which], fps=RATE)
        heard = whole.subclip(first_s, first_s + FRAMES / FPS).to_soundarray()
        whole.close()
        sound = torch.zeros(1, SAMPLES)
        heard = torch.from_numpy(heard[:SAMPLES, 0])
        sound[0, : len(heard)] = heard
        return small.float() / 127.5 - 1, sound


class Decoding:
    """The same window with PyAV: one open, one seek per stream, only the window is decoded and converted."""

    def __init__(self, clips: list[Path]) -> None:
        from avbench import media

        self.clips = clips
        self.starts = [
            (path, start)
            for path in clips
            for start in range(int(media.probe(path).video_end_s * FPS) - FRAMES - 1)
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        import av
        import numpy as np
        import torch

        path, start = self.starts[number]
        first_s = start / FPS
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            wide, high = SIZE, int(SIZE * stream.height / stream.width)
            video = np.zeros((FRAMES, SIZE, SIZE, 3), np.uint8)
            container.seek(round(first_s / stream.time_base), stream=stream)
            taken = 0
            for frame in container.decode(stream):
                if frame.time is None or frame.time < first_s + taken / FPS - 1e-6:
                    continue
                picture = frame.reformat(wide, high, "rgb24", interpolation="BICUBIC").to_ndarray()
                top = (SIZE - high) // 2
                video[taken, top : top + high] = picture
                taken += 1
                if taken == FRAMES:
                    break
            heard = self._sound(container, first_s)
        sound = np.zeros((1, SAMPLES), np.float32)
        sound[0, : len(heard)] = heard[:SAMPLES]
        pictures = torch.from_numpy(video).permute(0, 3, 1, 2).contiguous()
        return pictures.float() / 127.5 - 1, torch.from_numpy(sound)

    def _sound(self, container: Any, first_s: float) -> Any:
        import av
        import numpy as np

        stream = container.streams.audio[0]
        container.seek(round(first_s / stream.time_base), stream=stream)
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        parts: list[Any] = []
        skip, held = 0, 0
        for frame in container.decode(stream):
            if not parts:
                skip = max(0, round((first_s - frame.time) * RATE))
            for out in resampler.resample(frame):
                parts.append(out.to_ndarray()[0])
                held += len(parts[-1])
            if held >= skip + SAMPLES:
                break
        return np.concatenate(parts)[skip:]


def report(chosen: argparse.Namespace, clips: int, runs: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
    """Print medians, ratios and memory."""
    print(f"{clips} clips of {chosen.seconds:g} s, windows of {FRAMES} x {SIZE} x {SIZE}, batches of {chosen.batch}")
    rates = {key: statistics.median(run["rate"] for run in found) for key, found in runs.items()}
    for (name, workers), rate in rates.items():
        last = [run["rate"] for run in runs[name, workers]]
        memory = ", ".join(f"{mib:.0f}" for mib in runs[name, workers][-1]["mib"])
        beside = [other for other in PEERS if name in OURS and (other, workers) in rates]
        times = "".join(f", {rate / rates[other, workers]:.0f} x {other}" for other in beside)
        print(
            f"{name:16} {workers or 'no'} workers: {rate:9.1f} clips/s ({min(last):.1f} to {max(last):.1f}){times}; "
            f"peak {memory} MiB"
        )


if __name__ == "__main__":
    main()
