"""Every baseline file offers train and sample with the agreed arguments, and every shipped recipe names one.

Published numbers stand in tables that recipes name, and are shown, never among the records that are ranked.
"""

from __future__ import annotations

import inspect

import pytest

from avbench import protocol as protocols, recipe as recipes, registry
from avbench.baselines._untrained import Untrained, is_untrained
from avbench.catalogue import about_recipe, baseline_recipe, rows
from avbench.curate import manifest
from avbench.errors import UserError
from avbench.inputs.prompt_lists import read_prompts
from avbench.leaderboard import literature
from avbench.models.mmdiffusion import PRESETS
from avbench.recipe_baseline import BaselineRecipe
from avbench.runs import load_recipe

TRAINED = [name for name in registry.names("baseline") if not is_untrained(registry.module("baseline", name))]
UNTRAINED = sorted(set(registry.names("baseline")) - set(TRAINED))


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_baseline_that_trains_nothing_makes_clips_and_says_what_it_would_do(name: str) -> None:
    module = registry.module("baseline", name)
    for function in ("write_samples", "plan"):
        wanted = inspect.signature(getattr(Untrained, function)).parameters
        found = inspect.signature(getattr(module, function)).parameters
        assert list(found) == [parameter for parameter in wanted if parameter != "self"]
    assert not hasattr(module, "train")
    assert not hasattr(module, "sample")
    assert module.__doc__


@pytest.mark.parametrize("name", recipes.names("baselines"))
def test_a_recipe_trains_where_its_baseline_does(name: str) -> None:
    recipe = recipes.load(recipes.find("baselines", name), BaselineRecipe)
    assert (recipe.train is None) == is_untrained(registry.module("baseline", recipe.baseline))
    if recipe.prompts:
        assert read_prompts(recipe.prompts).texts


@pytest.mark.parametrize("name", TRAINED)
def test_a_baseline_offers_train_and_sample(name: str) -> None:
    module = registry.module("baseline", name)
    assert list(inspect.signature(module.train).parameters) == ["dataset", "recipe", "run", "device", "reporter"]
    sampling = ["run", "recipe", "numbers", "device", "bar"]
    if hasattr(module, "clip_window"):  # it can be given a part of a clip
        assert list(inspect.signature(module.clip_window).parameters) == ["run", "recipe"]
        sampling.append("given")
    if hasattr(module, "clips_to_enlarge"):  # it makes clips larger
        assert list(inspect.signature(module.clips_to_enlarge).parameters) == ["run", "recipe"]
        sampling.append("given")
    assert list(inspect.signature(module.sample).parameters) == sampling
    assert module.__doc__


@pytest.mark.parametrize("name", recipes.names("baselines"))
def test_a_recipe_is_named_for_its_baseline_and_preset(name: str) -> None:
    recipe = recipes.load(recipes.find("baselines", name), BaselineRecipe)
    assert name == f"{recipe.baseline}-{recipe.preset}"
    registry.module("baseline", recipe.baseline)
    protocols.load(recipe.protocol)
    assert recipe.description
    assert recipe.dataset in manifest.names()


MM_DIFFUSION = (
    "tiny",
    "tiny-uncoupled",
    "bounce",
    "bounce-uncoupled",
    "small",
    "small-uncoupled",
    "paper",
    "landscape",
    "aistpp",
    "concerts",
    "gaming",
)


@pytest.mark.parametrize("preset", MM_DIFFUSION)
def test_every_preset_of_mm_diffusion_names_a_network_that_exists(preset: str) -> None:
    recipe = load_recipe("mmdiffusion", preset)
    assert recipe.size in PRESETS
    assert recipe.hardware
    assert ("mmdiffusion-" + preset, recipe.description) in rows("recipes")


@pytest.mark.parametrize("preset", ["tiny", "bounce", "small"])
def test_an_uncoupled_preset_differs_by_its_network_alone(preset: str) -> None:
    usual, alone = (load_recipe("mmdiffusion", name).model_dump() for name in (preset, f"{preset}-uncoupled"))
    assert {key for key in usual if usual[key] != alone[key]} == {"description", "preset"}


def test_published_numbers_are_shown_with_source_and_protocol() -> None:
    shown = about_recipe("mmdiffusion-landscape")
    numbers = next(i for i, line in enumerate(shown) if "117.2" in line)
    assert shown[numbers].startswith("FVD 117.2, KVD 5.78")
    assert "1000 DDPM steps" in shown[numbers - 1]
    assert "arXiv 2212.09478" in shown[numbers + 1]
    assert "2048 of the training set" in shown[numbers + 1]
    assert "hours unknown" in "\n".join(shown)
    assert "no number that could be compared" in "\n".join(about_recipe("mmdiffusion-concerts"))


def test_a_published_number_has_no_second_home_in_a_recipe() -> None:
    data = load_recipe("mmdiffusion", "landscape").model_dump()
    data["literature"] = [{"table": "landscape-64", "system": "MM-Diffusion", "value": 1.0}]
    with pytest.raises(UserError, match=r"unknown key 'literature\.0\.value'"):
        recipes.parse(data, BaselineRecipe, "recipe")


@pytest.mark.parametrize("name", recipes.names("baselines"))
def test_published_numbers_of_a_recipe_are_rows_of_the_tables(name: str) -> None:
    for reference in baseline_recipe(name).literature:
        assert any(v is not None for v in literature.table(reference.table).row(reference.system).values.values())
