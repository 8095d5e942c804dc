"""The second step by a model of avbench: windows cover the video, sounds join without a step in loudness."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.baselines import _two_step_run as steps, mmdiffusion
from avbench.errors import UserError
from avbench.models.mmdiffusion import MMDiffusion
from avbench.progress import Bar
from avbench.recipe import parse
from avbench.recipe_two_step import RunStep
from avbench.training import checkpoint
from avbench.training.loader import WindowSpec
from avbench.workspace import write_json
from tests.baselines.test_mmdiffusion_run import CPU, TOY, recipe


def trained(folder: Path) -> Path:
    """A run of the toy MM-Diffusion whose weights are random, so that its sound hangs on the picture."""
    torch.manual_seed(0)
    model = MMDiffusion(TOY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    optimizer = torch.optim.AdamW(model.parameters())
    config = {"baseline": "mmdiffusion", "preset": "toy", **mmdiffusion.network_card(TOY)}
    checkpoint.save(folder / "checkpoints", 1, model, dict(model.state_dict()), optimizer, config)
    write_json(folder / "recipe.json", recipe().model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run"))


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


@pytest.mark.slow
def test_a_sound_is_as_long_as_its_picture_and_depends_on_seed_number_and_picture(run: Path) -> None:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (17, 16, 24, 3), dtype=np.uint8)

    def made(seed: int = 3, number: int = 0, picture: np.ndarray = video) -> np.ndarray:
        model = steps.load(step(run, steps=1), seed)
        sound, rate = steps.make_sound(model, step(run, steps=1), number, picture, 10.0, device=CPU, bar=Bar())
        assert rate == 16000
        assert sound.dtype == np.float32
        return sound

    first = made()
    assert first.shape == (1, 27200)
    assert np.isfinite(first).all()
    assert np.array_equal(first, made())
    assert not np.array_equal(first, made(seed=4))
    assert not np.array_equal(first, made(number=1))
    assert not np.array_equal(first, made(picture=255 - video))


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
    with pytest.raises(UserError, match="cannot be given a part of a clip"):
        steps.load(step(tmp_path), 0)
