"""MM-Diffusion trained at toy width with the settings of a recipe that spare memory and show samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from avbench.baselines import mmdiffusion
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
    whole = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(
        "avbench.models.mmdiffusion.checkpoint", lambda *args, **kw: [calls.append(1), whole(*args, **kw)][1]
    )
    kept = run(dataset, tmp_path / "kept")
    assert not calls
    again = run(dataset, tmp_path / "again", activation_checkpointing=True)
    assert calls
    want, got = (load_file(result.checkpoint / "model.safetensors") for result in (kept, again))
    assert all(torch.equal(want[name], got[name]) for name in want)


def test_samples_are_drawn_during_training_and_change_no_weight(dataset: Path, tmp_path: Path) -> None:
    plain = run(dataset, tmp_path / "plain")
    shown = run(dataset, tmp_path / "shown", sample_every=1)
    want, got = (load_file(result.checkpoint / "model.safetensors") for result in (plain, shown))
    assert all(torch.equal(want[name], got[name]) for name in want)
    assert Image.open(tmp_path / "shown" / "samples-000001.png").size == (8 * 96 + 6 + 256, 4 * 96 + 3 * 6)
    assert "samples-000002.png" in (tmp_path / "shown" / "run.html").read_text()
