"""The training loop: plain PyTorch, read top to bottom, resumable to the same weights.

Step ``s`` is a pure function of the weights and ``(seed, s)``: batch, timesteps, noise and attention shifts are drawn
from generators made for that step and its samples. So a run that was interrupted ends with the bytes of one that was
not, and a batch that is split over micro-batches or processes is the same batch.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from avbench import workspace
from avbench.diffusion.noise_schedule import PairLoss
from avbench.errors import UserError
from avbench.models.bfloat16 import bfloat16_by_float32
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import TrainRecipe
from avbench.schema import Batch
from avbench.training import checkpoint, page
from avbench.training.average import Average
from avbench.training.log import edge_losses, loss_row, loss_sums, numbers, truncate_log
from avbench.training.preview import Clip, sheet_name, write_sheet
from avbench.training.processes import Processes, rows as batch_rows
from avbench.training.randomness import StepGenerator, step_generator, step_seed
from avbench.training.tracking import trackers

StepLoss = Callable[[torch.nn.Module, Batch, StepGenerator], PairLoss]
"""(model, part of a batch, generators of this step and of these samples) -> per-sample losses."""

GetBatch = Callable[[int, int], Batch]
"""(step, batch_size) -> batch, or this process's share of it."""

Preview = Callable[[], Iterable[Clip]]
"""Samples a few clips from the newest checkpoint of the run; it must not draw from torch's global generators."""

_SAVE_AFTER_S = 600.0
"""A checkpoint is written when the last one is this old, whatever the recipe's steps between them."""
_DRAW_AFTER_S = 20.0
"""Curves and page are drawn at a checkpoint when they are this old, and at the end: short runs are not slowed down."""
_SHOWN_STEPS = 20
"""Steps whose loss and speed the bar shows the mean of."""


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
    preview: Preview | None = None,
) -> TrainResult:
    """Train to ``recipe.steps``, going on from the newest checkpoint of ``run``.

    Started by ``accelerate launch`` or ``torchrun``, it trains together with the other processes; process 0 writes.

    Args:
        model: Freshly initialised network (its weights are replaced on resume).
        batches: Where data come from.
        step_loss: The objective.
        recipe: Steps, batch size, optimizer.
        run: Folder of the run; ``checkpoints/``, ``log.jsonl``, ``curves.png`` and ``run.html`` are written there.
        config: Stored inside every checkpoint; a resume with another config is refused.
        device: Where to compute.
        reporter: Progress with loss and clips/s.
        preview: Called every ``recipe.sample_every`` steps, right after the checkpoint.

    Raises:
        UserError: The folder holds a run with another configuration, or one that is trained for longer; the batch
            cannot be divided; the loss is no number; a tracker cannot be used; the folder was taken away.
        EnvironmentFault: The disk is full, or the folder cannot be written.
        KeyboardInterrupt: Ctrl-C, once the step under way is saved.
        SystemExit: SIGTERM, in the same way.
    """
    trainer = Trainer(model, batches, step_loss, recipe, run, config=config, device=device)
    start = trainer.step
    if start > recipe.steps:
        raise UserError(
            f"{run}: is trained for {start} steps already, more than the {recipe.steps} asked for; "
            "ask for at least as many, or give another --out"
        )
    begun = time.monotonic()
    with _Output(trainer, reporter, preview) as output, _stop_signals() as stop:
        while trainer.step < recipe.steps:
            row, must_stop, is_due = trainer.take_step(stop, output.is_old)
            output.show(row)
            # alone, a signal that came since needs not wait for the next step to be agreed on
            must_stop = must_stop or (trainer.processes.world == 1 and bool(stop))
            step = trainer.step
            is_last = step == recipe.steps
            is_sampled = recipe.sample_every is not None and step % recipe.sample_every == 0
            if is_last or is_sampled or must_stop or is_due or step % recipe.checkpoint_every == 0:
                output.save(sample=(is_sampled or is_last) and not must_stop, ends=is_last or must_stop)
                if must_stop:
                    # a signal always ends the command, so that what would come after training does not begin
                    raise SystemExit(128 + signal.SIGTERM) if signal.SIGTERM in stop else KeyboardInterrupt
        first, last = edge_losses(numbers(output.rows, "loss"))
    final = run / "checkpoints" / f"step-{recipe.steps:08d}"
    return TrainResult(recipe.steps, time.monotonic() - begun, first, last, final)


