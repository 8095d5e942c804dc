"""Seconds per clip of a training step: MM-Diffusion among pixels and waveforms beside its kind of network in latents.

    python benchmarks/latent_step.py [--repeats 5] [--batch 1] [--device cuda --bf16] [--preset paper]

A step is `avbench.training.loop.Trainer`'s own: noise, forward, squared error of both noises, backward, clipping,
AdamW, averaged weights. Pixels are MM-Diffusion at the paper's size, 16 frames of 64 x 64 with 25,600 samples. Latents
are those of 17 frames of 64 x 64 with 27,200 samples through the small autoencoder (5 x 16 x 8 x 8 and 85 x 64); the
networks are `small` and `small` at the width that has as many parameters as the pixel network. The variants run in turn
in one process; printed are medians, and the ratio to the first line. Clips are random numbers: time does not depend on
them. Encoding happens once per data set and is in no step; the last line says what it costs.
"""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from avbench.baselines import latent, mmdiffusion
from avbench.models.autoencoders import PRESETS as AUTOENCODERS, Autoencoder
from avbench.models.latent import LatentUNet, unet_config
from avbench.models.mmdiffusion import PRESETS, MMDiffusion, MMDiffusionConfig
from avbench.recipe_baseline import TrainRecipe
from avbench.schema import Batch
from avbench.training.loop import Trainer

VIDEO, AUDIO = (5, 16, 8, 8), (85, 64)
"""Latents of a clip of the preset `small`: 17 frames, 27,200 samples."""


@dataclass
class Variant:
    """One network and its steps."""

    name: str
    trainer: Trainer
    parameters: int
    seconds: list[float]

    def step(self, device: torch.device) -> None:
        """Take a step and remember how long it took."""
        begun = time.perf_counter()
        self.trainer.take_step([], lambda: False)
        if device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - begun)


def pixels(size: int, *, config: MMDiffusionConfig) -> Batch:
    """A batch of random clips."""
    video = torch.randint(0, 256, (size, *config.video_size), dtype=torch.uint8)
    return Batch(video, torch.randn(size, *config.audio_size) * 0.1, ("",) * size)


def latents(size: int) -> Batch:
    """A batch of random latents."""
    return Batch(torch.randn(size, *VIDEO), torch.randn(size, *AUDIO), ("",) * size)


def widened(parameters: int) -> LatentUNet:
    """The small latent network at the width whose number of parameters is nearest to ``parameters``."""
    config = unet_config("small", VIDEO, AUDIO)

    def count(width: int) -> int:
        with torch.device("meta"):
            network = LatentUNet(config.model_copy(update={"model_channels": width}))
        return sum(p.numel() for p in network.parameters())

    width = min(range(128, 513, 64), key=lambda candidate: abs(count(candidate) - parameters))
    return LatentUNet(config.model_copy(update={"model_channels": width}))


def variant(
    name: str, model: torch.nn.Module, batches: Callable[[int], Batch], loss: Any, args: argparse.Namespace, run: Path
) -> Variant:
    """A network with its optimizer, ready to step."""
    recipe = TrainRecipe(steps=10**6, batch_size=args.batch, bf16=args.bf16)
    trainer = Trainer(
        model,
        lambda step, size: batches(size),
        loss,
        recipe,
        run / name.replace(" ", "-"),
        config={},
        device=torch.device(args.device),
    )
    return Variant(name, trainer, sum(p.numel() for p in model.parameters()), [])


@torch.no_grad()
def encoding(device: torch.device, repeats: int) -> float:
    """Seconds in which the small autoencoder encodes one clip."""
    codec, seconds = Autoencoder(AUTOENCODERS["small"]).to(device).eval(), []
    video, audio = torch.rand(1, 17, 3, 64, 64, device=device) * 2 - 1, torch.randn(1, 1, 27200, device=device)
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        found = codec.video.encode(video)[0], codec.audio.encode(audio)[0]
        assert (found[0].shape[1:], found[1].shape[1:]) == (VIDEO, AUDIO)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def main() -> None:
    """Run the variants in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--preset", default="paper", help="size of the pixel network")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    config = PRESETS[args.preset]
    pixel = MMDiffusion(config)
    clips = functools.partial(pixels, config=config)
    alike = widened(sum(p.numel() for p in pixel.parameters()))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        variants = [
            variant(f"pixels, {args.preset}", pixel, clips, mmdiffusion.step_loss, args, run),
            variant(
                "latents, small", LatentUNet(unet_config("small", VIDEO, AUDIO)), latents, latent.step_loss, args, run
            ),
            variant("latents, as many parameters", alike, latents, latent.step_loss, args, run),
        ]
        for _ in range(args.repeats + 1):
            for each in variants:
                each.step(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    kind = "bfloat16" if args.bf16 else "float32"
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {where}, torch {torch.__version__}, {kind}, "
        f"batch {args.batch}"
    )
    first = statistics.median(variants[0].seconds[1:]) / args.batch
    for each in variants:
        seconds = statistics.median(each.seconds[1:]) / args.batch
        low, high = min(each.seconds[1:]) / args.batch, max(each.seconds[1:]) / args.batch
        print(
            f"{each.name:<28} {each.parameters / 1e6:7.1f} M parameters  {seconds:9.4f} s per clip "
            f"[{low:.4f}, {high:.4f}]  {first / seconds:7.1f} times fewer"
        )
    print(f"encoding, once for each window of the data set: {encoding(device, args.repeats):.4f} s per clip")


if __name__ == "__main__":
    main()
