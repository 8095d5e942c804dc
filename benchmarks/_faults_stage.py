"""The commands that faults are tried on, the small world they work in, and what of it must be the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.workspace import TEMPORARY, file_sha256
from tests import small_set
from tests.curate.hub_store import HubStore

SOURCES = 4
SAMPLES = 8
_VOLATILE = {"created_at", "seconds", "wait_seconds", "command", "environment", "commit", "samples.json"}
"""What of a record or a log may differ between two runs of the same thing; the last is a digest of what holds times."""


@dataclass(frozen=True)
class Command:
    """One command of avbench.

    Attributes:
        name: Of its row.
        words: Its arguments; ``{work}`` and ``{hub}`` stand for places.
        needs: Folders of the prepared world that it works on.
        input: What of these is taken away to see it vanish, or empty.
        results: Patterns below the work folder of what it must leave, always with the same content.
    """

    name: str
    words: str
    needs: tuple[str, ...]
    input: str
    results: tuple[str, ...]

    def arguments(self, work: Path, hub: str) -> list[str]:
        """The words of its command line."""
        return [word.format(work=work, hub=hub) for word in self.words.split()]


_RUN = ("checkpoints/*/*.safetensors", "log.jsonl", "recipe.json")
_SAMPLED = ("samples*/sample-*", "samples*/samples.json")
_SCORED = ("result.json", "features.safetensors", "per_clip.parquet")


def _in(folder: str, *patterns: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{pattern}" for pattern in patterns)


COMMANDS = (
    Command(
        "build-dataset",
        "build-dataset {work}/world/mine.csv --recipe {work}/world/recipe.toml --out {work}/built --workers 2",
        (),
        "world/mine",
        ("built/shards/*", "built/splits.json"),
    ),
    Command(
        "inspect", "inspect {work}/data --workers 2 --examples 2", ("data",), "data/shards", ("data/inspect/**/*",)
    ),
    Command(
        "takedown",
        "takedown {work}/data s1 --reason asked --date 2026-01-02",
        ("data",),
        "",
        ("data/shards/*", "data/splits.json"),
    ),
    Command(
        "publish", "publish {work}/data --repo me/data --endpoint {hub} --allow-licence CC0-1.0", ("data",), "", ()
    ),
    Command(
        "train",
        "train mmdiffusion --preset {work}/world/mmdiffusion.toml --dataset {work}/data --out {work}/run",
        ("data",),
        "data/shards",
        _in("run", *_RUN),
    ),
    Command(
        "encode and train",
        "train avdit --preset {work}/world/avdit.toml --dataset {work}/data --out {work}/latent --steps 2",
        ("data", "codec"),
        "data/shards",
        (*_in("latent", *_RUN), "data/latents/*/*"),
    ),
    Command(
        "sample",
        "sample mmdiffusion --out {work}/trained",
        ("trained",),
        "trained/checkpoints",
        _in("trained", *_SAMPLED),
    ),
    Command(
        "score",
        "score {work}/sampled/samples --workers 2 --reference {work}/data",
        ("sampled", "data"),
        "sampled/samples/sample-00005.npz",
        _in("sampled/samples", *_SCORED),
    ),
    Command(
        "run-baseline",
        "run-baseline mmdiffusion --preset {work}/world/mmdiffusion.toml --dataset {work}/data --out {work}/run "
        "--workers 1 --leaderboard {work}/board",
        ("data",),
        "data/shards",
        (*_in("run", *_RUN, *_SAMPLED, *_SCORED), "board/results/**/*.json"),
    ),
    Command(
        "leaderboard build",
        "leaderboard build {work}/board",
        ("board",),
        "board/results",
        ("board/*.html", "board/*.md", "board/runs/*.html"),
    ),
    Command(
        "study create",
        "study create --a {work}/sampled/samples --b {work}/other/samples --out {work}/study --trials 4",
        ("sampled", "other"),
        "sampled/samples/sample-00005.mp4",
        _in("study", "STUDY.json", "clips/*"),
    ),
    Command(
        "sweep",
        "run-baseline avdit --preset {work}/world/avdit.toml --dataset {work}/data --out {work}/sweep --workers 1 "
        "--sweep strategies --steps 1",
        ("data", "codec"),
        "data/shards",
        (*_in("sweep/*", "checkpoints/*/*.safetensors", *_SAMPLED), "sweep/sweep.csv"),
    ),
)  # fmt: skip


class World:
    """Everything the commands work on, made once for a folder; `fresh` gives a copy of what one of them needs.

    Args:
        out: Folder; the world lies in ``base``, the copies always in ``work``, since results hold paths.
    """

    def __init__(self, out: Path) -> None:
        self.base, self.work = out / "base", out / "work"
        self.hub = HubStore()
        for folder in (self.base, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def served(self) -> Iterator[World]:
        """The world with its hub."""
        with self.hub:
            yield self

    def prepare(self, run: Callable[[list[str]], None], names: set[str]) -> None:
        """Make, in ``work``, what the commands of these names need, and keep it in ``base``; what is there is kept.

        Args:
            run: Runs a command, which must succeed.
            names: Of `COMMANDS`.
        """
        if not (self.base / "world").is_dir():
            self._write_inputs(self.work / "world")
            self._keep()
        wanted = {need for command in COMMANDS if command.name in names for need in command.needs}
        there = {path.name for path in self.base.glob("[!.]*")}
        if not (missing := wanted - there):
            return
        self._fill(there)
        at, data = str(self.work), str(self.work / "data")
        if "data" not in there:
            run([word.replace("{work}/built", data).format(work=at) for word in COMMANDS[0].words.split()])
        how = ["mmdiffusion", "--preset", f"{at}/world/mmdiffusion.toml", "--dataset", data]
        if "codec" in missing:
            run(["train", "autoencoder", "--preset", "tiny", "--dataset", data, "--out", f"{at}/codec", "--steps", "2"])
        if "trained" in missing:
            run(["train", *how, "--out", f"{at}/trained"])
        if missing & {"sampled", "other", "board"} and "sampled" not in there:
            run(["train", *how, "--out", f"{at}/sampled"])
            run(["sample", "mmdiffusion", "--out", f"{at}/sampled"])
        if "other" in missing:
            shutil.copytree(self.work / "sampled", self.work / "other")
        if "board" in missing:
            run(["score", f"{at}/sampled/samples", "--workers", "1", "--leaderboard", f"{at}/board"])
            for name in ("result.json", "report.html", "features.safetensors", "per_clip.parquet"):
                (self.work / "sampled" / "samples" / name).unlink()
        self._keep()

    def _write_inputs(self, world: Path) -> None:
        """Sources, their list and recipes: what a user brings."""
        (world / "mine").mkdir(parents=True)
        from avbench.recipe import project_root

        rows = [f"s{k},{small_set.source(k)},CC0-1.0" for k in range(SOURCES - 1)]
        small_set.render(world / "mine" / "own.mp4", 90)
        rows.append(f"own,{world}/mine/own.mp4,CC0-1.0")
        (world / "mine.csv").write_text("id,url,licence\n" + "\n".join(rows) + "\n")
        (world / "recipe.toml").write_text(small_set.RECIPE)
        shipped = project_root() / "recipes" / "baselines"
        few = {"n = 48": f"n = {SAMPLES}", "steps = 20\n": "steps = 3\n"}
        for name, changes in {
            "mmdiffusion": {"steps = 400": "steps = 4", "checkpoint_every = 100": "checkpoint_every = 1"},
            "avdit": {"checkpoint_every = 250": "checkpoint_every = 1", "runs/autoencoder-tiny": f"{self.work}/codec"},
        }.items():
            text = (shipped / f"{name}-tiny.toml").read_text()
            for old, new in {**few, **changes}.items():
                assert old in text, old
                text = text.replace(old, new)
            (world / f"{name}.toml").write_text(text)

    def _keep(self) -> None:
        """Copy from ``work`` to ``base`` what is not there yet."""
        for path in self.work.iterdir():
            if not (self.base / path.name).exists():
                half = self.base / f"{TEMPORARY}{path.name}"
                shutil.rmtree(half, ignore_errors=True)
                shutil.copytree(path, half)
                half.rename(self.base / path.name)

    def _fill(self, names: Iterable[str]) -> None:
        """Empty ``work`` and copy folders of ``base`` into it."""
        for path in self.work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in names:
            shutil.copytree(self.base / name, self.work / name)

    def fresh(self, command: Command) -> None:
        """Empty ``work`` and copy into it what the command needs."""
        self._fill(("world", *command.needs))
        self.hub.repos.clear()
        self.hub.objects.clear()

    def results(self, command: Command) -> dict[str, str]:
        """Digest of each thing that the command must leave, whatever happened to it on the way."""
        found = {}
        for path in sorted({path for pattern in command.results for path in self.work.glob(pattern)}):
            if path.is_file() and not path.name.startswith("."):
                name = str(path.relative_to(self.work))
                if name.startswith("board/results/"):  # the name of a record holds a digest of its times
                    name = f"board/results/{sum(other.startswith('board/results/') for other in found)}"
                found[name] = digest(path)
        if command.name == "publish":
            found |= {
                f"{repo}/{name}": hashlib.sha256(content).hexdigest()
                for repo, files in self.hub.repos.items()
                for name, content in files.items()
            }
        return found

    def half_written(self) -> list[str]:
        """Files and folders that are there under a temporary name."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob(".tmp-*"))


def digest(path: Path) -> str:
    """sha256 of a file; of JSON without what differs between two runs of the same thing.

    Sources stand in ``splits.json`` in the order they came: one that was away joins those that have their split.
    """
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return hashlib.sha256(json.dumps(_steady(rows), sort_keys=True).encode()).hexdigest()
    if path.suffix == ".json" and path.name != "DATASET.json":
        found = _steady(json.loads(path.read_text()))
        if path.name == "splits.json":
            found["sources"].sort(key=lambda place: place["source_id"])
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return file_sha256(path)


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(inner) for name, inner in value.items() if name not in _VOLATILE}
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def tree_bytes(folder: Path) -> int:
    """Bytes that a folder takes, in whole pages of a memory disk."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(-(-path.lstat().st_size // page) * page for path in folder.rglob("*"))
