"""MM-Diffusion trained and sampled at toy width: resumes, and samples do not depend on how they are batched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.baselines import _base, mmdiffusion
from avbench.inputs.conditions import Conditions
from avbench.models.mmdiffusion import PRESETS, MMDiffusionConfig
from avbench.recipe_baseline import BaselineRecipe
from tests.training.rendered_sets import write_dataset

CPU = torch.device("cpu")
TOY = MMDiffusionConfig(
    video_size=(16, 3, 8, 8),
    audio_size=(1, 25600),
    model_channels=16,
    channel_mult=(1, 1),
    num_res_blocks=1,
    cross_attention_resolutions=(2,),
    windows=(4,),
    cross_head_channels=16,
    video_attention_resolutions=(2,),
    attention_heads=2,
    norm_groups=8,
)


def recipe(**sample: object) -> BaselineRecipe:
    return BaselineRecipe.model_validate(
        {
            "baseline": "mmdiffusion",
            "preset": "toy",
            "protocol": "demo-v1",
            "train": {"steps": 2, "batch_size": 2, "checkpoint_every": 1},
            "sample": {"n": 3, "steps": 2, "batch_size": 2, **sample},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        folder = tmp_path_factory.mktemp("toy")
        mmdiffusion.train(write_dataset(folder / "data"), recipe(), folder / "run", device=CPU)
        yield folder / "run"


def read(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path)["video"] for path in sorted(folder.glob("*.npz"))}


@pytest.mark.slow
def test_samples_are_written_with_sound_and_without_loss(run: Path) -> None:
    from avbench import media

    made, already = _base.write_samples(run, recipe(), device=CPU)
    assert (made, already) == (3, 0)
    clip = np.load(run / "samples" / "sample-00001.npz")
    assert clip["video"].shape == (16, 8, 8, 3)
    assert clip["audio"].shape == (1, 25600)
    info = media.probe(run / "samples" / "sample-00001.mp4")
    assert (info.n_frames, info.fps, info.has_audio) == (16, 10.0, True)
    card = (run / "samples" / "samples.json").read_text()
    assert _base.write_samples(run, recipe(), device=CPU) == (0, 3)
    assert (run / "samples" / "samples.json").read_text() == card, "else the same run would have another score"


@pytest.mark.slow
def test_more_samples_leave_the_first_ones_and_another_seed_replaces_them(run: Path) -> None:
    _base.write_samples(run, recipe(), device=CPU)
    first = read(run / "samples")
    assert _base.write_samples(run, recipe(n=4, batch_size=1), device=CPU) == (1, 3)
    second = read(run / "samples")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert _base.write_samples(run, recipe(seed=9), device=CPU) == (3, 0)
    assert not np.array_equal(read(run / "samples")["sample-00000"], first["sample-00000"])


@pytest.mark.slow
def test_what_is_missing_is_made_in_the_batch_it_was_in(run: Path) -> None:
    """The last digits of a network's sums depend on the batch: the same command is to leave the same bytes."""
    asked = recipe(n=5, batch_size=4, seed=3)
    assert _base.write_samples(run, asked, device=CPU) == (5, 0)
    before = {path.name: path.read_bytes() for path in (run / "samples").glob("*.npz")}
    for number in (3, 4):
        (run / "samples" / f"sample-{number:05d}.mp4").unlink()
        (run / "samples" / f"sample-{number:05d}.npz").unlink()
    assert _base.write_samples(run, asked, device=CPU) == (2, 3)
    assert {path.name: path.read_bytes() for path in (run / "samples").glob("*.npz")} == before


@pytest.mark.slow
def test_samples_do_not_depend_on_the_batch_size(run: Path) -> None:
    _base.write_samples(run, recipe(), device=CPU)
    whole = read(run / "samples")
    for path in (run / "samples").glob("sample-*"):
        path.unlink()
    _base.write_samples(run, recipe(batch_size=1), device=CPU)
    for name, video in read(run / "samples").items():
        # float32 kernels of another batch size may move a grey level
        assert np.abs(video.astype(int) - whole[name].astype(int)).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("task", ["joint", "v2a"])
def test_bfloat16_makes_nearly_the_same_clips_and_says_so(run: Path, task: str) -> None:
    """A guided sound needs a gradient through the network, too."""
    given: dict[str, object] = {"task": task, "source": str(run.parent / "data"), "split": "train", "method": "both"}
    sounds, cards = [], []
    for options in ({}, {"bf16": True}):
        asked = recipe(**({} if task == "joint" else {"condition": given}), **options)
        condition = asked.sample.condition
        conditions = condition and Conditions(run.parent / "data", condition, _base.given_window(run, asked))
        _base.write_samples(run, asked, device=CPU, conditions=conditions)
        folder = _base.samples_folder(run, asked)
        sounds.append(np.load(folder / "sample-00000.npz")["audio"])
        cards.append(json.loads((folder / "samples.json").read_text()))
    assert 0 < np.abs(sounds[0] - sounds[1]).mean() < 0.02 * np.abs(sounds[0]).mean()
    assert "bf16" not in cards[0]["sample"]
    assert cards[1]["sample"]["bf16"] is True
