"""AV-align over a folder in one process and in as many as there are cores.

    python benchmarks/av_align_workers.py --media FOLDER [--only popcorn] [--clips 100] [--repeats 5]

Every run is a program of its own, so both sides pay for starting, imports and librosa's first call, and no thread of an
earlier run helps the later one. The run with one process is kept on one core from its start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from avbench import parallel
from avbench.metrics import av_align
from benchmarks.av_align_public import SUFFIXES, shorten


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--media", type=Path, required=True, help="folder of clips")
    parser.add_argument("--only", default="", help="part of a file name")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--short-s", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        return run(args.media, args.run)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clips"
        folder.mkdir()
        chosen = sorted(p for p in args.media.iterdir() if p.suffix in SUFFIXES and args.only in p.name)
        short = shorten(chosen, Path(temporary), args.short_s)
        for number in range(args.clips):
            shutil.copyfile(short[number % len(short)], folder / f"{number:04d}.mp4")
        seconds: dict[int, list[float]] = {1: [], len(cores): []}
        for _ in range(args.repeats):
            for workers in seconds:
                seconds[workers].append(timed(folder, workers, set(cores[:workers])))
                print(f"{workers} processes: {seconds[workers][-1]:.1f} s", flush=True)
    one, many = (statistics.median(of) for of in seconds.values())
    each = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(
        f"{args.clips} clips of {args.short_s:g} s, median of {args.repeats}: {one:.1f} s in one process, "
        f"{many:.1f} s in {len(cores)}, {one / many:.2f}x; pair by pair {', '.join(f'{r:.2f}' for r in each)}"
    )
    return 0


def timed(folder: Path, workers: int, cores: set[int]) -> float:
    """Wall seconds of one program that scores the folder on these cores."""
    command = [sys.executable, "-m", "benchmarks.av_align_workers", "--media", str(folder), "--run", str(workers)]
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # the program inherits it before any of its threads begins
    try:
        begun = time.perf_counter()
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        return time.perf_counter() - begun
    finally:
        os.sched_setaffinity(0, mine)


def run(folder: Path, workers: int) -> int:
    """Score every clip of the folder."""
    clips = sorted(folder.iterdir())
    outcomes = parallel.run(av_align, clips, item_id=str, workers=workers, ordered=True, own_core=True)
    return int(any(outcome.value is None for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
