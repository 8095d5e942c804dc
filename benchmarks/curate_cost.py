"""What a dataset costs by the hour, and the table of docs/scaling.md: python -m benchmarks.curate_cost MEDIA

Recordings of the folder MEDIA are rendered to sources of 1080p60 at 6 Mbit/s and, from these, of 720p30 at 2.5 Mbit/s,
served on loopback, and built by the recipe ``concerts`` with one worker, after a small one has loaded every library.
Printed are core-seconds and bytes per hour of clips for each stage, what the fold over all clips takes (a ledger of
random fingerprints, at two sizes), and the table in markdown: every clip is kept, sources last ``--source-hours``, the
smaller figure is of 720p30 and the larger of 1080p60. Filters that need weights are not part of the recipe.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from avbench import media
from avbench.curate import filter as stage
from avbench.curate._duplicates import MAX_CLIPS
from avbench.curate.build import Build
from avbench.dataset import CARD_NAME
from avbench.filters import _base
from avbench.filters._fingerprints import BINS, Prints
from avbench.recipe import DatasetRecipe, find, load
from avbench.schema import SCHEMA_VERSION
from avbench.workspace import STAGES, Workspace, read_json
from benchmarks.curate_memory import peak_bytes, render as small_film
from benchmarks.curate_throughput import cpu_s, ffmpeg, render
from tests.servers import FileServer

RECIPE = "concerts"
CLIPS_PER_SOURCE = 100
PLANS_H = (77, 1_000, 100_000)
CLUSTER_CORES = 64


@dataclass(frozen=True)
class Rates:
    """What an hour of clips takes.

    Attributes:
        core_s: Core-seconds of each stage.
        bytes: Bytes of the sources, of ``work/clips``, of ``shards`` and of the rest of ``work``.
        requests: Requests for one source.
    """

    core_s: dict[str, float]
    bytes: dict[str, float]
    requests: float


@dataclass(frozen=True)
class Fold:
    """What the comparison of all clips, and the tables, take of one process.

    Attributes:
        clips: How many.
        core_s: Core-seconds.
        peak_bytes: Highest resident memory.
    """

    clips: int
    core_s: float
    peak_bytes: int


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("media", type=Path, help="folder of recordings")
    options.add_argument("--only", nargs="*", default=["robopianist", "myrkur"], help="recordings by name")
    options.add_argument("--seconds", type=float, default=147, help="length of a rendered source")
    options.add_argument("--fold", type=int, nargs=2, default=[2000, 8000], help="clips in the fold")
    options.add_argument("--source-hours", type=float, default=1.0, help="length of a source in the table")
    options.add_argument("--folder", type=Path, help="where rendered sources are kept; a temporary folder when absent")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (chosen.folder or Path(scratch)).absolute()
        served = folder / "served"
        served.mkdir(parents=True, exist_ok=True)
        small_film(served / "warm.mp4", seconds=46)
        large = render(chosen.media, chosen.only, served, chosen.seconds)
        kinds = {"1080p60": large, "720p30": [smaller(path) for path in large]}
        rates = {kind: measure(kind, sources, folder) for kind, sources in kinds.items()}
        for kind, rate in rates.items():
            print_rates(kind, rate)
        folds = [measure_fold(count, folder) for count in chosen.fold]
    for fold in folds:
        print(f"fold of {fold.clips} clips: {fold.core_s:.1f} core-s, peak {fold.peak_bytes / 2**20:.0f} MiB")
    print_table(rates, folds, load(find("datasets", RECIPE), DatasetRecipe), chosen.source_hours)


def smaller(source: Path) -> Path:
    """The same at 1280x720 and 30 fps."""
    path = source.with_name(f"{source.stem}-720p30.mp4")
    if not path.exists():
        partial = path.with_suffix(".part.mp4")
        video = ("-vf", "fps=30,scale=1280:720", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "2.5M", "-g", "250")
        ffmpeg("-i", str(source), *video, "-maxrate", "4M", "-bufsize", "5M", "-c:a", "copy", str(partial))
        partial.rename(path)
    return path


def measure(kind: str, sources: Sequence[Path], folder: Path) -> Rates:
    """Build a dataset of the sources and take everything by the hour of clips."""
    out = folder / f"set-{kind}"
    with FileServer(sources[0].parent) as server:
        for name, paths in {"warm": [sources[0].with_name("warm.mp4")], kind: sources}.items():
            rows = (f"s{n},{server.url(path.name)}\n" for n, path in enumerate(paths))
            (folder / f"{name}.csv").write_text("source_id,url\n" + "".join(rows))
        core_s = in_child(_build, str(folder / "warm.csv"), str(folder / f"{kind}.csv"), folder / "set-warm", out)
        requests = sum(f"/{path.name}" in asked for path in sources for asked in server.requests)
    work = out / "work"
    clips = len(list((work / "clips").glob("*.mp4")))
    source_h = sum(media.probe(path).duration_s for path in sources) / 3600
    clips_h = clips * load(find("datasets", RECIPE), DatasetRecipe).segment.clip_s / 3600
    kept_h = clips_h * kept_share(out)
    hours = {"download": source_h, "segment": clips_h, "filter": clips_h, "shard": kept_h}
    size = {"sources": folder_bytes(work / "raw") / source_h, "clips": folder_bytes(work / "clips") / clips_h}
    size |= {"shards": folder_bytes(out / "shards") / kept_h, "ledger": folder_bytes(work / "ledger") / clips_h}
    return Rates({name: core_s[name] / hours[name] for name in STAGES}, size, requests / len(sources))


def kept_share(out: Path) -> float:
    """Share of the clips that stand in the shards."""
    packed = sum(shard["clips"] for shard in read_json(out / "shards" / CARD_NAME)["shards"])
    return packed / len(list((out / "work" / "clips").glob("*.mp4")))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``work`` in a new process.

    Raises:
        SystemExit: It has ended without one.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_tell, args=(theirs, work, arguments))
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError as error:
        raise SystemExit("the process that does the work has died; its message stands above") from error
    finally:
        child.join()


def _tell(told: Connection, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    told.send(work(*arguments))


def _build(warm: str, table: str, warm_out: Path, out: Path) -> dict[str, float]:
    """Core-seconds of each stage."""
    spent: dict[str, float] = {}
    for source, folder in ((warm, warm_out), (table, out)):
        shutil.rmtree(folder, ignore_errors=True)
        build = Build.open(source, out=folder, recipe=RECIPE)
        for name in STAGES:
            begun = cpu_s()
            summary = build.stage(name, 1)
            spent[name] = cpu_s() - begun
            if summary.failed:
                raise SystemExit(f"{source}: {name} failed: {summary.failed}")
    return spent


def measure_fold(count: int, folder: Path) -> Fold:
    """Fold a ledger of ``count`` clips of random content that every filter keeps."""
    ws = Workspace(folder / f"fold-{count}")
    shutil.rmtree(ws.root, ignore_errors=True)
    recipe = load(find("datasets", RECIPE), DatasetRecipe)
    filters = _base.load(recipe.filters)
    rng = np.random.default_rng(0)
    ids = [f"s{n:05d}" for n in range(math.ceil(count / CLIPS_PER_SOURCE))]
    template = Workspace(folder / "set-1080p60").records("filter")[0]["clips"][0]
    verdicts = [{**told, "keep": True, "reason": ""} for told in template["verdicts"]]
    for source_id in ids:
        clips = [
            {**template["clip"], "clip_id": f"{source_id}_{n:04d}", "source_id": source_id, "group": source_id}
            for n in range(CLIPS_PER_SOURCE)
        ]
        ws.write_record("segment", source_id, {"status": "done", "params": "", "clips": clips})
        job = stage._plan(ws, source_id, filters)
        assert job is not None
        entries = [
            {"clip": clip, "error": "", "verdicts": verdicts, "prints": {"duplicate": random_prints(rng)}}
            for clip in clips
        ]
        record = {"schema_version": SCHEMA_VERSION, "source_id": source_id, "clips": entries}
        ws.write_record("filter", source_id, {**record, "params": job.params, "measures": job.measures})
    core_s, peak = in_child(_fold, ws, ids)
    return Fold(len(ids) * CLIPS_PER_SOURCE, core_s, peak)


def random_prints(rng: np.random.Generator) -> dict[str, str]:
    """Fingerprints of 34 s that are like no other's."""
    steps, bins = rng.integers(0, 1062, 340), rng.integers(*BINS, 340)
    peaks = np.sort(steps << 9 | bins).astype(np.uint32)
    return Prints(rng.integers(1, 2**63, 136, dtype=np.uint64), peaks).to_text()


