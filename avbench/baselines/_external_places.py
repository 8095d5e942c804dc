"""Where an external program finds its checkout, its interpreter and its weights, and what of it is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from avbench.hub_weights import HubModel
from avbench.recipe import project_root
from avbench.recipe_external import PLACEHOLDER, THIS, Pipeline, Place, Program

CHECKOUT = "checkout"
"""The place in which a program runs, and whose commit is checked."""

_GIT_S = 60.0


def variable(preset: str, place: str) -> str:
    """Environment variable that says where a place is: ``AVBENCH_JAVISDIT_PLUS_CHECKOUT``."""
    return "_".join(["AVBENCH", *(re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_") for text in (preset, place))])


def found_places(program: Program, preset: str) -> dict[str, Path]:
    """Every place that somebody has named, whether or not anything is there; absolute."""
    return {name: path for name, place in program.places.items() if (path := _path(preset, name, place)) is not None}


def _path(preset: str, name: str, place: Place) -> Path | None:
    told = os.environ.get(variable(preset, name)) or place.path
    if told == THIS:
        return project_root() if name == CHECKOUT else Path(sys.executable)
    # not resolved: the python of a virtual environment is a link, and only under its own name it is that environment
    return Path(os.path.abspath(Path(told).expanduser())) if told else None


def complaints(program: Program, preset: str) -> list[str]:
    """What is missing on this machine before the program can run, a sentence each."""
    found, bad = found_places(program, preset), []
    for name, place in program.places.items():
        hint = f"set {variable(preset, name)}, or places.{name}.path in a recipe of your own"
        if name not in found:
            bad.append(f"{name}: nobody has said where it is ({place.about}); {hint}")
        elif not found[name].exists():
            bad.append(f"{name}: there is no {found[name]} ({place.about}); {hint}")
    first, path = program.argv[0], environment(program, found).get("PATH", os.defpath)
    if not PLACEHOLDER.search(first) and not shutil.which(first, path=path):
        bad.append(f"{first}: there is no such program to be started")
    for text in program.needs:
        if all(name in found for name in PLACEHOLDER.findall(text)):
            filled = PLACEHOLDER.sub(lambda hit: str(found[hit[1]]), text)
            if not Path(filled).exists():
                bad.append(f"there is no {filled}, which it reads")
    checkout = found.get(CHECKOUT)
    if checkout is not None and checkout.is_dir() and program.commit:
        bad += _wrong_commit(checkout, program)
    return bad


def _wrong_commit(checkout: Path, program: Program) -> list[str]:
    """Why the checkout is not the pinned code; none when it is."""
    at = _git(checkout, "rev-parse", "HEAD")
    if at is None:
        return [f"{checkout}: is not a checkout that git can read; clone {program.repository} there"]
    if at != program.commit:
        return [
            f"{checkout}: is at commit {at[:12]}, the recipe is for {program.commit[:12]}; "
            f"run `git -C {checkout} checkout {program.commit}`"
        ]
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    if changed:
        first = changed.splitlines()[0][2:].strip()
        return [f"{checkout}: {first} differs from the commit; set it back with git, or pin a commit of your own"]
    return []


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails. A checkout's configuration may name programs; none of them is run."""
    harmless = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *harmless, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_S,
            check=False,
            env=clean,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def environment(program: Program, places: dict[str, Path]) -> dict[str, str]:
    """The environment of the program: what is passed on, what is set, and its own interpreter's programs first."""
    chosen = {name: os.environ[name] for name in program.variables if name in os.environ}
    if "python" in places:
        chosen["PATH"] = os.pathsep.join([str(places["python"].parent), *filter(None, [chosen.get("PATH")])])
    return {**chosen, **program.settings}


def weights_folder(pipeline: Pipeline, preset: str) -> Path | None:
    """The user's own folder with a pipeline's weights, or None where the hub's are meant."""
    told = os.environ.get(variable(preset, "weights")) or pipeline.weights
    return Path(told).expanduser() if told else None


def hub_model(pipeline: Pipeline, licence: str) -> HubModel:
    """The pipeline's weights on the hub. Conditions of their licence are asked for before, by the recipe's list."""
    return HubModel(pipeline.repo, pipeline.revision, licence, False, pipeline.files, pipeline.gated)
