"""Samples of a run that are given a part of a clip: it is in them unchanged, and the record says where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.baselines import _base, mmdiffusion
from avbench.errors import UserError
from avbench.inputs.conditions import Conditions
from avbench.models.mmdiffusion import PRESETS
from avbench.recipe_baseline import BaselineRecipe
from tests.baselines.test_mmdiffusion_run import CPU, TOY, recipe
from tests.training.rendered_sets import write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a dataset of three clips in ``data`` and a run trained on it in ``run``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        folder = tmp_path_factory.mktemp("toy")
        mmdiffusion.train(write_dataset(folder / "data"), recipe(), folder / "run", device=CPU)
        yield folder


def given(source: Path, **condition: Any) -> BaselineRecipe:
    return recipe(condition={"source": str(source), "split": "train", **condition})


def sampled(toy: Path, chosen: BaselineRecipe) -> tuple[Path, dict[str, Any], Conditions]:
    condition = chosen.sample.condition
    assert condition is not None
    conditions = Conditions(Path(condition.source), condition, _base.given_window(toy / "run", chosen))
    _base.write_samples(toy / "run", chosen, device=CPU, conditions=conditions)
    folder = _base.samples_folder(toy / "run", chosen)
    return folder, json.loads((folder / "samples.json").read_text()), conditions


@pytest.mark.parametrize("method", [{}, {"method": "both", "scale": 2.0}], ids=["replace", "both"])
def test_a_picture_gets_a_sound_and_stays_as_it_was(toy: Path, method: dict[str, Any]) -> None:
    folder, card, conditions = sampled(toy, given(toy / "data", task="v2a", **method))
    assert folder.name == "samples-v2a"
    for number in range(3):
        made, want = np.load(folder / f"sample-{number:05d}.npz"), conditions.clip(number)
        assert np.array_equal(made["video"], want.video)
        assert card["sources"][f"sample-{number:05d}"] == want.source
    assert {entry["clip"] for entry in card["sources"].values()} == {"c0_0000", "c1_0000", "c2_0000"}
    condition = card["sample"]["condition"]
    assert (condition["task"], condition["method"]) == ("v2a", method.get("method", "replace"))
    assert condition["scale"] == method.get("scale")
    assert (card["given"]["name"], card["given"]["split"]) == ("toy", "train")


def test_a_sound_gets_a_picture_and_stays_as_it_was_though_it_is_out_of_range(toy: Path) -> None:
    folder, _, conditions = sampled(toy, given(toy / "data", task="a2v"))
    for number in range(3):
        assert np.array_equal(np.load(folder / f"sample-{number:05d}.npz")["audio"], conditions.clip(number).audio)


def test_a_clip_is_continued(toy: Path) -> None:
    folder, _, conditions = sampled(toy, given(toy / "data", task="continue", keep="0-0.8"))
    made, want = np.load(folder / "sample-00001.npz"), conditions.clip(1)
    assert np.array_equal(made["video"][:8], want.video[:8])
    assert np.array_equal(made["audio"][:, :12800], want.audio[:, :12800])
    assert not np.array_equal(made["video"][8:], want.video[8:])
    assert not np.isclose(made["audio"][:, 12800:], want.audio[:, 12800:]).all()


def test_the_clips_of_a_model_can_be_given_and_an_interrupted_call_goes_on(toy: Path) -> None:
    _base.write_samples(toy / "run", recipe(), device=CPU)
    chosen = given(toy / "run" / "samples", task="v2a")
    folder, card, conditions = sampled(toy, chosen)
    assert card["given"]["clips"] == 3
    assert card["sources"]["sample-00002"]["clip"] == "sample-00002.npz"
    assert np.array_equal(
        np.load(folder / "sample-00002.npz")["video"], np.load(toy / "run/samples/sample-00002.npz")["video"]
    )
    before = dict(np.load(folder / "sample-00000.npz"))
    del card["sources"]["sample-00000"]  # as after a kill between two writings of the card
    (folder / "samples.json").write_text(json.dumps(card))
    assert _base.write_samples(toy / "run", chosen, device=CPU, conditions=conditions) == (1, 2)
    again = np.load(folder / "sample-00000.npz")
    assert np.array_equal(again["video"], before["video"])
    # made alone now, with another before: kernels of another batch size may differ in the last bits
    assert np.allclose(again["audio"], before["audio"], atol=1e-4)


def test_more_samples_than_clips_take_other_windows_of_them(toy: Path) -> None:
    chosen = given(toy / "data", task="v2a")
    assert chosen.sample.condition is not None
    conditions = Conditions(toy / "data", chosen.sample.condition, _base.given_window(toy / "run", chosen))
    sources = [conditions.clip(number).source for number in range(30)]
    assert [source["clip"] for source in sources[:6]] == ["c0_0000", "c1_0000", "c2_0000"] * 2
    assert len({source["window"] for source in sources}) > 10


def test_a_clip_that_is_too_short_is_named(toy: Path, tmp_path: Path) -> None:
    for name, frames in (("a", 16), ("b", 9)):
        np.savez(
            tmp_path / f"{name}.npz", video=np.zeros((frames, 8, 8, 3), np.uint8),
            audio=np.zeros((1, frames * 1600), np.float32), fps=10.0, sample_rate_hz=16000,
        )  # fmt: skip
    chosen = given(tmp_path, task="v2a")
    with pytest.raises(
        UserError, match=r"task v2a cannot be given a clip: b.npz: shorter than one .*; mend it or take"
    ):
        sampled(toy, chosen)
