"""A program in the place of somebody else's model: a square in the prompt's colour jumps, and every jump is heard.

It shows what avbench asks of a program: it is told prompt, seed and place of the clip, and writes one film with sound.
    python recipes/programs/toy.py --prompt=TEXT --seed=0 --out=FILE.mp4
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from avbench import media

FRAMES, FPS, SIZE, RATE_HZ = 16, 10, 64, 16000


def main() -> None:
    """Make one clip."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    colour = np.frombuffer(hashlib.sha256(options.prompt.encode()).digest()[:3], np.uint8) // 2 + 128
    draw = np.random.default_rng(options.seed)
    pictures = np.full((FRAMES, SIZE, SIZE, 3), 40, np.uint8)
    sound = (0.002 * draw.standard_normal(FRAMES * RATE_HZ // FPS)).astype(np.float32)
    click = 0.6 * np.exp(-np.arange(RATE_HZ // FPS) / 200) * np.sin(np.arange(RATE_HZ // FPS) * 0.4)
    row, column = draw.integers(0, SIZE - 20, 2)
    for frame in range(FRAMES):
        if frame and draw.random() < 0.3:
            row, column = draw.integers(0, SIZE - 20, 2)
            at = frame * RATE_HZ // FPS
            sound[at : at + len(click)] += click[: len(sound) - at].astype(np.float32)
        pictures[frame, row : row + 20, column : column + 20] = colour
    sys.stderr.write(f"{options.prompt}: {FRAMES} frames\n")
    media.encode(options.out, pictures, FPS, sound[None], RATE_HZ)


if __name__ == "__main__":
    main()
