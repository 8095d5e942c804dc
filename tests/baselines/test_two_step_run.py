"""The second step by a model of avbench: windows cover the video, sounds join without a step in loudness."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from avbench.baselines import _two_step_run as steps, avdit, latent, mmdiffusion
from avbench.baselines._base import GeneratedClip
from avbench.baselines._two_step_video import Videos, Wanted
from avbench.errors import UserError
from avbench.models.mmdiffusion import MMDiffusion
from avbench.progress import Bar
from avbench.recipe import parse
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_two_step import RunStep
from avbench.training import checkpoint
from avbench.training.loader import WindowSpec
from avbench.workspace import write_json
from tests.baselines import avdit_toy, test_latent
from tests.baselines.test_mmdiffusion_run import CPU, TOY, recipe
from tests.training import folding


def trained(folder: Path) -> Path:
    """A run of the toy MM-Diffusion whose weights are random, so that its sound hangs on the picture."""
    torch.manual_seed(0)
    config = {"baseline": "mmdiffusion", "preset": "toy", **mmdiffusion.network_card(TOY)}
    _shaken(folder, MMDiffusion(TOY), config)
    write_json(folder / "recipe.json", recipe().model_dump(mode="json"))
    return folder


def trained_on_latents(folder: Path, family: ModuleType, chosen: BaselineRecipe) -> Path:
    """A run of AVDiT or of joint latent diffusion at toy size, whose weights are random as well."""
    family.train(folding.write_set(folder / "data"), chosen, folder, device=CPU)
    found = checkpoint.latest(folder / "checkpoints")
    assert found is not None
    torch.manual_seed(0)
    _shaken(folder, family.load(found), found.config)
    write_json(folder / "recipe.json", chosen.model_dump(mode="json"))
    return folder


def _shaken(folder: Path, model: torch.nn.Module, config: dict[str, Any]) -> None:
    """Save a network as the newest of a run, with random numbers where training begins at nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(folder / "checkpoints", 9, model, dict(model.state_dict()), optimizer, config)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run") / "mmdiffusion")


@pytest.fixture(scope="module")
def runs(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run of every family that makes a sound for a picture."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        avdit_toy.install(patch)  # recipes of the runs name its network and codecs
        yield {
            "mmdiffusion": run,
            "avdit": trained_on_latents(folder / "avdit", avdit, avdit_toy.recipe(steps=1)),
            "latent": trained_on_latents(folder / "latent", latent, test_latent.recipe(train={"steps": 1})),
        }


class Pictures(Videos):
    """Pictures that were never written.

    Args:
        held: Clip to pictures.
    """

    def __init__(self, held: dict[str, np.ndarray]) -> None:
        self.held = held

    def read(self, wanted: Wanted) -> tuple[np.ndarray, float]:
        return self.held[wanted.name], 10.0


def made(sound: RunStep, *clips: tuple[int, np.ndarray], seed: int = 3) -> list[np.ndarray]:
    """The sounds of pictures at 10 fps, each with the number of its clip."""
    names = {number: Wanted(f"clip-{number}", "", 0) for number, _ in clips}
    pictures = Pictures({names[number].name: video for number, video in clips})
    model, frames = steps.load(sound, seed), len(clips[0][1])
    found = steps.sounds(model, sound, names, pictures, frames=frames, fps=10.0, device=CPU, bar=Bar())
    outcomes = list(found)
    assert [outcome.item_id for outcome in outcomes] == [wanted.name for wanted in names.values()]
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    assert {rate for _, rate in values} == {16000}
    return [sound for sound, _ in values]


VIDEO = np.random.default_rng(0).integers(0, 255, (17, 16, 24, 3), dtype=np.uint8)
FAMILIES = ("avdit", "latent", "mmdiffusion")


def step(run: Path, **changed: object) -> RunStep:
    return parse({"kind": "run", "run": str(run), **changed}, RunStep, "recipe")


@pytest.mark.parametrize(
    ("frames", "window", "overlap"), [(61, 16, 2), (17, 16, 2), (340, 16, 1), (16, 16, 2), (3, 16, 0)]
)
def test_windows_cover_the_video_from_its_beginning_to_its_end(frames: int, window: int, overlap: int) -> None:
    found = steps.starts(frames, window, overlap)
    assert found[0] == 0
    assert found[-1] == max(0, frames - window)
    shared = [first + window - second for first, second in itertools.pairwise(found)]
    assert all(overlap <= count < window for count in shared)
    assert max(shared, default=0) - min(shared, default=0) <= 1


def test_joined_sounds_keep_their_loudness_where_one_fades_into_the_next() -> None:
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, 0.1, (1, 40_000)).astype(np.float32) for _ in range(3)]
    whole = steps.joined(sounds, [0, 30_000, 60_000], 100_000)
    assert whole.shape == (1, 100_000)
    assert np.array_equal(whole[:, :30_000], sounds[0][:, :30_000])
    assert np.array_equal(whole[:, 70_000:], sounds[2][:, 10_000:])
    loudness = whole[0].reshape(50, 2000).std(axis=1)
    # standard deviation of 2000 normal numbers: 0.1 within 4 standard errors, 4 * 0.1 / sqrt(2 * 2000) = 0.0063
    assert np.abs(loudness - 0.1).max() < 0.0064


