"""Hours of building, training, sampling and scoring, and whether memory stays flat and nothing is left behind.

    python -m benchmarks.soak --minutes 120 --out FOLDER
    python -m benchmarks.soak --report FOLDER           # of a run that was cut short

Each round does the whole line in this one process, through the library, with two baselines; then once more through the
commands, each a process of its own. Both must end with the same bytes in every round. After each round stand one line
in ``FOLDER/rounds.jsonl`` and whatever was found; at the end ``soak.json``, ``soak.md`` and ``soak.png``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import _soak_report, _soak_watch, curate_kill
from tests import small_set

STEPS, SAMPLES, SOLVER_STEPS = (2, 4), 8, 3
"""Training ends after the first number of steps, is resumed to the second; clips; steps of the solver."""


@dataclass(frozen=True)
class Place:
    """Where a run of the soak works.

    Attributes:
        out: Its folder.
        server: Process that serves some of the sources.
    """

    out: Path
    server: int

    @property
    def round(self) -> Path:
        """What a round makes; always the same name, since results hold it, and emptied after each."""
        return self.out / "round"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no round that would end after so long")
    parser.add_argument("--out", type=Path, help="folder of the run; must not be there")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write the report of a run, and run nothing")
    options = parser.parse_args()
    if options.report is not None:
        print(_soak_report.write(options.report))
        return
    if options.out is None:
        parser.error("--out FOLDER is needed")
    sys.exit(soak(options.out.absolute(), options.minutes * 60))


def soak(out: Path, seconds: float) -> int:
    """All rounds; returns the exit code."""
    place = prepare(out)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    begun, known, longest = time.monotonic(), set[str](), 0.0
    try:
        while not stopped and time.monotonic() - begun + longest < seconds:
            started = time.monotonic()
            row: dict[str, Any] = {"begun_s": round(started - begun, 1)}
            for name, work in (("library", through_library), ("commands", through_commands)):
                shutil.rmtree(place.round, ignore_errors=True)
                place.round.mkdir()
                # measured anew in every round
                os.environ["AVBENCH_CACHE"] = str(place.round / "cache")
                row[name] = timed(work, place)
            shutil.rmtree(place.round)
            snapshot = _soak_watch.take(out, known=known, server=place.server)
            known = known or set(snapshot.processes)
            longest = max(longest, time.monotonic() - started)
            row |= {"seconds": round(time.monotonic() - started, 1), "state": asdict(snapshot)}
            with open(out / "rounds.jsonl", "a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"{row['begun_s']:8.0f} s {snapshot.rss_mib:8.1f} MiB {sum(snapshot.fds.values())} files", flush=True)
    finally:
        os.killpg(place.server, signal.SIGKILL)
        os.waitpid(place.server, 0)
    # a process of its own: drawing is no part of what is watched
    done = subprocess.run([sys.executable, "-m", "benchmarks.soak", "--report", str(out)], check=False)
    return done.returncode


def prepare(out: Path) -> Place:
    """Sources, recipes, and folders for all that is written outside of a round."""
    out.mkdir(parents=True)
    server = curate_kill.serve(out)
    os.environ[_soak_watch.MARK] = f"soak-{os.getpid()}"
    for name, folder in (("TMPDIR", "tmp"), ("HOME", "home"), ("XDG_CACHE_HOME", "home/.cache")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(out / folder)
    os.environ["AVBENCH_WEIGHTS"] = str(out / "home" / "weights")
    (out / "recipe.toml").write_text(small_set.RECIPE + '\n[[filters]]\nname = "freeze"\n')
    from avbench.recipe import project_root

    tiny = (project_root() / "recipes" / "baselines" / "avdit-tiny.toml").read_text()
    tiny = tiny.replace('decay = "cosine"\n', "")  # such a run could not be trained further
    (out / "avdit.toml").write_text(tiny.replace("runs/autoencoder-tiny", str(out / "round" / "codec")))
    return Place(out, server)


def timed(work: Callable[[Place], dict[str, Any]], place: Place) -> dict[str, Any]:
    """What a pass gave, with its wall time."""
    begun = time.monotonic()
    found = work(place)
    return {"seconds": round(time.monotonic() - begun, 1), **found}


def through_library(place: Place) -> dict[str, Any]:
    """The line in this process: build, check, inspect; two baselines trained, resumed, sampled, scored, published."""
    from avbench.curate.build import Build
    from avbench.curate.verify import verify
    from avbench.inspection.page import write_page
    from avbench.workspace import STAGES

    data = place.round / "data"
    build = Build.open(str(place.out / "mine.csv"), out=data, recipe=str(place.out / "recipe.toml"))
    with build.lock():
        for stage in STAGES:
            if failed := build.stage(stage, 2).failed:
                raise SystemExit(f"{stage}: {failed}")
    if findings := verify(data, workers=2).findings:
        raise SystemExit(f"verify: {findings[:3]}")
    write_page([str(data)], examples=2, workers=2)
    _baseline(place, "autoencoder", "tiny", "codec", steps=(4,), is_scored=False)
    for name, preset in (("mmdiffusion", "tiny"), ("avdit", str(place.out / "avdit.toml"))):
        _baseline(place, name, preset, name, steps=STEPS, is_scored=True)
    return {"results": results(place)}


def _baseline(place: Place, name: str, preset: str, folder: str, *, steps: tuple[int, ...], is_scored: bool) -> None:
    from avbench.runs import Run

    solver = {"steps": SOLVER_STEPS} if is_scored else {}
    for count in steps:
        run = Run.open(
            name, preset, dataset=str(place.round / "data"), out=place.round / folder, steps=count, n=SAMPLES,
            sampling=solver,
        )  # fmt: skip
        run.train()
    if is_scored:
        run.sample()
        run.publish(run.score(2), place.round / "board")


def through_commands(place: Place) -> dict[str, Any]:
    """The same by the commands, mmdiffusion alone; each must end with code 0."""
    data, run, board = place.round / "data", place.round / "mmdiffusion", place.round / "board"
    recipe = ("--recipe", place.out / "recipe.toml")
    commands = {
        "build-dataset": ("build-dataset", place.out / "mine.csv", "--out", data, "--workers", 2, *recipe),
        "verify": ("verify", data, "--workers", 2),
        "inspect": ("inspect", data, "--examples", 2, "--workers", 2),
        "train": ("train", "mmdiffusion", "--dataset", data, "--out", run, "--steps", STEPS[0]),
        "resume": ("train", "mmdiffusion", "--dataset", data, "--out", run, "--steps", STEPS[1]),
        "sample": ("sample", "mmdiffusion", "--out", run, "--n", SAMPLES, "--steps", SOLVER_STEPS),
        "score": ("score", run / "samples", "--workers", 2, "--leaderboard", board),
        "leaderboard": ("leaderboard", "build", board),
    }
    seconds = {}
    for name, words in commands.items():
        begun = time.monotonic()
        log = place.out / "command.log"
        with open(log, "wb") as stream:
            command = [sys.executable, "-m", "avbench", *map(str, words)]
            done = subprocess.run(command, stdout=stream, stderr=stream, cwd=place.round, check=False)
        if done.returncode:
            raise SystemExit(f"{name} ended with code {done.returncode}: {log.read_text()[-2000:]}")
        seconds[name] = round(time.monotonic() - begun, 1)
    return {"results": results(place), "command_seconds": seconds}


def results(place: Place) -> dict[str, str]:
    """Digests of what must be the same in every round: shards, weights, samples, scores."""
    found = {}
    data = place.round / "data" / "shards"
    found["dataset"] = json.loads((data / "DATASET.json").read_text())["dataset_sha256"]
    for run in sorted(place.round.glob("*/checkpoints")):
        name = run.parent.name
        found[f"{name} weights"] = _digest(sorted(run.glob("*/model.safetensors"))[-1:])
        if samples := sorted((run.parent / "samples").glob("*.npz")):
            found[f"{name} samples"] = _digest(samples)
        for record in (path for path in run.parent.rglob("result.json") if path.parent.name in (name, "samples")):
            values = {each["metric"]: each["value"] for each in json.loads(record.read_text())["scores"]}
            found[f"{name} scores"] = " ".join(f"{m}={v!r}" for m, v in values.items() if v is not None)
    return found


def _digest(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
