"""A training step of AVDiT at the paper's shape, beside the same network written straightforwardly.

    python -m benchmarks.avdit_step [--layers 2 4]
    python -m benchmarks.avdit_step --device cuda --batch 8 --compile

The paper has published no code to compare with (arXiv 2405.13762). "Straightforward" is `PerTokenAVDiT` below: every
token has a noise level, and its embedding and modulation are computed per token; attention writes its matrix of scores
out and adds a mask to it. Clips are the paper's: 5 x 16 x 16 video tokens and 106 audio tokens of width 1024.

A training step is forward, mean squared error of the noise over all tokens, backward, gradient norm and AdamW; levels
are drawn by the paper's mixture. On a CPU a few of the paper's 24 layers are measured, and from two depths follows what
the others would take. Each figure is the median over processes that run in turn, each of the median of its steps after
the first; their peak memory is resident memory, or what the GPU handed out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from avbench.diffusion.noise_levels import UNIFORM, NoisyTokens, draw_levels, noise_tokens, token_loss
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.models._avdit_blocks import Block, modulated
from avbench.models._coupled_blocks import timestep_embedding
from avbench.models.avdit import LEAST_LEVEL, PRESETS, PREVIOUS_LIMIT, AVDiT, AVDiTConfig
from benchmarks.mmdiffusion_step import matrix_rate, synchronize

STEPS = 1000
LEARNING_RATE, CLIP_NORM = 5e-4, 1.0


class PerTokenAVDiT(AVDiT):
    """The same function with the same weights, one noise level per token and the scores of attention written out."""

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        video_levels: Tensor,
        audio_levels: Tensor,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        if previous is None:
            previous = torch.zeros_like(video), torch.zeros_like(audio)
        slices, channels, height, width = self.config.video_size
        cells = height * width
        sound_slices = torch.tensor(self.config.audio_slices, device=video.device)
        both = torch.cat([video, previous[0].clamp(-PREVIOUS_LIMIT, PREVIOUS_LIMIT)], 2)
        picture = self.video_in(both.permute(0, 1, 3, 4, 2).reshape(len(video), -1, 2 * channels))
        picture = picture + (self.video_time + self.video_space).reshape(slices * cells, -1)
        sound = self.audio_in(torch.cat([audio, previous[1].clamp(-PREVIOUS_LIMIT, PREVIOUS_LIMIT)], 2))
        tokens = torch.cat([picture, sound + self.audio_time], 1)
        level_of_token = torch.cat([video_levels.repeat_interleave(cells, 1), audio_levels[:, sound_slices]], 1)
        place = torch.cat([torch.arange(slices, device=video.device).repeat_interleave(cells), slices + sound_slices])
        waves = timestep_embedding(level_of_token.clamp(min=LEAST_LEVEL).flatten(), self.config.width)
        levels = F.silu(self.level_mlp(waves.view(*level_of_token.shape, -1)) + self.slice_place[place])
        gates = self.gates(levels)
        count = tokens.shape[1]
        mask = torch.zeros(len(tokens), 1, count, count, device=tokens.device)
        for block in self.blocks:
            assert isinstance(block, Block)
            tokens = self._layer(block, tokens, levels, gates, mask)
        scale, shift = self.last_modulation(levels).chunk(2, -1)
        tokens = modulated(tokens, scale, shift)
        video_noise = self.video_out(tokens[:, : slices * cells]).view(len(video), slices, height, width, channels)
        return video_noise.permute(0, 1, 4, 2, 3), self.audio_out(tokens[:, slices * cells :])

    def _layer(self, block: Block, tokens: Tensor, levels: Tensor, gates: Tensor, mask: Tensor) -> Tensor:
        scale1, shift1, scale2, shift2 = block.modulation(levels).chunk(4, -1)
        gate1, gate2 = (gates + block.gate_bias).chunk(2, -1)
        heads = block.heads
        qkv = block.qkv(modulated(tokens, scale1, shift1)).chunk(3, -1)
        query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in qkv)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        tokens = tokens + gate1 * block.proj(mixed)
        return tokens + gate2 * block.mlp(modulated(tokens, scale2, shift2))


NETWORKS: dict[str, type[AVDiT]] = {"straightforward": PerTokenAVDiT, "avbench": AVDiT}


def filled(network: AVDiT) -> AVDiT:
    """With no zero matrix left in it: what is zero at the start of training would hide what lies behind."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return network


def built(kind: str, config: AVDiTConfig, device: torch.device) -> AVDiT:
    """A network of one kind; both kinds get the same weights."""
    torch.manual_seed(0)
    return filled(NETWORKS[kind](config)).to(device)


def inputs(config: AVDiTConfig, batch: int, device: torch.device) -> NoisyTokens:
    """A noised batch of normal latents, its levels drawn by the paper's mixture."""
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(batch, *config.video_size, generator=generator).to(device)
    audio = torch.randn(batch, *config.audio_size, generator=generator).to(device)
    levels = draw_levels(UNIFORM, batch, config.slices, STEPS, generator)
    return noise_tokens(linear_schedule(STEPS), video, audio, levels, config.audio_slices, generator)


