"""What every filter without weights measures on real recordings, and what it costs: the tables of docs/filters.md.

``python -m benchmarks.filter_values MEDIA_FOLDER [--clips 3] [--seconds 14]``

Clips are cut from the beginning of each recording on, at the size of the concerts recipe. The cost is CPU time (all
threads) of one clip of 34 s, the median over the repeats; decoding is what `ClipSignals.decode` takes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from avbench import media, recipe, registry
from avbench.errors import UserError
from avbench.filters import _base
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.recipe import DatasetRecipe, SegmentRecipe

PICTURE = ("resolution", "letterbox", "black", "freeze", "motion", "blur", "cuts")
SOUND = ("has_audio", "loudness", "silence", "clipping", "phase", "speech_music", "correspondence")
COST_S = 34.0

T = TypeVar("T")


def values(folder: Path, clips: int, seconds: float, into: Path) -> dict[str, dict[str, list[float]]]:
    """Recording -> filter -> one value per clip; recordings too short for one clip are left out."""
    filters: dict[str, ClipFilter] = {name: registry.module("filter", name).Filter() for name in (*PICTURE, *SOUND)}
    found: dict[str, dict[str, list[float]]] = {}
    for source in sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".webm", ".ogv", ".mkv")):
        for number in range(clips):
            clip = into / f"{source.name}_{number}.mp4"
            try:
                media.cut(source, clip, number * seconds, SegmentRecipe(clip_s=seconds))
            except UserError:
                break
            signals = ClipSignals.decode(clip)
            row = found.setdefault(source.name, {name: [] for name in filters})
            for name, made in filters.items():
                row[name].append(made.measure(signals))
    return found


def table(found: dict[str, dict[str, list[float]]], names: tuple[str, ...]) -> str:
    """Markdown: a row per recording, the lowest and highest value of its clips."""
    lines = ["| recording | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for source, row in found.items():
        cells = [_span(row[name]) for name in names]
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _span(measured: list[float]) -> str:
    low, high = f"{min(measured):.3g}", f"{max(measured):.3g}"
    return low if low == high else f"{low} to {high}"


def cost(clip: Path, repeats: int) -> dict[str, float]:
    """CPU seconds of decoding and of each filter of the concerts recipe that judges a clip by itself."""
    chosen = recipe.load(recipe.find("datasets", "concerts"), DatasetRecipe)
    filters = [made for made in _base.load(chosen.filters) if isinstance(made, ClipFilter)]
    spent: dict[str, list[float]] = {}
    for _ in range(repeats):
        signals, seconds = _timed(partial(ClipSignals.decode, clip))
        spent.setdefault("decoding", []).append(seconds)
        for made in filters:
            spent.setdefault(made.name, []).append(_timed(partial(made.measure, signals))[1])
    return {name: statistics.median(runs) for name, runs in spent.items()}


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def main() -> None:
    """Print both tables and the cost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("--clips", type=int, default=3, help="clips per recording")
    parser.add_argument("--seconds", type=float, default=14.0, help="length of a clip")
    parser.add_argument(
        "--cost-of", default="popcorn_test_64s.webm", help="recording for the cost; empty leaves it out"
    )
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = values(asked.media, asked.clips, asked.seconds, Path(folder))
        print(table(found, PICTURE), table(found, SOUND), sep="\n\n")
        if asked.cost_of:
            clip = Path(folder) / "cost.mp4"
            media.cut(asked.media / asked.cost_of, clip, 0.0, SegmentRecipe(clip_s=COST_S))
            spent = cost(clip, asked.repeats)
            print("\n| | CPU seconds |\n|---|---|")
            print("\n".join(f"| {name} | {seconds:.3f} |" for name, seconds in spent.items()))
            print(f"| all | {sum(spent.values()):.2f} |")


if __name__ == "__main__":
    main()
