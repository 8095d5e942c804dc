"""A joint pipeline of diffusers: the real classes of LTX-2 in miniature, saved to disk and loaded from there."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from avbench import media, recipe as recipes
from avbench.baselines import external
from avbench.baselines._external_pipeline import Maker, complaints, pipeline_class
from avbench.errors import UserError
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import Pipeline
from tests.baselines import ltx2_tiny as ltx2
from tests.baselines.external_program import texts
from tests.servers import HubServer

CPU = torch.device("cpu")
PROMPTS = texts("a bell rings", "rain falls")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved pipeline."""
    return ltx2.save_ltx2(tmp_path_factory.mktemp("ltx2") / "pipeline")


def recipe(weights: Path | None, n: int = 2, seed: int = 0, **expected: Any) -> BaselineRecipe:
    """The shipped recipe of LTX-2 at toy size."""
    data = recipes.load(recipes.find("baselines", "external-ltx2"), BaselineRecipe).model_dump(mode="json")
    data["sample"] |= {"n": n, "seed": seed}
    data["external"]["pipeline"] |= {"arguments": ltx2.ARGUMENTS, "dtype": "float32", "weights": str(weights or "")}
    data["external"]["expected"] = {"frames": ltx2.FRAMES, "fps": ltx2.FPS, "width": 32, "height": 32, **expected}
    return recipes.parse(data, BaselineRecipe, "recipe")


def make(run: Path, of: BaselineRecipe, accept: bool = True) -> tuple[int, int]:
    return external.write_samples(run, of, prompts=PROMPTS, device=CPU, accept_licence=accept)


def pictures(run: Path, number: int) -> np.ndarray:
    return media.decode_video(run / "samples" / f"sample-{number:05d}.mp4").astype(int)


@pytest.mark.slow
def test_clips_have_picture_and_sound_and_depend_on_prompt_and_number_alone(weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert make(run, recipe(weights, n=2)) == (2, 0)
    info = media.probe(run / "samples" / "sample-00000.mp4")
    assert (info.n_frames, info.fps, info.width, info.height) == (ltx2.FRAMES, ltx2.FPS, 32, 32)
    assert (info.sample_rate_hz, info.channels) == (ltx2.RATE_HZ, 2)
    assert abs(info.audio_end_s - ltx2.FRAMES / ltx2.FPS) < 0.1
    card = json.loads((run / "samples" / "samples.json").read_text())
    assert card["prompts"] == {"sample-00000": "a bell rings", "sample-00001": "rain falls"}
    assert card["sample"]["steps"] == 2
    assert card["generator"]["weights"]
    assert make(run, recipe(weights, n=3)) == (1, 2)
    first, again = pictures(run, 0), pictures(run, 2)
    assert np.abs(first - again).max() > 8, "the same prompt with another number is another clip"
    other = tmp_path / "other"
    (other / "samples").mkdir(parents=True)
    make(other, recipe(weights, n=1))
    name = "samples/sample-00000.mp4"
    assert (other / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.slow
def test_seed_and_prompt_change_a_clip(weights: Path, tmp_path: Path) -> None:
    films = set()
    for seed, prompt in ((0, "a bell rings"), (1, "a bell rings"), (0, "rain falls")):
        (outcome,) = (
            replace(each, value=each.value.path.read_bytes())  # a clip is gone when the next one is asked for
            for each in Maker(recipe(weights, seed=seed), CPU).make(tmp_path, [0], texts(prompt))
            if each.value
        )
        films.add(outcome.value)
    assert len(films) == 3


@pytest.mark.slow
def test_a_clip_of_another_length_than_said_is_a_failure(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no clip could be made; the last: .*which has 17 frames where 121 belong"):
        make(tmp_path / "run", recipe(weights, n=1, frames=121))


@pytest.mark.slow
def test_a_licence_is_asked_for_and_a_folder_must_hold_the_pipeline(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights: the licence is LTX-2\.x Community License Agreement"):
        make(tmp_path / "run", recipe(weights), accept=False)
    with pytest.raises(UserError, match=r"holds no model_index\.json"):
        make(tmp_path / "run", recipe(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    index = json.loads((weights / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps({**index, "_class_name": "LTX2HDRPipeline"}))
    for part in index:
        if (weights / part).is_dir():
            (other / part).symlink_to(weights / part)
    with pytest.raises(UserError, match="holds a LTX2HDRPipeline, the recipe is for LTX2Pipeline"):
        make(tmp_path / "run", recipe(other))
    (other / "model_index.json").write_text(json.dumps(index))
    (other / "transformer").unlink()
    with pytest.raises(UserError, match="cannot be loaded as LTX2Pipeline"):
        make(tmp_path / "run", recipe(other))


@pytest.mark.slow
def test_weights_come_from_the_hub_and_the_card_has_their_commit(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's list of files is all that the pipeline needs, and each of its patterns is in the repository."""
    (weights / "ltx-2-19b-dev.safetensors").write_bytes(b"a file for other programs")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    chosen = recipe(None, n=1).external
    assert chosen is not None
    assert chosen.pipeline is not None
    commit = chosen.pipeline.revision
    assert re.fullmatch("[0-9a-f]{40}", commit)
    with HubServer({"Lightricks/LTX-2": weights}, commits={"Lightricks/LTX-2": commit}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        shown = external.plan(tmp_path / "run", recipe(None, n=1), prompts=PROMPTS, accept_licence=False)
        assert any(f"Lightricks/LTX-2 at {commit}, fetched at the start: not on this machine" in x for x in shown)
        assert make(tmp_path / "run", recipe(None, n=1)) == (1, 0)
    card = json.loads((tmp_path / "run" / "samples" / "samples.json").read_text())
    assert card["generator"]["weights"] == commit
    assert not list((tmp_path / "cache").rglob("ltx-2-19b*"))
    shown = external.plan(tmp_path / "run", recipe(None, n=1), prompts=PROMPTS, accept_licence=False)
    assert any(f"Lightricks/LTX-2 at {commit}, on this machine" in line for line in shown)
    assert make(tmp_path / "run", recipe(None, n=1)) == (0, 1), "nothing is asked of a hub that is gone"


@pytest.mark.slow
def test_a_class_that_diffusers_lacks_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no pipeline of diffusers called 'LTX3Pipeline'; did you mean LTX"):
        pipeline_class("LTX3Pipeline")
    nameless = Pipeline(name="LTX2Pipeline")
    assert complaints(nameless, "ltx2") == ["nobody has said where its weights are; set AVBENCH_LTX2_WEIGHTS"]
    monkeypatch.setenv("AVBENCH_LTX2_WEIGHTS", os.devnull)
    assert "holds no model_index.json" in complaints(nameless, "ltx2")[0]
