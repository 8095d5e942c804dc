"""A checkout that looks like MMAudio's from outside: the same program, options and output, and a tone as sound.

What the prompt says, the program does: ``CRASH``, ``NOTHING``, ``HANG``, ``SHORT``, ``LONG``, ``DAMAGED``. Every call
adds its arguments to ``calls.jsonl``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

DEMO = """
import argparse, json, os, subprocess, sys, time
from pathlib import Path

import av
import numpy as np
import soundfile

parser = argparse.ArgumentParser()
parser.add_argument("--variant", default="large_44k_v2")
parser.add_argument("--video", type=Path)
parser.add_argument("--prompt", default="")
parser.add_argument("--negative_prompt", default="")
parser.add_argument("--duration", type=float, default=8.0)
parser.add_argument("--cfg_strength", type=float, default=4.5)
parser.add_argument("--num_steps", type=int, default=25)
parser.add_argument("--mask_away_clip", action="store_true")
parser.add_argument("--output", type=Path, default="./output")
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--skip_video_composite", action="store_true")
parser.add_argument("--full_precision", action="store_true")
args = parser.parse_args()
with av.open(str(args.video)) as film:
    times = [float(frame.time) for frame in film.decode(video=0)]
call = {key: str(value) for key, value in vars(args).items()}
call |= {"frames": len(times), "environment": dict(os.environ)}
with open("calls.jsonl", "a") as log:
    log.write(json.dumps(call) + "\\n")
if "CRASH" in args.prompt:
    sys.exit("CUDA out of memory")
if "HANG" in args.prompt:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("child.pid").write_text(str(child.pid))
    time.sleep(600)
# pictures are taken 25 times a second, and sound is made in pieces of 1024 samples, as MMAudio does
seconds = min(args.duration, (int(times[-1] * 25 + 1e-6) + 1) / 25)
seconds *= {"SHORT": 0.5, "LONG": 2.0}.get(args.prompt.split()[0], 1.0)
count = -(-round(seconds * 44100) // 1024) * 1024
tone = 0.5 * np.sin(2 * np.pi * (200 + args.seed % 1000) * np.arange(count) / 44100)
args.output.mkdir(parents=True, exist_ok=True)
path = args.output / f"{args.video.stem}.flac"
if "DAMAGED" in args.prompt:
    path.write_bytes(b"fLaC" + bytes(100))
elif "NOTHING" not in args.prompt:
    soundfile.write(path, tone, 44100)
print("Audio saved to", path)
"""


def checkout(folder: Path) -> str:
    """Make the checkout; its commit."""
    folder.mkdir(parents=True)
    (folder / "demo.py").write_text(DEMO)
    (folder / ".gitignore").write_text("calls.jsonl\nchild.pid\n")

    def git(*words: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "fake")
    return git("rev-parse", "HEAD")
