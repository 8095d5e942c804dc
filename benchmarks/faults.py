"""Every long command, and everything that can happen to it: killed, stopped, no disk, no input, twice, a mad clock.

    python -m benchmarks.faults --out FOLDER --seed 0
    python -m benchmarks.faults --out FOLDER --only 'train/kill -9, all' --only 'score/*' --rounds 1

Each command is run once undisturbed. Then, for each fault, in a fresh copy of the same world: the fault at a moment
drawn within each third of the time the command took; after it the same command again. What is wrong is: an end that
tells a user nothing (a traceback, another code than 2, 130 or 143), other bytes than undisturbed (times aside),
half-written files or processes that are left. ``FOLDER/faults.json`` and ``faults.md`` grow with each cell; the same
command goes on with those that are not there yet. All of it takes about an hour of one core.

Commands are forked from this process, which has imported everything: a cell costs two commands, not two starts of
Python. Full and read-only disks are disks of memory and need root; cells that cannot be made say so.
"""

from __future__ import annotations

import argparse
import codecs
import fnmatch
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from avbench.workspace import read_json, write_json
from benchmarks import _faults_run as runs, _soak_watch
from benchmarks._faults_stage import COMMANDS, Command, World, tree_bytes


@dataclass(frozen=True)
class Cell:
    """What happened to a command under a fault.

    Attributes:
        command: Name of the command.
        fault: Name of the fault.
        moment_s: When it happened, seconds from the start of the command.
        codes: Exit codes, of the second process first where there are two.
        said: The last line of the first.
        wrong: What is wrong, or empty.
        skipped: Why it was not tried, or empty.
    """

    command: str
    fault: str
    moment_s: float = 0.0
    codes: tuple[int, ...] = ()
    said: str = ""
    wrong: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Undisturbed:
    """A command to which nothing happened.

    Attributes:
        seconds: How long it took.
        grown_bytes: How much it wrote.
        results: Digest of each thing it left.
    """

    seconds: float
    grown_bytes: int
    results: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the world and the results; a temporary one when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3, help="times that each cell is tried; 3 when not given")
    parser.add_argument("--only", action="append", metavar="COMMAND/FAULT", help="cells to try, * allowed; repeat it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avbench-faults-") as scratch:
        Path(scratch).chmod(0o755)  # another user is to be refused where the command works, not on the way there
        out = (options.out or Path(scratch)).absolute()
        cells = matrix(out, options.only or ["*"], options.rounds, options.seed)
    print(markdown(cells))
    sys.exit(any(cell.wrong for cell in cells))


def matrix(out: Path, only: Sequence[str], rounds: int, seed: int) -> list[Cell]:
    """All cells that are asked for."""
    wanted: dict[str, list[str]] = {}
    for name, fault in product((command.name for command in COMMANDS), runs.FAULTS):
        if any(fnmatch.fnmatch(f"{name}/{fault}", pattern) for pattern in only):
            wanted.setdefault(name, []).append(fault)
    world, cells = World(out), _tried(out)
    _be_ready(out)
    can_mount = os.geteuid() == 0 and runs.may_mount(out / "mount")
    with world.served():
        world.prepare(lambda words: _must(words, out), set(wanted))
        for command in COMMANDS:
            left = {fault: _tries(cells, command.name, fault, rounds) for fault in wanted.get(command.name, [])}
            for cell in column(world, command, left, rounds, seed, can_mount):
                cells.append(cell)
                write_json(out / "faults.json", [asdict(each) for each in cells])
                (out / "faults.md").write_text(markdown(cells) + "\n")
                verdict = cell.skipped or cell.wrong or "as it should be"
                print(f"{cell.command} / {cell.fault} at {cell.moment_s:.2f} s: {cell.codes} {verdict}", flush=True)
    return cells


def _tried(out: Path) -> list[Cell]:
    """Cells that an earlier run tried in this folder."""
    path = out / "faults.json"
    found = read_json(path) if path.is_file() else []
    return [Cell(**{**cell, "codes": tuple(cell["codes"])}) for cell in found]


def _tries(cells: Sequence[Cell], command: str, fault: str, rounds: int) -> range:
    """Numbers of the tries that are left."""
    here = [cell for cell in cells if (cell.command, cell.fault) == (command, fault)]
    return range(rounds if any(cell.skipped for cell in here) else len(here), rounds)


