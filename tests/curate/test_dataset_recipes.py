"""The dataset recipes that ship: each is valid down to its filters' thresholds, and is what it says."""

from __future__ import annotations

import pytest

from avbench import recipe, registry
from avbench.filters import _base
from avbench.recipe import DatasetRecipe

NAMES = recipe.names("datasets")


def load(name: str) -> DatasetRecipe:
    return recipe.load(recipe.find("datasets", name), DatasetRecipe)


def test_the_promised_recipes_are_there() -> None:
    assert {"concerts", "gaming", "demo", "default"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid_and_drops_silence_and_stills(name: str) -> None:
    made = load(name)
    assert made.description
    assert {"has_audio", "silence", "freeze"} <= {made.name for made in _base.load(made.filters)}


@pytest.mark.parametrize("name", ["concerts", "gaming"])
def test_the_recipes_of_the_paper(name: str) -> None:
    made = load(name)
    cut, view = made.segment, made.view
    assert (cut.clip_s, cut.lead_s, cut.step_s, cut.fps, cut.height) == (34, 10, 34, 30, 360)
    assert (view.size, view.fps, view.sample_rate_hz) == (64, 10, 16000)
    assert (made.shard.train, made.shard.validation, made.shard.test) == (0.9, 0.05, 0.05)


def test_gaming_tolerates_what_games_do() -> None:
    limits = {spec.name: spec.options for spec in _base.resolved(load("gaming").filters)}
    # measured on real play: silent for up to 0.49, still for up to 0.54, -37 LUFS
    assert limits["silence"]["max_ratio"] > 0.6
    assert limits["freeze"]["max_ratio"] > 0.6
    assert limits["loudness"]["min_lufs"] < -45


def test_the_demo_view_holds_the_window_of_the_tiny_model() -> None:
    made = load("demo")
    frames, samples = made.view.counts(made.segment.clip_s)
    assert (made.view.size, made.view.fps) == (32, 10)
    assert frames >= 16
    assert samples * 16 == 25600 * frames


@pytest.mark.parametrize("name", ["concerts", "gaming", "default"])
def test_recipes_for_recordings_judge_by_everything_that_needs_no_weights(name: str) -> None:
    chosen = {made.name for made in _base.load(load(name).filters)}
    weightless = {
        key
        for key in registry.names("filter")
        if issubclass(filter_class := registry.module("filter", key).Filter, _base.ClipFilter)
        and not filter_class.weights
    }
    assert weightless <= chosen
    assert not any(made.weights for made in _base.load(load(name).filters)), "a fresh machine has no weights"


@pytest.mark.parametrize("name", ["concerts", "gaming", "default"])
def test_what_is_only_a_hint_drops_nothing(name: str) -> None:
    for made in _base.load(load(name).filters):
        if made.name == "speech_music":
            assert made.bounds() == (0, 1)
        if made.name == "correspondence":
            assert made.bounds() == (-1, None)
