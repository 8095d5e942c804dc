"""Kill -9 a build at random moments over all of its stages, go on, and compare every byte of the dataset.

    python -m benchmarks.curate_kill --count 100 --seed 0

One small dataset (rendered, local and served sources) is built without a break first. Then, for each kill: a build in
an empty folder runs in a process group of its own; the stages take turns, and when one is seen to work, a delay within
the time it took unbroken is drawn; the whole group gets SIGKILL. The same build runs again to its end, and its
``shards/`` must be the bytes of the unbroken one, with nothing half-written left in the folder.

The builds are forked from this process, which has imported everything: a kill costs two builds, not two starts of
Python.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import avbench.curate.web  # noqa: F401 - imported before the forks, which then have it
from avbench.curate.build import Build
from avbench.workspace import STAGES, file_sha256
from tests import small_set
from tests.servers import FileServer

MORE = """
[download]
timeout_s = 10

[shard]
max_bytes = 400000
"""
"""What the recipe says beside that of the small dataset: shards so small that there are several."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(run(Path(scratch), options.count, random.Random(options.seed)))


def run(folder: Path, count: int, rng: random.Random) -> int:
    """All kills; returns the exit code."""
    server = serve(folder)
    try:
        unbroken, lasted_s = folder / "unbroken", {}
        child = start(folder, unbroken)
        while not ended(child):
            note_progress(unbroken, lasted_s)
            time.sleep(0.001)
        want = digests(unbroken)
        ends = [*list(lasted_s.values())[1:], time.monotonic()]
        lasted_s = {stage: end - begun for (stage, begun), end in zip(lasted_s.items(), ends, strict=True)}
        print(f"unbroken: {len(want)} files; " + ", ".join(f"{k} {v:.2f} s" for k, v in lasted_s.items()), flush=True)
        hits: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        for number in range(count):
            out = folder / f"kill{number}"
            stage = STAGES[number % len(STAGES)]
            hit, fault = one(folder, out, stage, rng.uniform(0, lasted_s[stage]), want)
            hits[hit] += 1
            passed[hit] += not fault
            if fault:
                print(f"kill {number} in {hit}: {fault}", flush=True)
            shutil.rmtree(out)
    finally:
        os.killpg(server, signal.SIGKILL)
        os.waitpid(server, 0)
    for stage in (*STAGES, "after the end"):
        print(f"{stage:<14} {hits[stage]:>4} kills  {passed[stage]:>4} same bytes")
    print(f"{'all':<14} {count:>4} kills  {sum(passed.values()):>4} same bytes")
    return 0 if sum(passed.values()) == count else 1


def one(folder: Path, out: Path, stage: str, delay_s: float, want: dict[str, str]) -> tuple[str, str]:
    """One kill and the run after it; returns the stage that it hit, and what is wrong."""
    child, seen = start(folder, out), dict[str, float]()
    while not ended(child, reap=False):
        note_progress(out, seen)
        if stage in seen and time.monotonic() >= seen[stage] + delay_s:
            break
        time.sleep(0.001)
    finished = ended(child, reap=False)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    note_progress(out, seen)
    hit = "after the end" if finished else list(seen)[-1]
    again = start(folder, out)
    while not ended(again):
        time.sleep(0.005)
    found = digests(out)
    if found != want:
        return hit, f"other bytes: {sorted(set(found.items()) ^ set(want.items()))[:4]}"
    rest = [path.name for path in out.rglob("*") if path.name.startswith(".tmp-") or path.name == "shards.new"]
    return hit, f"left behind: {rest[:4]}" if rest else ""


def serve(folder: Path) -> int:
    """Write manifest and recipe, and serve two of the sources from a process of its own; returns its id."""
    os.environ["AVBENCH_PRIVATE_HOSTS"] = "127.0.0.1"
    served = folder / "served"
    served.mkdir()
    for name in ("a", "b", "own"):
        small_set.render(served / f"{name}.mp4", 90 + ord(name[0]))
    (folder / "recipe.toml").write_text(small_set.RECIPE + MORE)
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        with FileServer(served) as server:
            os.write(tell, f"{server.url('a.mp4')} {server.url('b.mp4')}".encode())
            while True:
                time.sleep(60)
    a, b = os.read(ready, 1000).decode().split()
    rows = [f"s{k},{small_set.source(k)}" for k in range(2)]
    rows += [f"a,{a}", f"b,{b}", f"own,{served}/own.mp4"]
    (folder / "mine.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
    return child


def start(folder: Path, out: Path) -> int:
    """Fork one build; returns its process id, which is that of its group too."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        build = Build.open(str(folder / "mine.csv"), out=out, recipe=str(folder / "recipe.toml"))
        with build.lock():
            summaries = [build.stage(name, 1) for name in STAGES]
        code = 3 if any(summary.failed for summary in summaries) else 0
    finally:
        os._exit(code)


def ended(child: int, *, reap: bool = True) -> bool:
    """Whether a build is over; with ``reap`` it must have succeeded."""
    flags = os.WNOHANG | os.WEXITED | (0 if reap else os.WNOWAIT)
    found = os.waitid(os.P_PID, child, flags)
    if found is None:
        return False
    if reap and found.si_status:
        raise SystemExit(f"a build that nobody killed ended with code {found.si_status}")
    return True


def note_progress(out: Path, seen: dict[str, float]) -> None:
    """Enter when each stage is first seen to work; it works from the end of the one before."""
    work = out / "work"
    signs = {
        "download": work.is_dir(),
        "segment": (work / "clips").is_dir(),
        "filter": (work / "ledger" / "filter").is_dir(),
        "shard": (work / "filter.json").is_file(),
    }
    for stage, works in signs.items():
        if works and stage not in seen:
            seen[stage] = time.monotonic()


def digests(out: Path) -> dict[str, str]:
    folder = out / "shards"
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


if __name__ == "__main__":
    main()
