"""Memory of a worker, and time of a clip, against the length of the source.

    python -m benchmarks.curate_memory --hours 0.1 1 10

A minute of film (160x90 at 30 fps, AAC) is repeated to each length without encoding it again. Each length is a dataset
of that one source, served on loopback and built by the recipe ``concerts``, except that the clips stand further apart:
about ``--clips`` of them, evenly over the whole source, the last one near its end. Every stage runs in a process of its
own, whose peak resident memory (VmHWM, the program itself included) is printed; that of ffmpeg, which encodes beside
it, is the highest that was seen. Then the time to index a source, to open it, and to cut and verify its first and last
clip, each the shortest of some turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from avbench import media
from avbench.curate._verify import verify
from avbench.curate.build import Build
from avbench.recipe import SegmentRecipe, find
from avbench.workspace import STAGES
from tests.servers import FileServer

_MIB = 2**20


@dataclass(frozen=True)
class Peak:
    """Highest resident memory of a stage in a process of its own.

    Attributes:
        own_bytes: Of the process.
        child_bytes: The highest that was seen of an ffmpeg that it ran.
    """

    own_bytes: int
    child_bytes: int


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, nargs="*", default=[0.1, 1.0, 10.0])
    options.add_argument("--clips", type=int, default=20, help="clips of each source, about")
    options.add_argument("--turns", type=int, default=3, help="how often a time is taken")
    options.add_argument("--folder", type=Path, help="where sources and datasets go; a temporary folder when absent")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (chosen.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        piece = render(folder / "piece.mp4", seconds=60)
        sources = {hours: repeat(piece, folder / f"film-{hours:g}h.mp4", hours * 3600) for hours in chosen.hours}
        names = "".join(f" {stage:>9}" for stage in STAGES)
        print(f"peak resident memory, MiB\n{'hours':>6} {'MB':>6} {'clips':>6}{names} {'ffmpeg':>9}")
        for hours, source in sources.items():
            print(memory_line(source, hours, folder, chosen.clips), flush=True)
        print(f"{'hours':>6} {'index s':>8} {'open s':>7} {'first clip s':>13} {'last clip s':>12} {'ratio':>6}")
        for hours, source in sources.items():
            print(time_line(source, hours, folder, chosen.turns), flush=True)


def render(path: Path, *, seconds: float) -> Path:
    """A small film of moving shapes and rising and falling tones."""
    tones = f"aevalsrc='0.2*sin(2*PI*(300+200*sin(t))*t)|0.1*random(0)-0.05':s=44100:d={seconds:g}"
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=30:duration={seconds:g}")
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-g", "150", "-pix_fmt", "yuv420p", "-c:a", "aac")
    return _ffmpeg(path, *picture, "-f", "lavfi", "-i", tones, *encoder)


def repeat(piece: Path, path: Path, seconds: float) -> Path:
    """The same packets again and again; a file of an earlier run stays."""
    return _ffmpeg(path, "-stream_loop", "-1", "-i", str(piece), "-t", f"{seconds:g}", "-c", "copy")


def _ffmpeg(path: Path, *arguments: str) -> Path:
    if not path.exists():
        partial = path.with_suffix(".part.mp4")
        command = [media.ffmpeg_path(), "-y", "-nostdin", "-loglevel", "error", *arguments, str(partial)]
        subprocess.run(command, check=True)
        partial.rename(path)
    return path


def memory_line(source: Path, hours: float, folder: Path, clips: int) -> str:
    """Build a dataset of one source and tell the peak of each stage."""
    out, table, recipe = folder / f"set-{hours:g}h", folder / f"{hours:g}h.csv", folder / f"{hours:g}h.toml"
    text = find("datasets", "concerts").read_text()
    apart, count = re.subn(r"(?m)^lead_s = .*$", rf"\g<0>\nstride_s = {max(34.0, hours * 3600 / clips)}", text, count=1)
    if not count:
        raise SystemExit("the recipe concerts has no lead_s any more; put stride_s in elsewhere")
    recipe.write_text(apart)
    peaks: dict[str, Peak] = {}
    with FileServer(source.parent) as server:
        table.write_text(f"source_id,url\nfilm,{server.url(source.name)}\n")
        for stage in STAGES:
            peaks[stage] = in_child(str(table), out, str(recipe), stage)
    cells = "".join(f" {peaks[stage].own_bytes / _MIB:9.0f}" for stage in STAGES)
    encoder = max(peak.child_bytes for peak in peaks.values()) / _MIB
    made = len(list((out / "work" / "clips").glob("*.mp4")))
    return f"{hours:6g} {source.stat().st_size / 1e6:6.0f} {made:6}{cells} {encoder:9.0f}"


def in_child(table: str, out: Path, recipe: str, stage: str) -> Peak:
    """Run one stage with one worker in a new process, and watch what it takes.

    Raises:
        SystemExit: The stage failed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_run, args=(table, out, recipe, stage, theirs))
    child.start()
    seen = 0
    while child.is_alive():
        seen = max([seen, *(peak_bytes(pid) for pid in _encoders(child.pid or 0))])
        child.join(0.02)
    if child.exitcode != 0 or not ours.poll():
        raise SystemExit(f"{stage} of {out} did not end well")
    peak, fault = ours.recv()
    if fault:
        raise SystemExit(f"{stage} of {out}: {fault}")
    return Peak(peak, seen)


def _run(table: str, out: Path, recipe: str, stage: str, told: Connection) -> None:
    summary = Build.open(table, out=out, recipe=recipe).stage(stage, 1)
    told.send((peak_bytes(), str(summary.failed or "")))


def _encoders(pid: int) -> list[int]:
    """Children that run ffmpeg: between fork and exec a child still shows the memory of its parent."""
    found: list[int] = []
    program = Path(media.ffmpeg_path()).resolve()
    with suppress(OSError):  # it has ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children = (thread / "children").read_text().split()
            found += [int(child) for child in children if Path(f"/proc/{child}/exe").resolve() == program]
    return found


def peak_bytes(pid: int | str = "self") -> int:
    """Highest resident memory of a process so far, the program itself included; 0 where it has ended."""
    # not ru_maxrss: that of a child begins with the memory of the process it was forked from
    with suppress(OSError):
        told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(told[1]) * 1024 if told else 0
    return 0


def time_line(source: Path, hours: float, folder: Path, turns: int) -> str:
    """Seconds to index and to open a source, and to cut and verify a clip near either end."""
    recipe = SegmentRecipe()
    info, starts_s = media.timeline(source)
    places = {"first": recipe.lead_s, "last": min(info.video_end_s, info.audio_end_s) - recipe.clip_s - 1}

    def clip(at_s: float) -> None:
        made = folder / "clip.mp4"
        verify(made, recipe, source, media.cut(source, made, at_s, recipe), starts_s)

    ways: dict[str, Callable[[], object]] = {
        "index": lambda: media.timeline(source),
        "open": lambda: media.source_sound(source, 0.0, 0.1),
        **{name: lambda at_s=at_s: clip(at_s) for name, at_s in places.items()},  # type: ignore[misc]
    }
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            least[name] = min(least[name], time.perf_counter() - begun)
    cells = f"{least['index']:8.2f} {least['open']:7.3f} {least['first']:13.2f} {least['last']:12.2f}"
    return f"{hours:6g} {cells} {least['last'] / least['first']:6.2f}"


if __name__ == "__main__":
    main()
