"""AV-align: avbench beside the code of TempoTokens (and of JavisBench) on the same clip files.

    python benchmarks/av_align_public.py --public CLONE_OF_TEMPOTOKENS --media FOLDER [--javis CLONE_OF_JAVISDIT]

Two parts. Whole clips: onsets, motion peaks and score must be equal, number for number, and each side is timed once.
Short clips (the first seconds of each, encoded again): the two sides run in turn, medians per clip. Everything is
pinned to one core. A folder on several cores is av_align_workers.py.

OpenCV's magnitude rounds its last bit by where an array lies in memory, so the public motion differs from run to run in
the twelfth digit, and JavisBench takes such differences between equal steps for peaks. Where its numbers differ from
avbench's it is run again, and must then differ from itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import librosa
import numpy as np

from avbench.errors import MediaError
from avbench.media import ffmpeg_path
from avbench.metrics import av_align, av_align_javis_score, av_align_score
from avbench.metrics._peaks import Peaks, evidence_of_file, local_maxima_times

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".ogv")

Found = tuple[list[float], list[float], float]
"""Onset times, motion peak times, score."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--public", type=Path, required=True, help="clone of guyyariv/TempoTokens")
    parser.add_argument("--javis", type=Path, help="clone of JavisVerse/JavisDiT")
    parser.add_argument("--media", type=Path, required=True, help="folder of clips")
    parser.add_argument("--parts", default="whole,short")
    parser.add_argument("--only", default="", help="part of a file name")
    parser.add_argument("--short-s", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    clips = sorted(p for p in args.media.iterdir() if p.suffix in SUFFIXES and args.only in p.name)
    tempo = load_public(args.public / "av_align.py")
    javis = load_public(args.javis / "eval" / "javisbench" / "src" / "av_align.py") if args.javis else None
    if javis is not None and inspect.getsource(javis.compute_of) != inspect.getsource(tempo.compute_of):
        raise SystemExit("JavisBench no longer computes its flow as TempoTokens does; this comparison rests on that")
    parts = args.parts.split(",")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{platform.machine()}, one core; OpenCV {cv2.__version__}, librosa {librosa.__version__}")
    equal = True
    with tempfile.TemporaryDirectory() as folder:
        short = shorten(clips, Path(folder), args.short_s) if "short" in parts else []
        warm_up(Path(folder))
        if "whole" in parts:
            equal &= whole(clips, Path(folder), tempo, javis)
        if "short" in parts:
            equal &= timed_in_turn(short, Path(folder), tempo, args.repeats)
    return 0 if equal else 1


def load_public(script: Path) -> ModuleType:
    """The public script as a module; what it imports and never needs here is stood in for."""
    if importlib.util.find_spec("tqdm") is None:
        sys.modules.setdefault("tqdm", SimpleNamespace(tqdm=lambda x, **_: x))  # type: ignore[arg-type]
    spec = importlib.util.spec_from_file_location(f"public_{script.parent.name}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def to_wav(clip: Path, wav: Path) -> Path:
    """The sound beside the clip, as the public code wants it."""
    command = [str(ffmpeg_path()), "-v", "error", "-y", "-i", str(clip), "-map", "0:a:0", str(wav)]
    subprocess.run(command, check=True)
    return wav


def shorten(clips: list[Path], folder: Path, seconds: float) -> list[Path]:
    """The first seconds of each clip as an mp4, at its size and rate."""
    made = []
    for clip in clips:
        target = folder / f"{clip.stem}.short.mp4"
        command = [str(ffmpeg_path()), "-v", "error", "-y", "-i", str(clip), "-t", str(seconds), "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-vf", "crop=iw-mod(iw\\,2):ih-mod(ih\\,2)", str(target)], check=True)
        made.append(target)
    return made


def warm_up(folder: Path) -> None:
    """The first onsets of a process compile librosa's peak picking."""
    clicks = np.zeros(22050, np.float32)
    clicks[::5000] = 1
    librosa.onset.onset_detect(y=clicks, sr=22050)


def of_public(module: ModuleType, clip: Path, wav: Path) -> tuple[Found, list[float]]:
    """Onsets, motion peaks and score as the public code finds them (NaN where it divides by zero), and the motion."""
    frames, fps = module.extract_frames(str(clip))
    audio_s = module.detect_audio_peaks(str(wav))
    motion, video_s = module.detect_video_peaks(frames, fps)
    try:
        score = module.calc_intersection_over_union(audio_s, video_s, fps)
    except ZeroDivisionError:
        score = math.nan
    return ([float(t) for t in audio_s], list(video_s), score), motion


def of_public_javis(module: ModuleType, fps: float, motion: list[float], wav: Path) -> Found:
    """The same by JavisBench, on motion already found: its flow is that of TempoTokens to the letter."""
    audio_s = module.detect_audio_peaks(str(wav))
    video_s = module.find_local_max_indexes(motion, fps)
    return [float(t) for t in audio_s], list(video_s), module.calc_intersection_over_union(audio_s, video_s, fps)


def of_ours(peaks: Peaks) -> Found:
    """The same by avbench."""
    score = av_align_score(peaks.audio_times_s, peaks.video_times_s, peaks.fps)
    return peaks.audio_times_s, peaks.video_times_s, score


def of_ours_javis(peaks: Peaks) -> Found:
    """JavisBench's variant by avbench."""
    video_s = local_maxima_times(peaks.motion_px, peaks.fps)
    return peaks.audio_native_times_s, video_s, av_align_javis_score(peaks.audio_native_times_s, video_s, peaks.fps)


def seconds_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """What a call returns, and the wall seconds it took."""
    begun = time.perf_counter()
    found = function(*arguments, **options)
    return found, time.perf_counter() - begun


def same(one: Found, other: Found) -> bool:
    """Equal to the last bit, NaN equal to NaN."""
    return one[:2] == other[:2] and (one[2] == other[2] or (math.isnan(one[2]) and math.isnan(other[2])))


def whole(clips: list[Path], folder: Path, tempo: ModuleType, javis: ModuleType | None) -> bool:
    """Every clip whole on both sides."""
    equal = True
    for clip in clips:
        wav = to_wav(clip, folder / f"{clip.stem}.wav")
        try:
            (theirs, motion), public_s = seconds_of(of_public, tempo, clip, wav)
        except IndexError:
            print(f"{clip.name:34s} the public code fails: OpenCV gives it fewer than two frames", flush=True)
            continue
        try:
            peaks, own_s = seconds_of(evidence_of_file, clip)
        except MediaError as error:
            print(f"{clip.name:34s} REFUSED {error}", flush=True)
            equal = False
            continue
        show(clip, "tempotokens", theirs, of_ours(peaks), f"   {public_s:.1f} s public, {own_s:.1f} s avbench")
        equal &= same(theirs, of_ours(peaks))
        if javis is not None:
            expected = of_public_javis(javis, peaks.fps, motion, wav)
            show(clip, "javisbench", expected, of_ours_javis(peaks))
            if not same(expected, of_ours_javis(peaks)):
                again = of_public_javis(javis, peaks.fps, of_public(tempo, clip, wav)[1], wav)
                show(clip, "  public, again", expected, again)
                equal &= not same(expected, again)
    return equal


def show(clip: Path, name: str, expected: Found, found: Found, note: str = "") -> None:
    """One line: public/avbench."""
    print(
        f"{clip.name:34s} {name:16s} {'equal' if same(expected, found) else 'DIFFERENT'}  onsets "
        f"{len(expected[0])}/{len(found[0])}  motion peaks {len(expected[1])}/{len(found[1])}  "
        f"score {expected[2]!r}/{found[2]!r}{note}",
        flush=True,
    )


def timed_in_turn(clips: list[Path], folder: Path, tempo: ModuleType, repeats: int) -> bool:
    """Medians on short clips, the two sides alternating."""
    equal, ratios = True, []
    for clip in clips:
        wav, extraction_s = seconds_of(to_wav, clip, folder / "short.wav")
        seconds: dict[str, list[float]] = {"public": [], "avbench": []}
        for _ in range(repeats):
            (theirs, _), public_s = seconds_of(of_public, tempo, clip, wav)
            found, own_s = seconds_of(av_align, clip)
            seconds["public"].append(public_s)
            seconds["avbench"].append(own_s)
        is_same = found == theirs[2] or (math.isnan(found) and math.isnan(theirs[2]))
        equal &= is_same
        public, own = (statistics.median(seconds[side]) for side in ("public", "avbench"))
        ratios.append(public / own)
        print(
            f"{clip.name:42s} {'equal' if is_same else 'DIFFERENT'}  median of {repeats}: "
            f"{public:.3f} s public (and {extraction_s:.3f} s for its wav), {own:.3f} s avbench, {public / own:.2f}x",
            flush=True,
        )
    mean = statistics.geometric_mean(ratios)
    print(f"public / avbench, geometric mean over {len(ratios)} short clips, wav not counted: {mean:.2f}x")
    return equal


if __name__ == "__main__":
    raise SystemExit(main())