class Trainer:
    """Network, optimizer and average of one run, moved forward a step at a time; made with the arguments of `train`.

    Attributes:
        step: Optimizer steps taken.
        average: Averaged weights.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        batches: GetBatch,
        step_loss: StepLoss,
        recipe: TrainRecipe,
        run: Path,
        *,
        config: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.processes = Processes(device)
        self.recipe, self.run, self.config = recipe, run, config
        self._batches, self._step_loss = batches, step_loss
        self._part = _part_size(recipe, self.processes.world)
        self.model = model.to(self.processes.device).train()
        # before anything holds on to the weights
        self._shared = self.processes.shared(self.model)
        parameters = [p for p in model.parameters() if p.requires_grad]
        fused = self.processes.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0, fused=fused)
        self.average = Average(model)
        self.step = self._resume()

    def take_step(self, stop: list[int], is_old: Callable[[], bool]) -> tuple[dict[str, float], bool, bool]:
        """One optimizer step.

        Args:
            stop: Signals this process received so far.
            is_old: Whether the newest checkpoint is old.

        Returns:
            The row of the log; whether any process is to stop; whether process 0 finds the checkpoint old.

        Raises:
            UserError: The loss is no number.
        """
        begun = time.monotonic()
        recipe, processes, step = self.recipe, self.processes, self.step
        batch = processes.share(self._batches, step, recipe.batch_size)
        waited = time.monotonic() - begun
        rate = recipe.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with bfloat16_by_float32(processes.device) if recipe.bf16 else nullcontext():
            sums = self._gradients(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.average.update(min(recipe.ema_decay, (step + 1) / (step + 10)))
        # the only place where the device is waited for, after all work of the step is queued; all processes learn the
        # same, so that they save and stop at the same step
        flags = sums.new_tensor([bool(stop), processes.is_main and is_old()])
        *losses, stops, due = processes.sum(torch.cat([sums, flags]))
        row = loss_row(losses)
        if not math.isfinite(row["loss"]):
            raise UserError(f"training diverged at step {step}: the loss is {row['loss']}; lower train.learning_rate")
        self.step = step + 1
        seconds = time.monotonic() - begun
        row = {"step": self.step, **row, "grad_norm": float(norm), "learning_rate": rate}
        return row | {"seconds": round(seconds, 4), "wait_seconds": round(waited, 4)}, stops > 0, due > 0

    def _gradients(self, batch: Batch) -> torch.Tensor:
        """Backward passes over this process's share of the batch, part by part; returns the sums for the log."""
        recipe, processes = self.recipe, self.processes
        share, part = recipe.batch_size // processes.world, self._part
        sums = []
        for start in range(0, share, part):
            place = processes.rank * share + start
            first = self.step * recipe.batch_size + place
            generator = step_generator(recipe.seed, self.step, first, first + part)
            # dropout: the only draw that depends on how a batch is split
            torch.manual_seed(step_seed(recipe.seed, self.step) + place)
            with nullcontext() if start + part == share else processes.no_sync(self._shared):
                with torch.autocast(processes.device.type, torch.bfloat16, enabled=recipe.bf16):
                    losses = self._step_loss(self._shared, batch_rows(batch, start, start + part), generator)
                (losses.total * (part / share)).backward()
            sums.append(loss_sums(losses))
        return torch.stack(sums).sum(0)

    def save(self) -> Path:
        """Publish a checkpoint of this step."""
        recipe = self.recipe
        return checkpoint.save(
            self.run / "checkpoints",
            self.step,
            self.model,
            self.average.tensors,
            self.optimizer,
            self.config,
            keep=recipe.keep_last,
            keep_every=recipe.keep_every,
        )

    def _resume(self) -> int:
        """Load the newest checkpoint and return its step, or 0."""
        found = checkpoint.latest(self.run / "checkpoints")
        if found is None:
            return 0
        if found.config != self.config:
            raise UserError(
                f"{self.run}: holds a run with another configuration (differs in {_differing(found, self.config)}); "
                "give another --out, or delete that folder to start again"
            )
        self.model.load_state_dict(found.weights("model"))
        self.average.load(found.weights("ema"))
        checkpoint.restore_optimizer(found, self.optimizer)
        return found.step


