"""Training resumes to the same weights, refuses another configuration, and its loss falls on a toy problem."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from avbench.diffusion.noise_schedule import PairLoss
from avbench.errors import UserError
from avbench.progress import Bar, Reporter
from avbench.recipe_baseline import TrainRecipe
from avbench.schema import Batch
from avbench.training import checkpoint
from avbench.training.average import Average
from avbench.training.log import read_log
from avbench.training.loop import train
from tests.training import toy

CPU = torch.device("cpu")


def toy_batch(step: int, size: int) -> Batch:
    audio = torch.randn(size, 1, 8, generator=torch.Generator().manual_seed(step))
    return Batch(torch.zeros(size, 1, 3, 2, 2, dtype=torch.uint8), audio, tuple(map(str, range(size))))


def toy_loss(model: torch.nn.Module, batch: Batch, generator: torch.Generator) -> PairLoss:
    """Learn to double the sound; noise from the step's generator makes an unseeded draw visible."""
    noise = 0.1 * torch.randn(batch.audio.shape, generator=generator)
    error = (model(batch.audio) - 2 * batch.audio - noise).square().flatten(1).mean(1)
    return PairLoss(error, torch.zeros_like(error))


def toy_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.1), torch.nn.Linear(16, 8))


def recipe(steps: int) -> TrainRecipe:
    return TrainRecipe(steps=steps, batch_size=4, learning_rate=1e-2, ema_decay=0.9, checkpoint_every=5, warmup_steps=3)


def run(folder: Path, steps: int, reporter: Reporter | None = None, config: dict[str, Any] | None = None) -> Path:
    result = train(
        toy_model(), toy_batch, toy_loss, recipe(steps), folder, config=config or {"a": 1}, device=CPU,
        reporter=reporter or Reporter(),
    )  # fmt: skip
    return result.checkpoint


class StopAt(Reporter):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def bar(self, description: str, total: float | None, unit: str = ""):  # type: ignore[no-untyped-def]
        stop = self.step

        class Stopping(Bar):
            seen = 0.0

            def advance(self, amount: float = 1.0, note: str = "") -> None:
                self.seen += amount
                if note and self.seen >= stop:
                    raise KeyboardInterrupt

        return nullcontext(Stopping())


