"""Where the time and the memory of scoring go: N short clips, I3D with seeded weights, then the same score from cache.

    python benchmarks/score_profile.py --n 2048 --reference 64

The weights are drawn by a rule, so the numbers are not FVD; time and memory do not depend on their values. Clips are
rendered once into ``--folder`` and used again. Prints the share of time inside the network's forward pass, peak memory
at a quarter, half and all of the clips, and how much faster the second scoring is.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from avbench import features, media, parallel, protocol as protocols, scoring
from avbench.cache import FeatureCache
from avbench.cli.console import ConsoleReporter
from avbench.features import i3d
from avbench.workspace import file_sha256


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=2048, help="generated clips")
    options.add_argument("--reference", type=int, default=64, help="reference clips")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "avbench-score-profile")
    options.add_argument("--workers", type=int, default=parallel.default_workers())
    options.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    chosen = options.parse_args()
    seeded_weights(chosen.folder)
    generated = render(chosen.folder / "generated", chosen.n, 0)
    reference = render(chosen.folder / "reference", chosen.reference, 1_000_000)
    rules = protocols.load("mmdiffusion").model_copy(
        update={"metrics": ("fvd", "kvd"), "n": chosen.n, "features": {"i3d": {"precision": chosen.precision}}}
    )
    cache = chosen.folder / f"cache-{chosen.precision}.sqlite"
    cache.unlink(missing_ok=True)
    first, inside, memory = run(generated, reference, rules, cache, chosen.workers)
    again, _, _ = run(generated, reference, rules, cache, chosen.workers)
    clips = chosen.n + chosen.reference
    print(f"clips                    {chosen.n} generated, {chosen.reference} reference, 16 frames, {chosen.precision}")
    print(f"first scoring            {first:.1f} s, {clips / first:.3f} clips/s, {torch.get_num_threads()} threads")
    print(f"inside the forward pass  {inside:.1f} s, {inside / first:.1%}")
    print("peak memory              " + ", ".join(f"{mib:.0f} MiB at {share:.0%}" for share, mib in memory))
    print(f"from the cache           {again:.2f} s, {first / again:.0f} times faster")


def seeded_weights(folder: Path) -> None:
    """Weights by a rule from the tensor names, in place of the published file in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in i3d.Feature.architecture().state_dict().items()}
    state = {}
    for name, shape in sorted(shapes.items()):
        drawn = torch.randn(shape, generator=generator)
        scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        state[name] = 1 + drawn.abs() * 0.1 if name.endswith(("running_var", "bn.weight")) else drawn * float(scale)
        if not shape:
            state[name] = torch.zeros((), dtype=torch.int64)
    path = folder / i3d.WEIGHT.file
    torch.save(state, path)
    os.environ["AVBENCH_WEIGHTS"] = str(folder)
    i3d.WEIGHT = dataclasses.replace(i3d.WEIGHT, sha256=file_sha256(path))
    i3d.Feature.weight = i3d.WEIGHT


def render(folder: Path, n: int, seed: int) -> Path:
    """``n`` clips of 1.6 s, 64 x 64 at 10 fps with 16 kHz sound, as mp4; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [folder / f"{k:05d}.mp4" for k in range(n) if not (folder / f"{k:05d}.mp4").is_file()]
    for outcome in parallel.run(
        _Render(seed), missing, item_id=str, workers=parallel.default_workers(), reporter=ConsoleReporter(),
        description="rendering clips",
    ):  # fmt: skip
        if not outcome.ok:
            raise SystemExit(outcome.error)
    for extra in sorted(folder.glob("*.mp4"))[n:]:
        extra.unlink()
    return folder


@dataclasses.dataclass(frozen=True)
class _Render:
    seed: int

    def __call__(self, path: Path) -> None:
        rng = np.random.default_rng(self.seed + int(path.stem))
        small = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
        video = small.repeat(8, axis=1).repeat(8, axis=2)
        sound = (0.1 * rng.standard_normal((1, 25_600))).astype(np.float32)
        media.encode(path, video, 10.0, sound, 16_000)


def run(
    generated: Path, reference: Path, rules: protocols.Protocol, cache: Path, workers: int
) -> tuple[float, float, list[tuple[float, float]]]:
    """Seconds in all, seconds inside the network, and peak memory (share of clips, MiB)."""
    seen = [0.0, 0]
    memory: list[tuple[float, float]] = []
    total = len(list(generated.glob("*.mp4")))
    with timed_forward(seen, memory, total), FeatureCache(cache) as store:
        begun = time.perf_counter()
        scoring.score(generated, reference, rules, workers=workers, cache=store, reporter=ConsoleReporter())
        return time.perf_counter() - begun, seen[0], memory


@contextmanager
def timed_forward(seen: list[float], memory: list[tuple[float, float]], total: int) -> Iterator[None]:
    """Add up the time of every call of the network; note the peak memory at a quarter, half and all of the clips."""
    plain = features.load
    lock = threading.Lock()

    def load(*args: object, **options: object) -> features.Feature:
        feature = plain(*args, **options)  # type: ignore[arg-type]
        network = getattr(feature, "network", None)
        if network is not None:
            begun = [0.0]
            network.register_forward_pre_hook(lambda *_: begun.__setitem__(0, time.perf_counter()))

            def after(_: object, inputs: tuple[torch.Tensor], __: object) -> None:
                with lock:
                    seen[0] += time.perf_counter() - begun[0]
                    before, seen[1] = seen[1], seen[1] + len(inputs[0])
                for share in (0.25, 0.5, 1.0):
                    if before < share * total <= seen[1]:
                        memory.append((share, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))

            network.register_forward_hook(after)
        return feature

    features.load = load  # type: ignore[assignment]
    try:
        yield
    finally:
        features.load = plain


if __name__ == "__main__":
    main()
