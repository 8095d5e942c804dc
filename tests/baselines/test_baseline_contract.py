"""Every baseline file offers train and sample with the agreed arguments, and every shipped recipe names one."""

from __future__ import annotations

import inspect

import pytest

from avbench import protocol as protocols, recipe as recipes, registry
from avbench.recipe import BaselineRecipe


@pytest.mark.parametrize("name", registry.names("baseline"))
def test_a_baseline_offers_train_and_sample(name: str) -> None:
    module = registry.module("baseline", name)
    assert list(inspect.signature(module.train).parameters) == ["dataset", "recipe", "run", "device", "reporter"]
    sampling = ["run", "recipe", "numbers", "device", "bar"]
    if hasattr(module, "clip_window"):  # it can be given a part of a clip
        assert list(inspect.signature(module.clip_window).parameters) == ["run", "recipe"]
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