@pytest.mark.parametrize("stop", [1, 7, 11])
def test_an_interrupted_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path, stop: int) -> None:
    whole = run(tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", 12, StopAt(stop))
    resumed = run(tmp_path / "broken", 12)
    for name in ("model", "ema", "optimizer"):
        want, got = load_file(whole / f"{name}.safetensors"), load_file(resumed / f"{name}.safetensors")
        assert want.keys() == got.keys()
        assert all(torch.equal(want[k], got[k]) for k in want), name
    rows = [json.loads(line)["step"] for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert rows == list(range(1, 13))


class SignalAt(StopAt):
    """Sends this process a signal while step ``step`` runs, as a terminal or a scheduler does."""

    number = signal.SIGINT

    def bar(self, description: str, total: float | None, unit: str = ""):  # type: ignore[no-untyped-def]
        step, number = self.step, self.number

        class Sending(Bar):
            seen = 0.0

            def advance(self, amount: float = 1.0, note: str = "") -> None:
                self.seen += amount
                if note and self.seen == step:
                    os.kill(os.getpid(), number)

        return nullcontext(Sending())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_and_saves_it(tmp_path: Path, number: signal.Signals) -> None:
    whole = run(tmp_path / "whole", 12)
    reporter = SignalAt(7)
    reporter.number = number
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        run(tmp_path / "broken", 12, reporter)
    saved = checkpoint.latest(tmp_path / "broken" / "checkpoints")
    assert saved is not None
    assert saved.step == 7
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = run(tmp_path / "broken", 12)
    want, got = load_file(whole / "ema.safetensors"), load_file(resumed / "ema.safetensors")
    assert all(torch.equal(want[k], got[k]) for k in want)


def test_a_signal_in_the_last_step_ends_the_command_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 7, SignalAt(7))
    saved = checkpoint.latest(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.step == 7


def test_a_run_that_is_taken_away_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    class Mover(StopAt):
        def bar(self, description: str, total: float | None, unit: str = ""):  # type: ignore[no-untyped-def]
            class Moving(Bar):
                def advance(self, amount: float = 1.0, note: str = "") -> None:
                    if note and not (tmp_path / "away").exists():
                        (tmp_path / "run").rename(tmp_path / "away")

            return nullcontext(Moving())

    with pytest.raises(UserError, match="run: was taken away while it was trained; put it back"):
        run(tmp_path / "run", 12, Mover(0))
    assert not (tmp_path / "run").exists()


def test_the_loss_falls_and_the_log_shows_it(tmp_path: Path) -> None:
    result = train(toy_model(), toy_batch, toy_loss, recipe(200), tmp_path, config={}, device=CPU)
    assert result.final_loss < 0.2 * result.first_loss
    assert result.steps == 200


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first = run(tmp_path, 6)
    before = (first / "ema.safetensors").read_bytes()
    assert run(tmp_path, 6) == first
    assert (first / "ema.safetensors").read_bytes() == before


def test_a_run_may_be_trained_further_and_not_back(tmp_path: Path) -> None:
    run(tmp_path / "short", 6)
    longer, whole = run(tmp_path / "short", 12), run(tmp_path / "whole", 12)
    want, got = load_file(whole / "model.safetensors"), load_file(longer / "model.safetensors")
    assert all(torch.equal(want[k], got[k]) for k in want)
    with pytest.raises(UserError, match="is trained for 12 steps already, more than the 6 asked for"):
        run(tmp_path / "short", 6)


def test_another_configuration_is_refused_by_the_name_of_what_differs(tmp_path: Path) -> None:
    run(tmp_path, 5)
    with pytest.raises(UserError, match=r"differs in a, which is 1 there and 2 here\)"):
        run(tmp_path, 5, config={"a": 2})
    with pytest.raises(UserError, match=r"differs in a, train\)"):
        run(tmp_path, 5, config={"train": {}})
    with pytest.raises(UserError, match=r"differs in a, train\.bf16\)"):
        run(tmp_path, 5, config={"train": {"bf16": True}})


def test_a_loss_that_is_no_number_stops_training(tmp_path: Path) -> None:
    def bad(model: torch.nn.Module, batch: Batch, generator: torch.Generator) -> PairLoss:
        loss = toy_loss(model, batch, generator)
        return PairLoss(loss.video * torch.nan, loss.audio)

    with pytest.raises(UserError, match="diverged at step 0"):
        train(toy_model(), toy_batch, bad, recipe(3), tmp_path, config={}, device=CPU)


def test_the_averaged_weights_follow_the_model_and_differ_from_it(tmp_path: Path) -> None:
    path = run(tmp_path, 20)
    model, ema = load_file(path / "model.safetensors"), load_file(path / "ema.safetensors")
    gaps = [float((model[k] - ema[k]).abs().max()) for k in model]
    assert all(0 < gap < 0.2 for gap in gaps)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = run(tmp_path, 5)
    (path / "ema.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"ema\.safetensors: not a checkpoint"):
        checkpoint.latest(tmp_path / "checkpoints")


def test_old_checkpoints_are_removed(tmp_path: Path) -> None:
    run(tmp_path, 20)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000015", "step-00000020"]


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").iterdir())


def test_checkpoints_of_every_nth_step_are_kept_for_good(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.recipe(14, checkpoint_every=2, keep_last=3, keep_every=4))
    assert kept(tmp_path) == [4, 8, 10, 12, 14]


def test_what_is_kept_and_shown_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    first, second = toy.recipe(6), toy.recipe(12, keep_last=1, keep_every=5, activation_checkpointing=True)
    toy.run(tmp_path, first, config=first.defining())
    toy.run(tmp_path, second, config=second.defining())
    other = toy.recipe(12, accumulate=2)
    with pytest.raises(UserError, match="differs in accumulate"):
        toy.run(tmp_path, other, config=other.defining())


def test_the_bar_shows_loss_and_clips_per_second(tmp_path: Path) -> None:
    notes: list[str] = []

    class Noting(Reporter):
        def bar(self, description: str, total: float | None, unit: str = ""):  # type: ignore[no-untyped-def]
            class Heard(Bar):
                def advance(self, amount: float = 1.0, note: str = "") -> None:
                    notes.append(note)

            return nullcontext(Heard())

    toy.run(tmp_path, toy.recipe(5), reporter=Noting())
    assert notes[0] == ""
    rows = read_log(tmp_path / "log.jsonl")
    assert f"loss {sum(row['loss'] for row in rows) / 5:.4f}" in notes[-1]
    assert all(re.fullmatch(r"loss \d+\.\d{4}  [\d.e+]+ clips/s", note) for note in notes[1:])


def test_an_average_follows_floating_weights_and_copies_counters() -> None:
    layer = torch.nn.BatchNorm1d(2)
    average = Average(layer)
    with torch.no_grad():
        layer.weight += 1.0
        layer.num_batches_tracked += 7
    average.update(0.75)
    assert torch.allclose(average.tensors["weight"], torch.full((2,), 1.25))
    assert average.tensors["num_batches_tracked"] == 7