def column(
    world: World, command: Command, left: Mapping[str, range], rounds: int, seed: int, can_mount: bool
) -> Iterator[Cell]:
    """The cells of one command.

    Args:
        world: Where.
        command: Which.
        left: Fault to the numbers of its tries that are left.
        rounds: Tries in all.
        seed: Of the moments.
        can_mount: Disks can be made.
    """
    if not any(left.values()):
        return
    whole = undisturbed(world, command)
    for fault, numbers in left.items():
        for number in numbers:
            rng = random.Random(f"{seed}/{command.name}/{fault}/{number}")
            if fault in runs.AS_ROOT and not can_mount:
                yield Cell(command.name, fault, skipped="needs root, with leave to mount")
                break
            if fault == "input vanishes" and not command.input:
                yield Cell(command.name, fault, skipped="reads nothing while it works")
                break
            world.fresh(command)
            moment_s = (number + rng.uniform(0.02, 1.0)) / rounds * whole.seconds
            yield one(runs.Scene(world, command, moment_s, whole.grown_bytes, rng), fault, whole.results)


def undisturbed(world: World, command: Command) -> Undisturbed:
    """Run a command to which nothing happens, or take what an earlier run found."""
    path = world.base.parent / "undisturbed.json"
    known = read_json(path) if path.is_file() else {}
    if command.name not in known:
        world.fresh(command)
        before = tree_bytes(world.work)
        ended = runs.Scene(world, command, 0.0, 0, random.Random(0)).again()
        if ended.code:
            raise SystemExit(f"{command.name} ended with code {ended.code} though nothing happened to it: {ended.said}")
        if not (results := world.results(command)):
            raise SystemExit(f"{command.name} leaves nothing to compare")
        found = Undisturbed(ended.seconds, tree_bytes(world.work) - before, results)
        known[command.name] = asdict(found)
        write_json(path, known)
    return Undisturbed(**known[command.name])


def one(scene: runs.Scene, fault: str, want: dict[str, str]) -> Cell:
    """One cell: the fault, what it left running, the same command again, and what came of it."""
    found, wrong = runs.FAULTS[fault](scene)
    faults = [wrong] if wrong else []
    if running := runs.left_running():
        faults.append(f"left running: {running[:2]}")
    again = scene.again()
    if again.code:
        faults.append(f"the same command again: code {again.code}, {again.last}")
    if (got := scene.world.results(scene.command)) != want:
        names = sorted({name for name, _ in got.items() ^ want.items()})
        faults.append(f"other content: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}")
    if half := scene.world.half_written():
        faults.append(f"half-written: {half[:3]}")
    codes = tuple(ended.code for ended in found)
    return Cell(scene.command.name, fault, round(scene.moment_s, 2), codes, found[0].last[:300], "; ".join(faults))


def markdown(cells: Sequence[Cell]) -> str:
    """Commands down, faults across: in how many of the tries everything was as it should be."""
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    lines = [f"| command | {' | '.join(faults)} |", "|---" * (1 + len(faults)) + "|"]
    for name in dict.fromkeys(cell.command for cell in cells):
        row = []
        for fault in faults:
            here = [cell for cell in cells if (cell.command, cell.fault) == (name, fault)]
            tried = [cell for cell in here if not cell.skipped]
            row.append(f"{sum(not cell.wrong for cell in tried)} of {len(tried)}" if tried else "-")
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join(lines)


def _be_ready(out: Path) -> None:
    """Import what the commands import, and give them folders of their own for all they write elsewhere."""
    os.environ[_soak_watch.MARK] = f"faults-{os.getpid()}"
    for name, folder in (("TMPDIR", "tmp"), ("HOME", "home")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder).chmod(0o777)
        os.environ[name] = str(out / folder)
    os.environ |= {
        "AVBENCH_CACHE": str(out / "work" / "cache"),
        "AVBENCH_WEIGHTS": str(out / "home" / "weights"),
        "HF_TOKEN": "good",
        "HF_HUB_DISABLE_XET": "1",  # the hub of the tests keeps large files as it was done before
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    import torch

    import avbench.baselines.avdit
    import avbench.baselines.mmdiffusion
    import avbench.curate.build
    import avbench.curate.publish
    import avbench.curate.takedown
    import avbench.inspection.page
    import avbench.runs
    import avbench.scored
    import avbench.study.create  # noqa: F401
    from avbench import sweep

    # the other rows and columns of a sweep are made as these are
    sweep.STRATEGIES = dict(list(sweep.STRATEGIES.items())[:2])
    sweep.TASKS = ("joint", "v2a")
    torch.set_num_threads(1)
    codecs.lookup("utf-8-sig")  # what is loaded late another user may not read


def _must(words: list[str], out: Path) -> None:
    ended = runs.Process(words, out / "prepare.log").end()
    if ended.code:
        raise SystemExit(f"avbench {' '.join(words)} ended with code {ended.code}: {ended.said}")


if __name__ == "__main__":
    main()
