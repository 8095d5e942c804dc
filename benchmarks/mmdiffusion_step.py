"""MM-Diffusion of avbench beside the published network: forward, training step, memory, sampling; same weights.

    python benchmarks/mmdiffusion_step.py --reference CLONE [--device cuda --batch 4 --compile] [--types float32]

CLONE is a checkout of researchmm/MM-Diffusion; its network needs einops besides torch (``pip install einops``). What
its files import but the network does not use (MPI, remote files) is replaced by empty modules. The size is the paper's:
``--width 64`` halves every layer for a quick look. On a processor without bfloat16 ours is computed in float32, as the
commands of avbench do; ``--types float32`` leaves it out.

A training step is forward, squared error of both noises, backward, AdamW and averaged weights, with gradient norms as
each code takes them. The variants run in turn; printed are medians and ratios to the first line, the published network.
Its half-precision step is float16 with its own loss scaling and needs a GPU. Every run is the second one of a process
of its own, which holds memory as the code's users have it: ours keeps on a CPU what is freed while it samples
(`avbench.heap`); training, and the published code, leave glibc as it is. The peak of the process is printed too:
resident, or what the GPU handed out.
"Sample" is 20 predictions, each followed by a DDIM update.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import importlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from avbench.heap import keep_freed_memory
from avbench.models.bfloat16 import bfloat16_by_float32
from avbench.models.mmdiffusion import PRESETS, MMDiffusion

LEARNING_RATE, EMA_DECAY, CLIP_NORM = 1e-4, 0.9999, 1.0
SAMPLING_STEPS = 20
TYPES = ("float32", "float16", "bfloat16")


def published(clone: Path, part: str) -> Any:
    """A module of the published code."""
    if str(clone) not in sys.path:
        sys.path.insert(0, str(clone))
    for name in ("mpi4py", "blobfile"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["mpi4py"].MPI = types.ModuleType("MPI")  # type: ignore[attr-defined]
    return importlib.import_module(f"mm_diffusion.{part}")


class Setup:
    """The two networks with the same weights, and a noisy clip."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        self.config = PRESETS["paper"].model_copy(
            update={"model_channels": args.width, "cross_head_channels": args.width // 2}
        )
        torch.manual_seed(0)
        self.state = MMDiffusion(self.config).state_dict()
        for tensor in self.state.values():
            if tensor.ndim > 1 and not tensor.any():
                torch.nn.init.normal_(tensor, std=0.02)  # zero at the start of training: nothing behind it would count
        video, audio = (args.batch, *self.config.video_size), (args.batch, *self.config.audio_size)
        self.video, self.audio = torch.randn(video, device=self.device), torch.randn(audio, device=self.device)
        self.video_noise, self.audio_noise = torch.randn_like(self.video), torch.randn_like(self.audio)
        self.timesteps = torch.full((args.batch,), 500, device=self.device)

    def reference(self) -> torch.nn.Module:
        """The published network in the sizes of its published command line."""
        c = self.config
        network = published(self.args.reference, "multimodal_unet").MultimodalUNet(
            list(c.video_size),
            list(c.audio_size),
            c.model_channels,
            c.video_size[1],
            c.audio_size[0],
            c.num_res_blocks,
            list(c.cross_attention_resolutions),
            list(c.windows),
            True,
            list(c.video_attention_resolutions),
            [-1],
            dropout=c.dropout,
            channel_mult=c.channel_mult,
            num_heads=c.attention_heads,
            num_head_channels=c.cross_head_channels,
            use_scale_shift_norm=True,
            resblock_updown=True,
        )
        network.load_state_dict(self.state)
        return network.to(self.device)

    def ours(self) -> MMDiffusion:
        """The network of avbench."""
        network = MMDiffusion(self.config)
        network.load_state_dict(self.state)
        return network.to(self.device)

    def half(self, enabled: bool) -> contextlib.AbstractContextManager[Any]:
        """Autocast to bfloat16, or nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def shifts(self, seed: int) -> Tensor:
        """Shifts as the published network draws them from a seed, in order of execution."""
        draw, frames = random.Random(seed), self.config.video_size[0]
        with torch.device("meta"):
            windows = MMDiffusion(self.config).windows
        return torch.tensor([draw.randint(0, frames - window) for window in windows], device=self.device)

    def loss(self, video: Tensor, audio: Tensor) -> Tensor:
        """Squared error of both noises."""
        return F.mse_loss(video.float(), self.video_noise) + F.mse_loss(audio.float(), self.audio_noise)


Run = Callable[[], Any]


def forward_of(setup: Setup, name: str) -> Run:
    """One prediction of a variant, without gradients."""
    inputs, shifts = (setup.video, setup.audio, setup.timesteps), setup.shifts(0)
    whose, dtype, *compiled = name.split()
    if whose == "published":
        published(setup.args.reference, "multimodal_unet").random = random
        network = setup.reference().eval()
        if dtype == "float16":
            network.convert_to_fp16()  # type: ignore[operator]
            network.dtype = torch.float16  # type: ignore[assignment]

        def peer() -> Any:
            random.seed(0)
            return network(*inputs)

        return peer
    ours = setup.ours().eval()
    ours = ours.bfloat16() if dtype == "bfloat16" else ours
    return functools.partial(torch.compile(ours) if compiled else ours, *inputs, shifts)


def reference_step(setup: Setup, half: bool) -> Run:
    """One training step of the published code, with its own mixed precision, norms and averaging."""
    low, nn = published(setup.args.reference, "fp16_util"), published(setup.args.reference, "nn")
    network = setup.reference().train()
    trainer = low.MixedPrecisionTrainer(model=network, use_fp16=half)
    if half:
        network.dtype = torch.float16  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(trainer.master_params, lr=LEARNING_RATE, weight_decay=0.0)
    averaged = copy.deepcopy(trainer.master_params)

    def step() -> Tensor:
        trainer.zero_grad()
        loss = setup.loss(*network(setup.video, setup.audio, setup.timesteps))
        trainer.backward(loss)
        if trainer.optimize(optimizer):
            nn.update_ema(averaged, trainer.master_params, rate=EMA_DECAY)
        return loss.detach()

    return step


def our_step(setup: Setup, half: bool, compiled: bool = False) -> Run:
    """One training step of avbench: float32 weights, autocast, one fused call each for optimizer and average."""
    network = setup.ours().train()
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    averaged = [p.detach().clone() for p in parameters]
    call = torch.compile(network) if compiled else network
    frames, generator = setup.config.video_size[0], torch.Generator().manual_seed(0)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        shifts = network.draw_shifts(frames, generator).to(setup.device)
        with setup.half(half):
            loss = setup.loss(*call(setup.video, setup.audio, setup.timesteps, shifts))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1 - EMA_DECAY)
        return loss.detach()

    return step


def step_of(setup: Setup, name: str) -> Run:
    """One training step of a variant."""
    whose, dtype, *compiled = name.split()
    half = dtype != "float32"
    return reference_step(setup, half) if whose == "published" else our_step(setup, half, bool(compiled))


def sampling_of(setup: Setup, name: str) -> Run:
    """20 predictions of a variant, each followed by a DDIM update from evenly spaced timesteps."""
    run = forward_of(setup, name)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[torch.linspace(999, 0, SAMPLING_STEPS + 1).long()]

    def sample() -> tuple[Tensor, ...]:
        clip = setup.video, setup.audio
        for now, after in zip(alphas[:-1].tolist(), alphas[1:].tolist(), strict=True):
            clean = [(x - (1 - now) ** 0.5 * e.float()) / now**0.5 for x, e in zip(clip, run(), strict=True)]
            noise = [(x - now**0.5 * c) / (1 - now) ** 0.5 for x, c in zip(clip, clean, strict=True)]
            clip = tuple(after**0.5 * c + (1 - after) ** 0.5 * e for c, e in zip(clean, noise, strict=True))
        return clip

    return sample


PARTS: dict[str, tuple[Callable[[Setup, str], Run], int]] = {
    "forward": (forward_of, 1),
    "step": (step_of, 3),
    "sample": (sampling_of, SAMPLING_STEPS),
}
"""What is measured, and how many forward passes it costs."""


def variants(args: argparse.Namespace) -> list[str]:
    """What this device and these arguments ask for, the published float32 first."""
    names = ["published float32", "published float16", "avbench float32", "avbench bfloat16"]
    names += ["avbench float32 compiled", "avbench bfloat16 compiled"] if args.compile else []
    first, *others = [name for name in names if args.device == "cuda" or "float16" not in name.split()]
    return [first, *(name for name in others if name.split()[1] in args.types)]


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Best of some measured rates of a large matrix product, FLOP/s."""
    side = 8192 if device.type == "cuda" else 3072
    a = torch.randn(side, side, device=device).to(dtype)
    rates = []
    for _ in range(6):
        synchronize(device)
        begun = time.perf_counter()
        with bfloat16_by_float32(device):
            F.linear(a, a)
        synchronize(device)
        rates.append(2 * side**3 / (time.perf_counter() - begun))
    return max(rates)