def _fold(ws: Workspace, ids: Sequence[str]) -> tuple[float, int]:
    """Core-seconds and peak memory of writing the tables."""
    recipe = load(find("datasets", RECIPE), DatasetRecipe)
    begun = cpu_s()
    summary = stage.filter_clips(ws, ids, recipe.filters)
    if summary.done or summary.failed:
        raise SystemExit("the clips of the fold were judged again; the ledger that was made does not fit the stage")
    return cpu_s() - begun, peak_bytes()


def print_rates(kind: str, rates: Rates) -> None:
    print(f"{kind}, for an hour of clips")
    print("  core-seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in rates.core_s.items()))
    print("  GB: " + ", ".join(f"{name} {value / 1e9:.3f}" for name, value in rates.bytes.items()))
    print(f"  requests for a source: {rates.requests:g}")


def print_table(rates: dict[str, Rates], folds: Sequence[Fold], recipe: DatasetRecipe, source_h: float) -> None:
    """The table of the docs, in markdown."""
    ends = [rates["720p30"], rates["1080p60"]]
    rows: list[tuple[str, list[str]]] = []

    def add(what: str, per_hour: Callable[[Rates], float]) -> None:
        low, high = sorted(per_hour(rate) for rate in ends)
        rows.append((what, [span(low * hours, high * hours) for hours in PLANS_H]))

    def cores(rate: Rates) -> float:
        return sum(rate.core_s.values()) / 3600

    for name in STAGES:
        add(f"core-hours, {name}", lambda rate, name=name: rate.core_s[name] / 3600)  # type: ignore[misc]
    add("core-hours, all", cores)
    add(f"hours on {CLUSTER_CORES} cores", lambda rate: cores(rate) / CLUSTER_CORES)
    add("network and sources, GB", lambda rate: rate.bytes["sources"] / 1e9)
    add("clips in `work/`, GB", lambda rate: rate.bytes["clips"] / 1e9)
    add("shards, GB", lambda rate: rate.bytes["shards"] / 1e9)
    add("disk while it is built, GB", lambda rate: sum(rate.bytes.values()) / 1e9)
    add(f"requests, sources of {source_h:g} h", lambda rate: rate.requests / source_h)
    counts = [hours * 3600 / recipe.segment.clip_s for hours in PLANS_H]
    rows.append(("memory of the fold, GB", [fold_cell(count, folds, "peak_bytes", 1e9) for count in counts]))
    rows.append(("core-hours of the fold, at least", [fold_cell(count, folds, "core_s", 3600) for count in counts]))
    print("| | " + " | ".join(f"{hours:,} h" for hours in PLANS_H) + " |")
    print("|---" * (len(PLANS_H) + 1) + "|")
    print("| clips | " + " | ".join(f"{count:,.0f}" for count in counts) + " |")
    for what, cells in rows:
        print(f"| {what} | " + " | ".join(cells) + " |")


def span(low: float, high: float) -> str:
    low_text, high_text = short(low), short(high)
    return low_text if low_text == high_text else f"{low_text} to {high_text}"


def short(value: float) -> str:
    """Two figures."""
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def fold_cell(count: float, folds: Sequence[Fold], name: str, unit: float) -> str:
    """What a fold of ``count`` clips takes, on the line through the two that were measured."""
    if count > MAX_CLIPS:
        return "several folds"
    one, other = (asdict(fold) for fold in folds)
    slope = (other[name] - one[name]) / (other["clips"] - one["clips"])
    return short((other[name] + slope * (count - other["clips"])) / unit)


if __name__ == "__main__":
    main()
