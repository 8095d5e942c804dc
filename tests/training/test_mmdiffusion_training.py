"""MM-Diffusion trained at toy width with the settings of a recipe that spare memory and show samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from avbench.baselines import _base, mmdiffusion
from avbench.models import bfloat16
from avbench.models.mmdiffusion import PRESETS
from avbench.training.loop import TrainResult
from tests.baselines.test_mmdiffusion_run import CPU, TOY, recipe
from tests.training.rendered_sets import write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("toy") / "data")


@pytest.fixture(autouse=True)
def _toy_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "toy", TOY)


def run(dataset: Path, folder: Path, **fields: object) -> TrainResult:
    usual = recipe()
    changed = usual.model_copy(update={"train": usual.train.model_copy(update=fields)})
    return mmdiffusion.train(dataset, changed, folder, device=CPU)


def test_activation_checkpointing_gives_the_same_weights_and_is_used(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    whole = bfloat16.checkpoint
    monkeypatch.setattr("avbench.models.mmdiffusion.checkpoint", lambda *args: [calls.append(1), whole(*args)][1])
    kept = run(dataset, tmp_path / "kept")
    assert not calls
    again = run(dataset, tmp_path / "again", activation_checkpointing=True)
    assert calls
    want, got = (load_file(result.checkpoint / "model.safetensors") for result in (kept, again))
    assert all(torch.equal(want[name], got[name]) for name in want)


def test_bfloat16_is_computed_in_float32_where_a_processor_has_none(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfloat16, "has_bfloat16", lambda device: False)
    product, calls = bfloat16._PRODUCTS[F.linear], []
    monkeypatch.setitem(bfloat16._PRODUCTS, F.linear, lambda *args: [calls.append(args[0].dtype), product(*args)][1])
    kept = run(dataset, tmp_path / "kept", bf16=True)
    assert set(calls) == {torch.bfloat16}
    again = run(dataset, tmp_path / "again", bf16=True, activation_checkpointing=True)
    want, got = (load_file(result.checkpoint / "model.safetensors") for result in (kept, again))
    assert all(torch.equal(want[name], got[name]) for name in want)
    exact = run(dataset, tmp_path / "exact")
    assert 0 < abs(kept.final_loss / exact.final_loss - 1) < 0.01
    calls.clear()
    half = recipe().model_copy(update={"sample": recipe().sample.model_copy(update={"bf16": True, "n": 1})})
    assert _base.write_samples(tmp_path / "kept", half, device=CPU) == (1, 0)
    assert set(calls) == {torch.bfloat16}


def test_samples_are_drawn_during_training_and_change_no_weight(dataset: Path, tmp_path: Path) -> None:
    plain = run(dataset, tmp_path / "plain")
    shown = run(dataset, tmp_path / "shown", sample_every=1)
    want, got = (load_file(result.checkpoint / "model.safetensors") for result in (plain, shown))
    assert all(torch.equal(want[name], got[name]) for name in want)
    assert Image.open(tmp_path / "shown" / "samples-000001.png").size == (8 * 96 + 6 + 256, 4 * 96 + 3 * 6)
    assert "samples-000002.png" in (tmp_path / "shown" / "run.html").read_text()