def _differing(found: checkpoint.Checkpoint, config: dict[str, Any]) -> str:
    """What is not as in a checkpoint, one level deep: ``train.bf16, which is true there and false here``."""
    held, asked = (
        {
            f"{name}.{inner}" if inner else name: value
            for name, part in of.items()
            for inner, value in (part.items() if part and isinstance(part, dict) else [("", part)])
        }
        for of in (found.config, config)
    )
    names = sorted(name for name in held.keys() | asked.keys() if held.get(name, ...) != asked.get(name, ...))
    one, other = (json.dumps(of.get(names[0])) for of in (held, asked))
    return f"{names[0]}, which is {one} there and {other} here" if len(names) == 1 else ", ".join(names)


def _part_size(recipe: TrainRecipe, world: int) -> int:
    """Clips of one backward pass.

    Raises:
        UserError: The batch cannot be divided so.
    """
    parts = world * recipe.accumulate
    if recipe.batch_size % parts:
        raise UserError(
            f"train.batch_size = {recipe.batch_size} cannot be divided into {world} processes x "
            f"{recipe.accumulate} micro-batches; make it a multiple of {parts}"
        )
    return recipe.batch_size // parts


class _Output:
    """What process 0 writes while it trains, and nothing in any other: log, bar, checkpoints, pictures, page."""

    def __init__(self, trainer: Trainer, reporter: Reporter, preview: Preview | None) -> None:
        self._trainer, self._reporter, self._preview = trainer, reporter, preview
        self._recent: deque[tuple[float, float]] = deque(maxlen=_SHOWN_STEPS)
        self._saved, self._drawn = time.monotonic(), -math.inf
        self._exit = ExitStack()
        self._path = trainer.run / "log.jsonl"
        self._log: TextIO | None = None
        self.rows: list[dict[str, float]] = []

    def __enter__(self) -> _Output:
        trainer, recipe = self._trainer, self._trainer.recipe
        with ExitStack() as stack:
            if trainer.processes.is_main:
                self.rows = truncate_log(self._path, trainer.step)
                self._log = stack.enter_context(open(self._path, "a"))
                names = recipe.track if trainer.step < recipe.steps else ()
                self._track = stack.enter_context(trackers(names, trainer.run, trainer.config, trainer.step))
                self._bar = stack.enter_context(self._reporter.bar("train", total=recipe.steps, unit="step"))
                self._bar.advance(trainer.step)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._exit.__exit__(*error)

    def is_old(self) -> bool:
        """Whether the newest checkpoint is so old that losing what came since would hurt."""
        return time.monotonic() - self._saved > _SAVE_AFTER_S

    def show(self, row: dict[str, float]) -> None:
        """One row more."""
        self.rows.append(row)
        if self._log is None:
            return
        with workspace.writing(self._path):
            self._log.write(json.dumps(row) + "\n")
            self._log.flush()
        self._track(row)
        self._recent.append((row["loss"], row["seconds"]))
        loss, seconds = (sum(each) / len(self._recent) for each in zip(*self._recent, strict=True))
        self._bar.advance(1, f"loss {loss:.4f}  {self._trainer.recipe.batch_size / seconds:.3g} clips/s")

    def save(self, *, sample: bool, ends: bool) -> None:
        """Make the log durable up to this step, publish the checkpoint, then draw."""
        trainer = self._trainer
        if self._log is not None:
            if not self._path.exists():
                raise UserError(f"{trainer.run}: was taken away while it was trained; put it back, or train it anew")
            with workspace.writing(self._path):
                os.fsync(self._log.fileno())
            trainer.save()
            if sample and self._preview is not None and trainer.recipe.sample_every:
                write_sheet(self._preview(), trainer.run / sheet_name(trainer.step))
            if ends or time.monotonic() - self._drawn > _DRAW_AFTER_S:
                page.write(trainer.run, self.rows, trainer.recipe.model_dump(mode="json"))
                self._drawn = time.monotonic()
        # the others must not look for this checkpoint, nor wait in the middle of a step, before it is there
        trainer.processes.wait()
        self._saved = time.monotonic()


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
