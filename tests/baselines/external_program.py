"""A program in the place of somebody else's model: a script in a git checkout of its own that behaves as a prompt says.

It copies a clip that was made before, so that a call costs no more than the start of a Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from avbench import recipe as recipes
from avbench.baselines._untrained import Prompts
from avbench.recipe_baseline import BaselineRecipe

SCRIPT = """
import csv, json, os, pathlib, shutil, signal, subprocess, sys, time

options = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
here, out = pathlib.Path(__file__).parent, pathlib.Path(options["out"])
with open(pathlib.Path(options["told"]) / "calls.jsonl", "a") as told:
    files = {p.name: p.read_text() for p in out.parent.iterdir() if p.is_file() and p.name != "process.json"}
    told.write(json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "files": files}) + "\\n")
if "table" in options:
    with open(options["table"], newline="") as stream:
        prompts = [row["text"] for row in csv.DictReader(stream)]
else:
    prompts = [options.get("prompt", "good")]

def child(told):
    code = "import time, pathlib; pathlib.Path(%r).write_text('up'); time.sleep(600)" % str(told)
    return subprocess.Popen([sys.executable, "-c", code])

for row, prompt in enumerate(prompts):
    print("prompt:", prompt, flush=True)
    way, clip = prompt.split()[0] if prompt.split() else "good", out / ("clip_%04d.mp4" % row)
    told = pathlib.Path(options["told"])
    if way == "crash":
        sys.exit("out of memory: " + str(7))
    elif way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way in ("hang", "stubborn"):
        if way == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process = child(told / "child-is-up")
        (told / "pids.json").write_text(json.dumps([os.getpid(), process.pid]))
        time.sleep(600)
    elif way == "leaves":
        process = child(told / "child-is-up")
        while not (told / "child-is-up").exists():
            time.sleep(0.01)
        (told / "pids.json").write_text(json.dumps([process.pid]))
        shutil.copy(here / "good.mp4", clip)
    elif way == "nothing":
        (out / "notes.txt").write_text("no clip")
    elif way == "two":
        shutil.copy(here / "good.mp4", clip)
        shutil.copy(here / "good.mp4", out / "clip_0000x.mp4")
    elif way == "cut":
        clip.write_bytes((here / "good.mp4").read_bytes()[:-900])
    elif way in ("silent", "short", "small", "slow"):
        shutil.copy(here / (way + ".mp4"), clip)
    elif way == "link":
        clip.symlink_to(here / "good.mp4")
    elif way == "inside":
        shutil.copy(here / "good.mp4", out / "real.bin")
        clip.symlink_to("real.bin")
    elif way == "loop":
        clip.symlink_to(clip)
    else:
        shutil.copy(here / "good.mp4", clip)
"""

FRAMES, FPS, SIZE = 16, 10.0, 32


def write_checkout(folder: Path) -> str:
    """Put the script and its clips into a git checkout; its commit."""
    from avbench import media
    from tests.clips import RATE, clip

    folder.mkdir()
    (folder / "make.py").write_text(SCRIPT)
    made = {
        "good": clip(1, frames=FRAMES, size=SIZE, fps=FPS),
        "short": clip(1, frames=FRAMES - 5, size=SIZE, fps=FPS),
        "small": clip(1, frames=FRAMES, size=SIZE // 2, fps=FPS),
    }
    for name, (video, audio) in made.items():
        media.encode(folder / f"{name}.mp4", video, FPS, audio, RATE)
    video, audio = made["good"]
    media.encode(folder / "silent.mp4", video, FPS, None, RATE)
    media.encode(folder / "slow.mp4", video, FPS / 2, audio, RATE)
    git(folder, "init", "-q")
    return commit(folder)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a checkout, whoever's machine it is."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    """Commit everything; the commit."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a version")
    return git(folder, "rev-parse", "HEAD")


def recipe(checkout: Path, told: Path, at: str, *, n: int = 1, **program: Any) -> BaselineRecipe:
    """A recipe that runs the script; ``told`` is where it says what it was told."""
    data = {
        "baseline": "external",
        "preset": "toy",
        "protocol": "demo-v1",
        "sample": {"n": n},
        "external": {
            "licences": [{"what": "code", "terms": "MIT"}],
            "expected": {"frames": FRAMES, "fps": FPS, "width": SIZE, "height": SIZE, "seconds": FRAMES / FPS},
            "program": {
                "repository": "https://example.org/toy",
                "commit": at,
                "argv": ["{python}", "make.py", "--prompt={prompt}", "--seed={seed}", "--out={out}", "--told={told}"],
                "output": "clip_0000*.mp4",
                "timeout_s": 60,
                "places": {
                    "checkout": {"about": "the toy", "path": str(checkout)},
                    "python": {"about": "a Python", "path": sys.executable},
                    "told": {"about": "a folder", "path": str(told)},
                },
                **program,
            },
        },
    }
    return recipes.parse(data, BaselineRecipe, "recipe")


def batch(**more: Any) -> dict[str, Any]:
    """What of a recipe's program differs where a call makes three clips from a table."""
    return {
        "argv": ["{python}", "make.py", "--table={prompt_file}", "--seed={seed}", "--out={out}", "--told={told}"],
        "prompts_per_call": 3,
        "prompt_column": "text",
        "output": "clip_{row:04}.mp4",
        **more,
    }


def texts(*prompts: str) -> Prompts:
    """A list of prompts."""
    return Prompts("list", recipes.sha256({"prompts": list(prompts)}), prompts)


def calls(told: Path) -> list[dict[str, Any]]:
    """What the program was told, call after call."""
    path = told / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def options(call: dict[str, Any]) -> dict[str, str]:
    """The options of a call."""
    return dict(word.lstrip("-").split("=", 1) for word in call["argv"][1:])