def report_steps(variant: str, config: AVDiTConfig, batch: int, steps: int, device: torch.device) -> None:
    """Take training steps; print the median seconds of all but the first, and the peak of this process in bytes."""
    kind, precision, *compiled = variant.split()
    network = built(kind, config, device).train()
    call = torch.compile(network) if compiled else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    noisy = inputs(config, batch, device)
    half = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
    taken = []
    for _ in range(steps + 1):
        synchronize(device)
        begun = time.perf_counter()
        with half:
            predicted = call(noisy.video, noisy.audio, noisy.levels[:, 0], noisy.levels[:, 1])
            loss = token_loss(predicted, noisy, STEPS).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        synchronize(device)
        taken.append(time.perf_counter() - begun)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps([statistics.median(taken[1:]), peak]))


def measured(args: argparse.Namespace, names: list[str], layers: int) -> dict[str, tuple[float, int]]:
    """Median seconds of a step and largest peak in bytes of each variant, every run a process of its own, in turn."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name, runs in found.items():
            command = [
                sys.executable,
                "-m",
                "benchmarks.avdit_step",
                *sys.argv[1:],
                "--layers",
                str(layers),
                "--steps-of",
                name,
            ]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            runs.append(tuple(json.loads(answer)))
    return {name: (statistics.median(s for s, _ in runs), max(p for _, p in runs)) for name, runs in found.items()}


def difference(config: AVDiTConfig, device: torch.device) -> float:
    """How far both networks' outputs and gradients are apart, in standard deviations of them."""
    noisy, found = inputs(config, 1, device), []
    for kind in NETWORKS:
        network = built(kind, config, device)
        predicted = network(noisy.video, noisy.audio, noisy.levels[:, 0], noisy.levels[:, 1])
        token_loss(predicted, noisy, STEPS).total.backward()
        gradients = [network.level_mlp[0].weight.grad, network.blocks[0].qkv.weight.grad]
        found.append([x.detach().double() for x in (*predicted, *gradients)])
    return max(float((a - b).abs().max() / a.std()) for a, b in zip(*found, strict=True))


def flop_of_step(config: AVDiTConfig, batch: int) -> float:
    """Multiplications and additions of forward and backward, in avbench's network."""
    with torch.device("meta"):
        network = AVDiT(config)
        video, audio = torch.empty(batch, *config.video_size), torch.empty(batch, *config.audio_size)
        levels = torch.empty(batch, config.slices, dtype=torch.int64)
    with FlopCounterMode(display=False) as counted:
        network(video, audio, levels, levels)
    return 3 * counted.get_total_flops()


def table(title: str, rows: dict[str, tuple[float, int]], flop: float, device: torch.device) -> None:
    """Print seconds and memory, each with the ratio to the first line, and the share of the measured matrix rate."""
    print(title)
    first_s, first_peak = next(iter(rows.values()))
    for name, (seconds, peak) in rows.items():
        rate = flop / seconds
        share = rate / matrix_rate(device, torch.bfloat16 if "bfloat16" in name else torch.float32)
        print(
            f"  {name:26s} {seconds:8.3f} s {first_s / seconds:6.2f}x"
            f"  {peak / 2**30:6.2f} GiB {first_peak / peak:5.2f}x  {rate / 1e12:7.3f} TFLOP/s {share:6.1%} of a matrix"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--layers", type=int, nargs="+", help="default: 2 and 4 on a CPU, the paper's on a GPU")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="timed in each process")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each variant")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    parser.add_argument("--steps-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device, paper = torch.device(args.device), PRESETS["paper"]
    depths = args.layers or ([2, 4] if args.device == "cpu" else [paper.layers])
    if args.steps_of:
        config = paper.model_copy(update={"layers": depths[0]})
        report_steps(args.steps_of, config, args.batch, args.steps, device)
        return
    card = torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()} CPUs, {platform.machine()}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {card}, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    apart = difference(paper.model_copy(update={"layers": 2}), device)
    print(f"outputs and gradients of both: furthest apart {apart:.1e} standard deviations, in float32")
    names = [f"{kind} float32" for kind in NETWORKS]
    if args.device == "cuda":
        names += [f"{kind} bfloat16" for kind in NETWORKS]
    if args.compile:
        names += [f"{name} compiled" for name in names if name.startswith("avbench")]
    by_depth = {}
    for layers in depths:
        config = paper.model_copy(update={"layers": layers})
        by_depth[layers] = measured(args, names, layers)
        title = f"training step, {layers} of {paper.layers} layers, batch {args.batch}"
        table(title, by_depth[layers], flop_of_step(config, args.batch), device)
    if len(depths) > 1 and paper.layers not in depths:
        (less, few), (more, many) = min(by_depth.items()), max(by_depth.items())
        print(f"training step of all {paper.layers} layers, as {less} and {more} imply")
        for name in names:
            each = (many[name][0] - few[name][0]) / (more - less)
            whole = few[name][0] + (paper.layers - less) * each
            print(f"  {name:26s} {whole:8.2f} s, of these {each:.3f} s per layer")


if __name__ == "__main__":
    main()
