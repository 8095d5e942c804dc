"""Which recordings the duplicate filter takes for one: python benchmarks/curate_duplicates.py MEDIA [--random 8000]

Cuts every recording of a folder into 16-second clips, together with a second upload of each: begun 7.37 s later,
480x270 with bars, x264 at crf 33, mono MP3 of 48 kbit/s at 22050 Hz, 12 dB down. Then compares all clips of different
files and prints what is shared. With ``--random N``: time and memory of comparing N clips of random content with each
other.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from avbench.curate._duplicates import compare
from avbench.curate.build import Build
from avbench.filters._fingerprints import BINS, Likeness, Prints, likeness
from avbench.filters.duplicate import Filter

RECIPE = """
[segment]
clip_s = 16
lead_s = 0
fps = 30
width = 480
height = 270
sample_rate_hz = 48000

[[filters]]
name = "duplicate"
"""
UPLOAD = [
    *("-vf", "scale=360:270:force_original_aspect_ratio=decrease,pad=480:270:(ow-iw)/2:(oh-ih)/2,setsar=1"),
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "33", "-threads", "1"),
    *("-af", "volume=-12dB", "-ar", "22050", "-ac", "1", "-c:a", "libmp3lame", "-b:a", "48k"),
]
SHIFT_S = 7.37
SAME_FILM = ("popcorn_test_64s_ogv", "popcorn_test_64s_webm")


def clips_of(media: Path, folder: Path) -> dict[str, list[Prints]]:
    """Fingerprints of the clips of each file and of its second upload, by source id."""
    rows = []
    for path in sorted(path for path in media.iterdir() if path.suffix in (".mp4", ".webm", ".ogv")):
        name = path.name.replace(".", "_")
        again = folder / f"{name}_again.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-ss", str(SHIFT_S), "-i", str(path)]
        subprocess.run([*command, "-map", "0:v:0", "-map", "0:a:0", *UPLOAD, str(again)], check=True)
        rows += [f"{name},{path}", f"{name}_again,{again}"]
    (folder / "media.csv").write_text("source_id,url\n" + "\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(RECIPE)
    build = Build.open(str(folder / "media.csv"), out=folder / "set", recipe=str(folder / "recipe.toml"))
    for stage in ("download", "segment", "filter"):
        build.stage(stage, 2)
    found: dict[str, list[Prints]] = {}
    for record in build.workspace.records("filter"):
        told = [entry for entry in record["clips"] if not entry["error"]]
        found[record["source_id"]] = [Prints.from_text(entry["prints"]["duplicate"]) for entry in told]
    return found


def print_table(found: dict[str, list[Prints]]) -> None:
    """The largest shares of each pair of files that are one recording, and of all others together."""
    most: dict[tuple[str, str], list[Likeness]] = defaultdict(list)
    for one, other in itertools.permutations(found, 2):
        for clip in found[one]:
            shares = [likeness(clip, theirs, Filter().max_bits) for theirs in found[other]]
            most[one, other].append(max(shares, key=lambda like: (like.both, like.sound, like.picture)))
    print("| clips of | found in | clips | dropped | joined | both | sound | picture |")
    print("|---|---|---|---|---|---|---|---|")
    unrelated = []
    for (one, other), likes in most.items():
        same = one.removesuffix("_again") == other.removesuffix("_again") or {one, other} == set(SAME_FILM)
        if not same and {one.removesuffix("_again"), other.removesuffix("_again")} != set(SAME_FILM):
            unrelated += [(one, other, like) for like in likes]
        elif one < other and same:
            whats = [Filter().what(like) for like in likes]
            names = ("both", "sound", "picture")
            shares = " | ".join(_range([getattr(like, name) for like in likes]) for name in names)
            dropped = whats.count("picture and sound")
            print(f"| {one} | {other} | {len(likes)} | {dropped} | {len(likes) - whats.count('')} | {shares} |")
    for name in ("both", "sound", "picture"):
        one, other, like = max(unrelated, key=lambda row: getattr(row[2], name))
        print(f"largest {name} of {len(unrelated)} other comparisons: {getattr(like, name):.3f} ({one}, {other})")


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def time_random(count: int) -> None:
    """Compare ``count`` clips of 34 s of random content, 40 to a source, one of which repeats another."""
    rng = np.random.default_rng(0)
    prints = []
    for _ in range(count):
        steps, bins = rng.integers(0, 1062, 340), rng.integers(*BINS, 340)
        peaks = np.sort(steps << 9 | bins).astype(np.uint32)
        prints.append(Prints(rng.integers(1, 2**63, 136, dtype=np.uint64), peaks).to_text())
    prints[-1] = prints[0]
    ids = [(f"s{n // 40:05d}", n % 40) for n in range(count)]
    clips = [
        {"clip_id": f"{source}_{n:04d}", "source_id": source, "group": "", "start_s": 34.0 * n, "clip_s": 34.0}
        for source, n in ids
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    found = compare(Filter(), clips, prints)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pairs = [(pair["clip_id"], pair["other_clip_id"]) for pair in found.pairs]
    print(f"{count} clips: {seconds:.1f} s, peak memory {peak:.0f} MiB ({before:.0f} before); found {pairs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, nargs="?", help="folder of recordings")
    parser.add_argument("--random", type=int, help="compare so many random clips")
    arguments = parser.parse_args()
    if arguments.random:
        time_random(arguments.random)
    if arguments.media:
        with tempfile.TemporaryDirectory() as folder:
            print_table(clips_of(arguments.media.resolve(), Path(folder)))


if __name__ == "__main__":
    main()
