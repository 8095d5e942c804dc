"""What a 256 px frame costs to train on: read from a 256 px training view, or decoded from the archive clip.

    python benchmarks/frame_loading.py --frames 200

Renders two recordings, builds a dataset of 34 s clips of 640 x 360 with a 256 px view, and loads random frames both
ways in turns: medians of 5. Decoding is asked for 240 px, which no view of 256 px holds. Then the disk that views of 64
and 256 px take for an hour, beside the archive clips.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from avbench.curate.build import Build
from avbench.dataset import load_index
from avbench.training.frames import FrameLoader

RECIPE = """
[segment]
clip_s = {clip_s}
lead_s = 0.5
[view]
size = 256
[shard]
train = 1.0
validation = 0.0
test = 0.0
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=200)
    options.add_argument("--clip-s", type=float, default=34.0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = build(Path(folder), chosen.clip_s)
        index = load_index(root)
        loaders = {"view": FrameLoader(root, "train", 256, seed=0), "archive": FrameLoader(root, "train", 240, seed=0)}
        times: dict[str, list[float]] = {name: [] for name in loaders}
        for turn in range(5):
            for name, loader in loaders.items():
                assert loader.source == name
                count = chosen.frames if name == "view" else max(1, chosen.frames // 10)
                begun = time.perf_counter()
                loader.batch(turn, count)
                times[name].append((time.perf_counter() - begun) / count * 1000)
        for name, taken in times.items():
            print(f"{name:8} {statistics.median(taken):9.3f} ms per frame  ({min(taken):.3f} to {max(taken):.3f})")
        hours = float(index["clip_s"].sum()) / 3600
        print(f"archive clips {float(index['bytes'].sum()) / hours / 1e9:.2f} GB per hour")
        for size in (64, 256):
            print(f"view of {size} px {3600 * 10 * size * size * 3 / 1e9:.2f} GB per hour at 10 fps")


def build(folder: Path, clip_s: float) -> Path:
    """A dataset of two rendered clips."""
    query = f"kind=impacts&seconds={clip_s + 2:g}&width=640&height=360&bodies=3&seed="
    (folder / "sources.csv").write_text("id,url\n" + "".join(f"s{i},synthetic:{query}{i}\n" for i in (1, 2)))
    (folder / "recipe.toml").write_text(RECIPE.format(clip_s=clip_s))
    building = Build.open(str(folder / "sources.csv"), out=folder / "out", recipe=str(folder / "recipe.toml"))
    with building.lock():
        for stage in ("download", "segment", "filter", "shard"):
            assert not building.stage(stage, 1).failed
    return folder / "out"


if __name__ == "__main__":
    main()