def table(title: str, seconds: dict[str, float], flop: float, setup: Setup) -> None:
    """Print medians, the ratio to the first line, and the share of the measured matrix rate."""
    print(title)
    first = next(iter(seconds.values()))
    for name, taken in seconds.items():
        dtype = torch.float32 if "float32" in name else torch.float16 if "float16" in name.split() else torch.bfloat16
        rate = flop / taken
        share = rate / matrix_rate(setup.device, dtype)
        print(
            f"  {name:27s} {taken:9.3f} s  {first / taken:6.2f}x  {rate / 1e12:8.3f} TFLOP/s  {share:6.1%} of a matrix"
        )


def differences(setup: Setup) -> None:
    """Print how far each output is from the first variant's, in standard deviations of it."""
    first, *others = variants(setup.args)
    wanted = [x.double() for x in forward_of(setup, first)()]
    for name in others:
        pairs = zip(forward_of(setup, name)(), wanted, strict=True)
        off = [(got.double() - want).abs().max() / want.std() for got, want in pairs]
        print(f"  {name:27s} furthest from {first}: video {off[0]:.1e} sd, audio {off[1]:.1e} sd")


def measure(args: argparse.Namespace, part: str) -> tuple[dict[str, float], dict[str, int]]:
    """Median seconds and largest peak in bytes of each variant, every run in a process of its own, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in variants(args)}
    peaks = dict.fromkeys(taken, 0)
    for _ in range(args.repeats):
        for name in taken:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", part, name]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            seconds, peak = json.loads(answer)
            taken[name].append(seconds)
            peaks[name] = max(peaks[name], peak)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}, peaks


def report_one(setup: Setup, part: str, name: str) -> None:
    """Run twice; print the seconds of the second run, and the peak of this process in bytes."""
    if name.startswith("avbench") and part != "step" and setup.device.type == "cpu":
        keep_freed_memory()  # as every command of avbench does that samples or scores on a CPU
    with torch.inference_mode(part != "step"), bfloat16_by_float32(setup.device):
        run = PARTS[part][0](setup, name)
        run()
        synchronize(setup.device)
        begun = time.perf_counter()
        run()
        synchronize(setup.device)
    seconds = time.perf_counter() - begun
    if setup.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(setup.device)
    else:
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps([seconds, peak]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--width", type=int, default=PRESETS["paper"].model_channels)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", nargs="+", default=["forward", "step"], choices=list(PARTS))
    parser.add_argument("--types", nargs="+", default=TYPES, choices=TYPES, help="beside the published float32")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    setup = Setup(args)
    if args.one:
        report_one(setup, *args.one)
        return
    card = torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()} CPUs, {platform.machine()}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {card}, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        setup.ours().eval()(setup.video, setup.audio, setup.timesteps)
    flop = counted.get_total_flops()
    parameters = sum(tensor.numel() for tensor in setup.state.values())
    print(f"{parameters:,} parameters, batch {args.batch}, {flop / 1e9:.0f} GFLOP forward, {args.repeats} runs in turn")
    with torch.inference_mode(), bfloat16_by_float32(setup.device):
        differences(setup)
    for part in args.parts:
        seconds, peaks = measure(args, part)
        table(part, seconds, PARTS[part][1] * flop, setup)
        for name, peak in peaks.items():
            print(f"  {name:27s} {peak / 2**30:6.2f} GiB at the peak")


if __name__ == "__main__":
    main()
