"""What the defects of two public evaluators do to scores of real clips: MM-Diffusion's and JavisBench's.

    python benchmarks/protocol_defects.py FOLDER_OF_CLIPS

The clips are cut into windows of 16 frames at 10 fps, 64 x 64. Files of even place stand for "generated", the others
for "reference": two sets that differ. Each score is computed on pictures as they are and as each evaluator changes
them.

Published weights are not needed. Where a network has to look, it has weights drawn from a seed: its distance is NOT FVD
and NOT an AudioCLIP distance, and only the relative change between two ways of feeding the same network is shown.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from avbench import features, levels, media, registry
from avbench.errors import MediaError
from avbench.metrics import frechet_distance, polynomial_mmd
from avbench.metrics._base import ClipSignals

FRAMES, FPS, SIZE, RATE_HZ = 16, 10, 64, 44100
LEVELS = ("plain", "mmdiffusion", "javisbench")
SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".ogv")


class Clip(NamedTuple):
    """A window: pictures uint8 (16, 64, 64, 3), sound float32 (channels, 70560), and the place of its file."""

    video: np.ndarray
    audio: np.ndarray
    file: int

    def signals(self, name: str, channel: str = "mean") -> ClipSignals:
        """The window with its grey levels changed and its sound as one channel."""
        sound = self.audio.mean(axis=0, keepdims=True) if channel == "mean" else self.audio[:1]
        return ClipSignals(levels.apply(self.video, name), FPS, sound, RATE_HZ)


def windows(folder: Path, most: int) -> list[Clip]:
    """At most ``most`` windows of each file with picture and sound, evenly spread over it."""
    found: list[Clip] = []
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    n_samples = FRAMES * RATE_HZ // FPS
    for place, path in enumerate(paths):
        try:
            sound = media.decode_audio(path, sample_rate_hz=RATE_HZ)
            video = media.decode_video(path, fps=FPS, size=(SIZE, SIZE), resize="torch-bicubic-plain")
        except MediaError as error:
            print(f"left out: {error}")
            continue
        count = min(len(video) // FRAMES, sound.shape[1] // n_samples)
        for k in np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)) if count else ():
            picture = video[k * FRAMES : (k + 1) * FRAMES]
            found.append(Clip(picture, sound[:, k * n_samples : (k + 1) * n_samples], place))
    return found


def seeded(name: str, **options: Any) -> features._base.Feature:
    """A feature network with weights drawn from the names of its tensors."""
    state: dict[str, torch.Tensor] = {}
    for key, tensor in registry.module("feature", name).Feature.architecture().state_dict().items():
        if key.startswith(("fbsp.", "window")):
            continue  # filters of a transform: the feature has those that training begins with
        if tensor.dtype == torch.int64:
            state[key] = torch.zeros_like(tensor)  # a counter
            continue
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
        x = np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(tensor.shape))
        if x.ndim >= 2:
            x = x * np.sqrt(2 / np.prod(x.shape[1:]))
        elif key.endswith("running_var"):
            x = 1 + 0.1 * np.abs(x)
        else:
            x = 0.1 * x + key.endswith("weight")
        state[key] = torch.from_numpy(np.asarray(x, np.float32))
    return features.load(name, weights=state, **options)


def embed(feature: features._base.Feature, clips: list[ClipSignals]) -> np.ndarray:
    """Rows of clips, eight to a batch."""
    parts = [features.embed_clips(feature, clips[k : k + 8]).values for k in range(0, len(clips), 8)]
    return np.concatenate(parts)


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def change(value: float, plain: float) -> str:
    """How much a value differs from the plain one."""
    return f"{(value / plain - 1) * 100:+.1f} %"


def grey_levels(clips: list[Clip]) -> None:
    """Share of the values that change, mean shift, contrast left."""
    video = np.stack([clip.video for clip in clips])
    rows = []
    for name in LEVELS[1:]:
        seen = levels.apply(video, name)
        changed = (seen != video).mean()
        shift = seen.mean(dtype=float) - video.mean(dtype=float)
        rows.append([name, f"{changed:.1%}", f"{shift:+.2f}", f"{seen.std(dtype=float) / video.std(dtype=float):.3f}"])
    table("Grey levels", ["levels", "values changed", "mean shift", "contrast left"], rows)


def weight_free(generated: list[Clip], reference: list[Clip]) -> None:
    """Flow-fd, AV-align and mel-fd through the level tables and through the left channel alone."""
    flow, mel, align = features.load("flow"), features.load("mel"), registry.module("metric", "av_align")
    rows = []
    first: list[float] = []
    for name, channel in [*((name, "mean") for name in LEVELS), ("plain", "first")]:
        a, b = ([clip.signals(name, channel) for clip in side] for side in (generated, reference))
        scores = [align.per_clip(clip) for clip in a + b]
        defined = [score for score in scores if score == score]
        values = [
            frechet_distance(embed(flow, a), embed(flow, b)),
            statistics.fmean(defined),
            frechet_distance(embed(mel, a), embed(mel, b)),
        ]
        first = first or values
        label = name if channel == "mean" else "plain, left channel"
        cells = [f"{value:.4g} ({change(value, plain)})" for value, plain in zip(values, first, strict=True)]
        rows.append([label, *cells, f"{len(defined)} of {len(scores)}"])
    table("No weights", ["input", "flow-fd", "AV-align, mean", "mel-fd", "AV-align defined on"], rows)


def i3d_logits(generated: list[Clip], reference: list[Clip]) -> dict[str, np.ndarray]:
    """Distances of the logits of a seeded I3D under each table; returns the plain logits of both sides."""
    network = seeded("i3d", resize="crop")
    rows = []
    plain: dict[str, np.ndarray] = {}
    first: list[float] = []
    for name in LEVELS:
        a, b = (embed(network, [clip.signals(name) for clip in side]) for side in (generated, reference))
        plain = plain or {"generated": a, "reference": b}
        values = [frechet_distance(a, b), polynomial_mmd(a, b)]
        first = first or values
        both = [f"{value:.5g} ({change(value, base)})" for value, base in zip(values, first, strict=True)]
        mixed = [frechet_distance(a, plain["generated"]) / first[0], frechet_distance(a, plain["reference"]) / first[0]]
        rows.append([name, *both, f"{mixed[0]:.3f}", f"{mixed[1]:.3f}"])
    head = ["levels of both sides", "Frechet", "kernel (x.y/d + 1)^3", "same clips, plain", "other set, plain"]
    table(
        "I3D with seeded random weights: NOT FVD. Last two columns in units of the plain Frechet distance", head, rows
    )
    return plain


def repeats(logits: dict[str, np.ndarray], n: int) -> None:
    """What repeating few clips until there are ``n`` does to the estimators."""
    generated, reference = logits["generated"], logits["reference"]
    half = np.arange(len(reference))
    floor = reference[half % 2 == 0], reference[half % 2 == 1]
    rows = []
    for label, (a, b) in {"two sets": (generated, reference), "halves of one set": floor}.items():
        again = [np.resize(side, (n, side.shape[1])) for side in (a, b)]
        for name, estimate in (("Frechet", frechet_distance), ("kernel", polynomial_mmd)):
            function: Callable[[np.ndarray, np.ndarray], float] = estimate
            once, many = function(a, b), function(*again)
            rows.append([label, name, f"{len(a)}, {len(b)}", f"{once:.5g}", f"{many:.5g}", f"{many - once:+.3g}"])
    head = ["sets", "estimator", "distinct", "as they are", f"repeated to {n}", "difference"]
    table("Repeats to reach N (same seeded I3D, NOT FVD)", head, rows)


def audioclip(generated: list[Clip], reference: list[Clip], orders: int) -> None:
    """AudioCLIP's audio tower with seeded weights: what it is fed, and what batch norm in training mode makes of order.

    So that evaluation mode means something, the running statistics are those of all clips here at the right scale.
    """
    weights = settled([clip.signals("plain") for clip in generated + reference])
    rows = []
    first = 0.0
    for label, options, channel in (
        ("eval, int16 scale", {"mode": "eval", "scale": "int16"}, "mean"),
        ("eval, 90 dB too quiet", {"mode": "eval", "scale": "float"}, "mean"),
        ("train, 90 dB too quiet, left channel", {"mode": "train", "scale": "float"}, "first"),
    ):
        network = features.load("audioclip", weights=weights, **options)
        values = []
        for seed in range(orders):
            sides = []
            for side in (generated, reference):
                order = np.random.default_rng(seed).permutation(len(side) // 8 * 8)
                sides.append(embed(network, [side[k].signals("plain", channel) for k in order]))
            values.append(frechet_distance(sides[0], sides[1]))
        first = first or values[0]
        low, high = min(values), max(values)
        rows.append([label, f"{low / first:.4f}", f"{high / first:.4f}", f"{high / low - 1:.1%}"])
    head = ["mode", f"least of {orders} orders", "most", "spread by order alone"]
    table("AudioCLIP's audio tower with seeded random weights: NOT its distance. In units of the first row", head, rows)


def settled(clips: list[ClipSignals]) -> dict[str, torch.Tensor]:
    """Seeded weights whose batch norm has the statistics of ``clips``, as after training."""
    feature = seeded("audioclip", mode="eval", scale="int16")
    norms = [module for module in feature.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    # neighbours are of one file: a batch of them says little about all
    embed(feature, [clips[k] for k in np.random.default_rng(0).permutation(len(clips))])
    return {name: tensor.clone() for name, tensor in feature.network.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="real clips with sound")
    parser.add_argument("--windows", type=int, default=8, help="most windows of a file")
    parser.add_argument("--repeat-to", type=int, default=2048)
    parser.add_argument(
        "--orders", type=int, default=3, help="orders of the clips tried with batch norm in training mode"
    )
    args = parser.parse_args()
    clips = windows(args.folder, args.windows)
    generated, reference = ([clip for clip in clips if clip.file % 2 == odd] for odd in (0, 1))
    stereo = sum(len(clip.audio) == 2 and bool((clip.audio[0] != clip.audio[1]).any()) for clip in clips)
    files = len({clip.file for clip in clips})
    print(f"{len(generated)} and {len(reference)} windows of {files} files, {stereo} in real stereo")
    print(f"torch {torch.__version__}, numpy {np.__version__}, {platform.machine()}")
    grey_levels(clips)
    weight_free(generated, reference)
    repeats(i3d_logits(generated, reference), args.repeat_to)
    audioclip(generated, reference, args.orders)


if __name__ == "__main__":
    main()