def test_a_sound_is_cut_where_the_picture_ends_and_never_beyond_full_scale() -> None:
    loud = [np.full((2, 100), 1.0, np.float32), np.full((2, 100), 1.0, np.float32)]
    whole = steps.joined(loud, [0, 60], 130)
    assert whole.shape == (2, 130)
    assert whole.max() == 1.0


@pytest.mark.parametrize(("frames", "fps", "windows"), [(49, 8.0, 5), (17, 10.0, 2), (5, 8.0, 1), (81, 16.0, 4)])
def test_what_the_model_sees_is_as_long_as_the_video(frames: int, fps: float, windows: int) -> None:
    video = np.zeros((frames, 16, 24, 3), np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None, None]
    film = steps._Film(video, fps, WindowSpec(16, 10.0, 8, 25600, 16000), 0.2)
    assert len(film.starts) == windows
    assert film.samples == round(frames / fps * 16000)
    assert film.places[-1] + 25600 >= film.samples
    for place, first in enumerate(film.starts):
        seen = film.part(place)
        assert seen.shape == (16, 8, 8, 3)
        levels = seen[:, 4, 4, 0].astype(float)  # the middle: above and below it the letterbox is black
        times_s = (first + np.arange(16)) / 10
        due = np.minimum(times_s * fps, frames - 1)
        assert np.abs(levels - due).max() <= fps / 10 / 2 + 1.01  # half a frame of the grid, and the rounding of grey


