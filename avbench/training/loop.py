"""The training loop: plain PyTorch, read top to bottom, resumable to the same weights.

Step ``s`` is a pure function of the weights and ``(seed, s)``: batch, timesteps, noise and attention shifts are drawn
from generators made for that step. So a run that was interrupted ends with the bytes of one that was not.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avbench.diffusion.noise_schedule import PairLoss
from avbench.errors import UserError
from avbench.progress import SILENT, Reporter
from avbench.recipe import TrainRecipe
from avbench.schema import Batch
from avbench.training import checkpoint

StepLoss = Callable[[torch.nn.Module, Batch, torch.Generator], PairLoss]
"""(model, batch, generator of this step) -> per-sample losses."""

GetBatch = Callable[[int, int], Batch]
"""(step, batch_size) -> batch."""


@dataclass(frozen=True)
class TrainResult:
    """What training leaves behind.

    Attributes:
        steps: Optimizer steps taken in all.
        seconds: Wall time of this call.
        first_loss: Mean loss of the first twentieth of the run.
        final_loss: Mean loss of the last twentieth of the run.
        checkpoint: Folder of the final checkpoint.
    """

    steps: int
    seconds: float
    first_loss: float
    final_loss: float
    checkpoint: Path


def step_seed(seed: int, step: int) -> int:
    """Seed of everything random in one step."""
    return (seed * 1_000_003 + step) % 2**63


def train(
    model: torch.nn.Module,
    batches: GetBatch,
    step_loss: StepLoss,
    recipe: TrainRecipe,
    run: Path,
    *,
    config: dict[str, Any],
    device: torch.device,
    reporter: Reporter = SILENT,
) -> TrainResult:
    """Train to ``recipe.steps``, going on from the newest checkpoint of ``run``.

    Args:
        model: Freshly initialised network (its weights are replaced on resume).
        batches: Where data come from.
        step_loss: The objective.
        recipe: Steps, batch size, optimizer.
        run: Folder of the run; ``checkpoints/`` and ``log.jsonl`` are written there.
        config: Stored inside every checkpoint; a resume with another config is refused.
        device: Where to compute.
        reporter: Progress with loss and clips/s.

    Raises:
        UserError: The folder holds a run with another configuration, or one that is trained for longer.
    """
    model.to(device).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    ema = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    start = _resume(model, ema, optimizer, run, config)
    if start > recipe.steps:
        raise UserError(
            f"{run}: is trained for {start} steps already, more than the {recipe.steps} asked for; "
            "ask for at least as many, or give another --out"
        )
    log = run / "log.jsonl"
    rows = _truncate_log(log, start)
    begun = saved = time.monotonic()
    with (
        reporter.bar("train", total=recipe.steps, unit="step") as bar,
        open(log, "a") as stream,
        _stop_signals() as stop,
    ):
        bar.advance(start)
        for step in range(start, recipe.steps):
            row = _one_step(model, ema, optimizer, batches, step_loss, recipe, step, device)
            rows.append(row)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            bar.advance(1, f"loss {row['loss']:.4f}  {recipe.batch_size / row['seconds']:.1f} clips/s")
            due = (step + 1) % recipe.checkpoint_every == 0 or time.monotonic() - saved > 600
            if step + 1 < recipe.steps and (due or stop):
                _save(run, step + 1, model, ema, optimizer, config, stream)
                saved = time.monotonic()
                if stop:
                    raise KeyboardInterrupt
        final = run / "checkpoints" / f"step-{recipe.steps:08d}"
        if start < recipe.steps:
            final = _save(run, recipe.steps, model, ema, optimizer, config, stream)
    first, last = edge_losses([float(row["loss"]) for row in rows])
    return TrainResult(recipe.steps, time.monotonic() - begun, first, last, final)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that the step under way is finished and saved; a second one stops at once.

    A step that is broken off half-way would leave weights that no unbroken run ever has.
    """
    received: list[int] = []

    def receive(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _one_step(
    model: torch.nn.Module,
    ema: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    batches: GetBatch,
    step_loss: StepLoss,
    recipe: TrainRecipe,
    step: int,
    device: torch.device,
) -> dict[str, float]:
    """One optimizer step; returns its row of the log."""
    begun = time.monotonic()
    seed = step_seed(recipe.seed, step)
    torch.manual_seed(seed)  # dropout
    generator = torch.Generator().manual_seed(seed)
    batch = batches(step, recipe.batch_size)
    rate = recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
        losses = step_loss(model, batch, generator)
    loss = losses.total
    if not torch.isfinite(loss):
        raise UserError(f"training diverged at step {step}: the loss is {loss.item()}; lower train.learning_rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimizer.step()
    _update_ema(ema, model, min(recipe.ema_decay, (step + 1) / (step + 10)))
    seconds = time.monotonic() - begun
    return {
        "step": step + 1,
        "loss": loss.item(),
        "loss_video": losses.video.mean().item(),
        "loss_audio": losses.audio.mean().item(),
        "grad_norm": float(norm),
        "learning_rate": rate,
        "seconds": round(seconds, 4),
    }


@torch.no_grad()
def _update_ema(ema: dict[str, torch.Tensor], model: torch.nn.Module, decay: float) -> None:
    """``ema <- decay * ema + (1 - decay) * model`` in one fused call; the warm-up of ``decay`` forgets the start."""
    current = model.state_dict()
    averaged = [name for name, tensor in ema.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in averaged], [current[n] for n in averaged], 1 - decay)


def _resume(
    model: torch.nn.Module,
    ema: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    run: Path,
    config: dict[str, Any],
) -> int:
    """Load the newest checkpoint into the three and return its step, or 0."""
    found = checkpoint.latest(run / "checkpoints")
    if found is None:
        return 0
    if found.config != config:
        differ = sorted(k for k in {*config, *found.config} if config.get(k) != found.config.get(k))
        raise UserError(
            f"{run}: holds a run with another configuration (differs in {', '.join(differ)}); "
            "give another --out, or delete that folder to start again"
        )
    model.load_state_dict(found.weights("model"))
    for name, tensor in found.weights("ema").items():
        ema[name].copy_(tensor)
    checkpoint.restore_optimizer(found, optimizer)
    return found.step


def _save(
    run: Path,
    step: int,
    model: torch.nn.Module,
    ema: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    config: dict[str, Any],
    log: Any,
) -> Path:
    """Make the log durable up to this step, then publish the checkpoint."""
    os.fsync(log.fileno())
    return checkpoint.save(run / "checkpoints", step, model, ema, optimizer, config)


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of ``log.jsonl``; a last line cut short by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _truncate_log(path: Path, step: int) -> list[dict[str, float]]:
    """Drop rows after ``step`` (they will be run again) and return those kept."""
    rows = [row for row in read_log(path) if row["step"] <= step]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def edge_losses(losses: Sequence[float]) -> tuple[float, float]:
    """Mean of the first and of the last twentieth (at least one step) of a run."""
    width = max(1, len(losses) // 20)
    return sum(losses[:width]) / width, sum(losses[-width:]) / width
