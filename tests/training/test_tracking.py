"""Losses reach TensorBoard and Weights & Biases without a network; without the packages there is one sentence."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from avbench.errors import UserError
from avbench.training.log import read_log
from tests.training import toy


def test_tensorboard_has_every_row_once_also_after_a_resume(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy.run(tmp_path, toy.recipe(6, track=("tensorboard",)))
    toy.run(tmp_path, toy.recipe(9, track=("tensorboard",)))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = read_log(tmp_path / "log.jsonl")
    for name, title in (("loss", "loss"), ("loss_video", "loss/video"), ("grad_norm", "grad_norm")):
        found = events.Scalars(title)
        assert [event.step for event in found] == list(range(1, 10))
        assert [event.value for event in found] == pytest.approx([row[name] for row in rows], rel=1e-6)
    assert "loss/audio_q4" in events.Tags()["scalars"]


@pytest.mark.slow
def test_wandb_writes_its_files_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    toy.run(tmp_path, toy.recipe(3, track=("wandb",)), config={"preset": "toy"})
    (stored,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    # a process of W&B writes it, on a loaded machine after the training has ended
    until = time.monotonic() + 120
    while b"loss/video_q" not in stored.read_bytes():
        assert time.monotonic() < until, f"{stored.stat().st_size} bytes and no loss in them"
        time.sleep(0.1)


def test_wandb_that_does_not_start_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"No API key configured\. Use .*; log in with .* or set WANDB_MODE=offline"):
        toy.run(tmp_path, toy.recipe(3, track=("wandb",)))


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"package {name} is missing; install it with .*avbench\[track\]"):
        toy.run(tmp_path, toy.recipe(3, track=(name,)))


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.recipe(3))
    assert not (tmp_path / "tensorboard").exists()
    assert not (tmp_path / "wandb").exists()
