"""I3D logits of avbench, in float32 and bfloat16, against a public FVD implementation on the same clips and weights.

    python benchmarks/features_i3d.py --peer CLONE --clips FOLDER

CLONE is a checkout of songweige/content-debiased-fvd or of JunyaoHu/common_metrics_on_video_quality; without it only
avbench is measured. FOLDER holds videos, of which windows of 16 frames at 10 frames per second become clips: one side
is the first half of the files by name, the other the second; without it the clips are moving textures. Weights are
drawn from a seed (the published ones with --weights FILE), so that FVD here compares implementations and says nothing
about videos.

Preparing the pixels counts. The candidates run in turn, batch by batch; printed are medians, their ratios to the peer,
the largest difference of logits in standard deviations, and the FVD between the two sides by each.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from avbench import features, media, weights as weights_store
from avbench.features.i3d import Feature
from avbench.metrics import frechet_distance

FRAMES, FPS, SIDE = 16, 10.0, 64

Candidate = Callable[[np.ndarray], np.ndarray]
"""Clips uint8 (B, T, H, W, 3) -> logits (B, 400)."""


def seeded_weights(seed: int = 0) -> dict[str, Tensor]:
    """A state dict that every machine draws alike: convolutions that keep the scale, batch norms close to identity."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, tensor in sorted(Feature.architecture().state_dict().items()):
        drawn = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            drawn = 1 + 0.1 * np.abs(drawn)
        elif tensor.ndim > 1:
            drawn *= np.sqrt(2 / np.prod(tensor.shape[1:]))
        else:
            drawn = 0.1 * drawn + name.endswith("bn.weight")
        state[name] = torch.as_tensor(drawn).to(tensor.dtype)
    return state


def cd_fvd(clone: Path, state: dict[str, Tensor]) -> Candidate:
    """content-debiased-fvd: its preprocessing and network, float32."""
    sys.path.insert(0, str(clone / "cdfvd" / "third_party"))
    with mock.patch.dict(sys.modules, {"requests": mock.MagicMock()}):
        utils = importlib.import_module("i3d.utils")
    network = filled(utils.pytorch_i3d.InceptionI3d(400, in_channels=3), state)
    return lambda clips: network(utils.preprocess_i3d(clips)).numpy()


def common_metrics(clone: Path, state: dict[str, Tensor]) -> Candidate:
    """common_metrics_on_video_quality, its VideoGPT route: its preprocessing and network, float32."""
    sys.path.insert(0, str(clone))
    with mock.patch.dict(sys.modules, {"einops": mock.MagicMock()}):
        code = importlib.import_module("fvd.videogpt.fvd")
    network = filled(importlib.import_module("fvd.videogpt.pytorch_i3d").InceptionI3d(400, in_channels=3), state)

    def logits(clips: np.ndarray) -> np.ndarray:
        seen = torch.stack([code.preprocess_single(clip, 224) for clip in torch.from_numpy(clips)]) * 2
        return network(seen).numpy()

    return logits


def filled(network: torch.nn.Module, state: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """The peer's network with these weights, its answer as (B, 400)."""
    network.load_state_dict(state)
    network.eval()
    return lambda x: network(x).reshape(len(x), 400)


def real_clips(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the folder's videos, one of each file in turn, and which side each is on."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".webm", ".mkv", ".mov"))
    found: list[tuple[int, int, np.ndarray]] = []
    for number, path in enumerate(paths):
        video = media.decode_video(path, fps=FPS, size=(SIDE, SIDE))
        found += [(turn, number, video[turn * FRAMES :][:FRAMES]) for turn in range(len(video) // FRAMES)]
    found = sorted(found, key=lambda window: window[:2])[:count]
    return np.stack([clip for _, _, clip in found]), np.array([number < len(paths) / 2 for _, number, _ in found])


def textures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Moving textures, every clip different, the second side twice as fast."""
    rng = np.random.default_rng(0)
    clips = []
    for k in range(count):
        canvas = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        step = 1 + k % 2
        clips.append(
            np.stack([np.roll(canvas, (t * step, t * step), axis=(0, 1))[:SIDE, :SIDE] for t in range(FRAMES)])
        )
    return np.stack(clips), np.arange(count) % 2 == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    state = weights_store.read_tensors(args.weights) if args.weights else seeded_weights()
    clips, side = real_clips(args.clips, args.count) if args.clips else textures(args.count)

    is_cd_fvd = args.peer is not None and (args.peer / "cdfvd").is_dir()
    resize = "stretch" if is_cd_fvd else "crop"
    candidates: dict[str, Candidate] = {}
    if args.peer is not None:
        candidates["peer float32"] = (cd_fvd if is_cd_fvd else common_metrics)(args.peer, state)
    for precision in ("float32", "bfloat16"):
        feature = features.load("i3d", state, resize=resize, precision=precision)
        candidates[f"avbench {precision}"] = lambda batch, feature=feature: feature.embed(batch).values

    rows: dict[str, np.ndarray] = {}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    batches = [clips[at : at + args.batch] for at in range(0, len(clips), args.batch)]
    with torch.no_grad():
        for candidate in candidates.values():
            candidate(batches[0])
        for _ in range(args.repeats):
            taken = dict.fromkeys(candidates, 0.0)
            parts: dict[str, list[np.ndarray]] = {name: [] for name in candidates}
            for batch in batches:
                for name, candidate in candidates.items():
                    begun = time.perf_counter()
                    parts[name].append(candidate(batch))
                    taken[name] += time.perf_counter() - begun
            for name in candidates:
                seconds[name].append(taken[name])
                rows[name] = np.concatenate(parts[name])

    cores = f"{torch.get_num_threads()} threads of {os.cpu_count()}, {platform.machine()}"
    print(f"{len(clips)} clips of {FRAMES} frames, {args.repeats} alternating runs, torch {torch.__version__}, {cores}")
    first = next(iter(candidates))
    fvd = {name: frechet_distance(found[side], found[~side]) for name, found in rows.items()}
    for name, found in rows.items():
        median = statistics.median(seconds[name])
        print(
            f"{name:17s} {len(clips) / median:7.3f} clips/s   {statistics.median(seconds[first]) / median:5.2f}x   "
            f"logits {np.abs(found - rows[first]).max() / rows[first].std():.1e} sd off   "
            f"FVD {fvd[name]:.6f} ({fvd[name] / fvd[first] - 1:+.1e})"
        )


if __name__ == "__main__":
    main()