def test_these_are_all_the_families_that_make_a_sound_for_a_picture() -> None:
    assert steps.families() == list(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_is_as_long_as_its_picture_and_depends_on_seed_number_and_picture_alone(
    runs: dict[str, Path], family: str
) -> None:
    sound = step(runs[family], steps=1)
    first, second = made(sound, (0, VIDEO), (1, VIDEO))
    assert first.shape == (1, 27200)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert not np.array_equal(first, second)
    (alone,) = made(sound, (1, VIDEO))
    assert np.array_equal(second, alone)
    (by_the_window,) = made(step(runs[family], steps=1, batch_size=1), (1, VIDEO))
    assert np.abs(by_the_window - alone).max() < 1e-4
    assert not np.array_equal(made(sound, (1, VIDEO), seed=4)[0], alone)
    assert not np.array_equal(made(sound, (1, 255 - VIDEO))[0], alone)


@pytest.mark.slow
def test_networks_are_loaded_once_for_all_clips(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load = [], latent.load
    monkeypatch.setattr(latent, "load", lambda found: loads.append(1) or load(found))
    made(step(runs["latent"], steps=1), *((number, VIDEO) for number in range(3)))
    assert len(loads) == 2  # to see that it can be sampled, before any picture is made; and to sample


@pytest.mark.slow
def test_guidance_of_avdit_changes_the_sound_and_of_no_other(runs: dict[str, Path]) -> None:
    plain = step(runs["avdit"], steps=1)
    guided = step(runs["avdit"], steps=1, guidance=2)
    assert not np.array_equal(made(plain, (0, VIDEO))[0], made(guided, (0, VIDEO))[0])
    assert "guidance" not in plain.defining()  # sounds made before there was any are still its own
    assert guided.defining()["guidance"] == 2
    with pytest.raises(UserError, match="--guidance is of avdit; baseline latent has --method guide and --scale"):
        steps.load(step(runs["latent"], guidance=2), 0)


@pytest.mark.slow
def test_what_a_run_cannot_do_is_said_before_any_picture_is_made(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"avdit, as two_step\.sound names it: avdit is given its part as clean tokens"):
        steps.load(step(runs["avdit"], method="guide"), 0)
    (tmp_path / "checkpoints").symlink_to(runs["latent"] / "checkpoints")
    clipped = test_latent.recipe(video_threshold="clip").model_dump(mode="json")
    found = checkpoint.latest(runs["latent"] / "checkpoints")
    assert found is not None
    del found.config["latents"]["statistics"]["video_largest"]
    monkeypatch.setattr(checkpoint, "latest", lambda folder: found)
    write_json(tmp_path / "recipe.json", clipped)
    with pytest.raises(UserError, match="does not say how large the latents of its training were"):
        steps.load(step(tmp_path), 0)
    monkeypatch.setattr(folding.codecs, "load_video", lambda name, **_: folding.FoldedPictures(2.0))
    with pytest.raises(UserError, match="was trained on latents of the video codec folded"):
        steps.load(step(runs["latent"]), 0)


@pytest.mark.slow
def test_a_sound_that_is_no_number_is_a_failure_of_that_clip(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, sample = step(runs["latent"], steps=1), latent.sample

    def broken(*arguments: Any, **options: Any) -> Iterator[GeneratedClip]:
        for place, clip in enumerate(sample(*arguments, **options)):
            yield dataclasses.replace(clip, audio=clip.audio * (np.nan if place == 0 else 1))

    monkeypatch.setattr(latent, "sample", broken)
    clips = {number: Wanted(f"clip-{number}", "", 0) for number in range(2)}
    pictures = Pictures({clip.name: VIDEO for clip in clips.values()})
    model = steps.load(sound, 0)
    first, second = steps.sounds(model, sound, clips, pictures, frames=17, fps=10.0, device=CPU, bar=Bar())
    assert first.error == "the model in latent gave a sound that holds NaN or infinity"
    assert second.ok


@pytest.mark.slow
def test_licences_of_published_codecs_are_those_of_the_sound_too(runs: dict[str, Path], tmp_path: Path) -> None:
    said = {str(each) for each in steps.licences(step(runs["avdit"]))}
    assert said == {"folded (codec of avdit): MIT", "low-tones (codec of avdit): MIT"}
    assert steps.licences(step(runs["mmdiffusion"])) == []
    assert steps.licences(step(tmp_path / "none")) == []


def test_a_run_that_made_long_clips_gives_sound_by_the_window(run: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").symlink_to(run / "checkpoints")
    write_json(tmp_path / "recipe.json", recipe(seconds=34).model_dump(mode="json"))
    assert steps.load(step(tmp_path), 0).recipe.sample.seconds is None


def test_what_decides_the_sounds_is_written_down(run: Path) -> None:
    model = steps.load(step(run, steps=7, method="both", scale=2.0), 3)
    assert model.recipe.sample.steps == model.identity["steps"] == 7
    assert model.recipe.sample.condition is not None
    assert (model.recipe.sample.condition.method, model.recipe.sample.condition.scale) == ("both", 2.0)
    assert len(model.identity["weights_sha256"]) == 64
    assert model.window == WindowSpec(16, 10.0, 8, 25600, 16000)


def test_a_run_that_is_not_there_or_cannot_hear_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: holds no run of avbench that could make the sound; train one"):
        steps.load(step(tmp_path / "none"), 0)
    write_json(tmp_path / "recipe.json", recipe().model_dump(mode="json"))
    with pytest.raises(UserError, match="holds no checkpoint; train it first with `avbench train mmdiffusion`"):
        steps.load(step(tmp_path), 0)
    small = {**recipe().model_dump(mode="json"), "baseline": "mmdiffusion-sr"}
    write_json(tmp_path / "recipe.json", small)
    with pytest.raises(
        UserError,
        match=r"a run of mmdiffusion-sr, which makes no sound for a picture; name a run of avdit, latent, mmd",
    ):
        steps.load(step(tmp_path), 0)
