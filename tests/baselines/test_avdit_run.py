"""A run of AVDiT: trained on latents, then every task; what is given stays, and what is not given does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avbench.baselines import _base, avdit
from avbench.drift import drift_of_run
from avbench.errors import UserError
from avbench.inputs.conditions import Conditions
from avbench.progress import Bar, Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.runs import Run
from avbench.training import checkpoint
from tests.baselines.avdit_toy import CPU, install, recipe, write_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a dataset of three clips in ``data`` and a run trained on it in ``run``."""
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        folder = tmp_path_factory.mktemp("toy")
        avdit.train(write_set(folder / "data"), recipe(), folder / "run", device=CPU)
        yield folder


def given(source: Path, *, seconds: float | None = None, **condition: Any) -> BaselineRecipe:
    return recipe(seconds=seconds, source=str(source), split="train", **condition)


def sampled(toy: Path, chosen: BaselineRecipe) -> tuple[Path, dict[str, Any], Conditions | None]:
    condition, conditions = chosen.sample.condition, None
    if condition is not None:
        conditions = Conditions(Path(condition.source), condition, _base.given_window(toy / "run", chosen))
    _base.write_samples(toy / "run", chosen, device=CPU, conditions=conditions)
    folder = _base.samples_folder(toy / "run", chosen)
    return folder, json.loads((folder / "samples.json").read_text()), conditions


def test_a_checkpoint_says_how_its_noise_levels_were_drawn_and_how_to_decode(toy: Path) -> None:
    found = checkpoint.latest(toy / "run" / "checkpoints")
    assert found is not None
    assert found.config["noise_levels"]["weights"] == {"vanilla": 1.0, "pm": 1.0, "pt": 1.0, "ptm": 1.0}
    assert found.config["train"]["decay"] == "cosine"
    assert found.config["latents"]["window"]["frames"] == 9
    assert avdit.slice_bounds_s(toy / "run", recipe()) == pytest.approx((0, 0.1, 0.3, 0.5, 0.7, 0.9))


def test_picture_and_sound_are_made_together_as_windows_of_the_recipe(toy: Path) -> None:
    folder, _, _ = sampled(toy, recipe())
    made = np.load(folder / "sample-00002.npz")
    assert made["video"].shape == (9, 16, 16, 3)
    assert made["audio"].shape == (1, 14400)
    assert (float(made["fps"]), int(made["sample_rate_hz"])) == (10.0, 16000)


TASKS: dict[str, dict[str, Any]] = {
    "v2a": {},
    "a2v": {},
    "continue": {"keep": "0-0.3"},
    "inpaint": {"keep": "0-0.1,0.7-0.9"},
}


@pytest.mark.parametrize("task", TASKS)
def test_what_is_given_is_in_the_clip_unchanged(toy: Path, task: str) -> None:
    folder, card, conditions = sampled(toy, given(toy / "data", task=task, **TASKS[task]))
    assert conditions is not None
    part = avdit.given_part(task, card["sample"]["condition"]["keep"], avdit.network_of(_found(toy)), 14400)
    for number in range(3):
        made, want = np.load(folder / f"sample-{number:05d}.npz"), conditions.clip(number)
        if part.frames.any():
            assert want.video is not None
            assert np.array_equal(made["video"][part.frames], want.video[part.frames])
        if part.samples.any():
            assert want.audio is not None
            assert np.array_equal(made["audio"][:, part.samples], want.audio[:, part.samples])
        assert not part.frames.all() or not part.samples.all()
        assert card["sources"][f"sample-{number:05d}"]["clip"] == want.source["clip"]


def _found(toy: Path) -> checkpoint.Checkpoint:
    found = checkpoint.latest(toy / "run" / "checkpoints")
    assert found is not None
    return found


@pytest.mark.parametrize("task", ["continue", "inpaint"])
def test_what_is_not_given_does_not_change_the_clip(toy: Path, tmp_path: Path, task: str) -> None:
    """The codec never sees it: a clip whose hidden part is noise instead gives the same sample to the bit."""
    chosen = given(toy / "data", task=task, **TASKS[task])
    _, _, conditions = sampled(toy, chosen)
    assert conditions is not None
    condition = chosen.sample.condition
    assert condition is not None
    part = avdit.given_part(condition.task, condition.keep, avdit.network_of(_found(toy)), 14400)
    clip = conditions.clip(0)
    assert clip.video is not None
    assert clip.audio is not None
    draw = np.random.default_rng(3)
    video, audio = clip.video.copy(), clip.audio.copy()
    video[~part.frames] = draw.integers(0, 256, video[~part.frames].shape)
    audio[:, ~part.samples] = draw.normal(size=int((~part.samples).sum()))
    clips = [
        next(
            avdit.sample(
                toy / "run",
                chosen,
                [0],
                device=CPU,
                bar=Bar(),
                given=lambda _, c=each: c,  # type: ignore[misc]
            )
        )
        for each in (clip, clip._replace(video=video, audio=audio))
    ]
    assert np.array_equal(clips[0].video, clips[1].video)
    assert np.array_equal(clips[0].audio, clips[1].audio)
    assert not np.array_equal(clips[0].video[~part.frames], video[~part.frames])


@pytest.mark.parametrize("task", ["joint", *TASKS])
def test_a_sample_is_the_same_to_the_bit_after_an_interruption(toy: Path, task: str) -> None:
    chosen = recipe() if task == "joint" else given(toy / "data", task=task, **TASKS[task])
    folder, card, conditions = sampled(toy, chosen)
    before = (folder / "sample-00001.npz").read_bytes()
    (folder / "sample-00001.mp4").unlink()
    if "sources" in card:
        del card["sources"]["sample-00001"]
        (folder / "samples.json").write_text(json.dumps(card))
    assert _base.write_samples(toy / "run", chosen, device=CPU, conditions=conditions) == (1, 2)
    assert (folder / "sample-00001.npz").read_bytes() == before


def test_guidance_changes_what_is_made_and_is_noted(toy: Path) -> None:
    plain, _, _ = sampled(toy, given(toy / "data", task="v2a"))
    without = np.load(plain / "sample-00000.npz")["audio"].copy()
    folder, card, _ = sampled(toy, given(toy / "data", task="v2a", guidance=2.0, drop="video"))
    assert card["sample"]["condition"]["guidance"] == 2.0
    assert not np.array_equal(np.load(folder / "sample-00000.npz")["audio"], without)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "v2a", "method": "both", "scale": 2.0}, r"given its part as clean tokens: leave out --method"),
        ({"task": "continue", "keep": "0-0.4"}, r"the nearest times are 0.3 s and 0.5 s"),
        ({"task": "v2a", "guidance": 1.0, "drop": "audio"}, r"guidance needs what it drops"),
        ({"task": "v2a", "seconds": 2.0}, r"--seconds goes with task continue or none"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(toy: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        sampled(toy, given(toy / "data", **options))


def test_bfloat16_makes_nearly_the_same_clips(toy: Path) -> None:
    half = recipe().model_copy(update={"sample": recipe().sample.model_copy(update={"bf16": True})})
    exact, rough = (
        next(iter(avdit.sample(toy / "run", chosen, [0], device=CPU, bar=Bar()))).audio for chosen in (recipe(), half)
    )
    assert 0 < np.abs(exact - rough).mean() < 0.05 * np.abs(exact).mean()


def test_long_clips_lie_in_a_folder_of_their_own_with_the_length_asked_for(toy: Path) -> None:
    folder, _, _ = sampled(toy, recipe(seconds=2.5))
    assert folder.name == "samples-2.5s"
    made = np.load(folder / "sample-00000.npz")
    assert (made["video"].shape, made["audio"].shape) == ((25, 16, 16, 3), (1, 40000))


def test_a_given_beginning_goes_on_for_as_long_as_asked(toy: Path) -> None:
    chosen = given(toy / "data", task="continue", keep="0-0.3", seconds=2.1)
    folder, card, conditions = sampled(toy, chosen)
    assert folder.name == "samples-continue-2.1s"
    assert conditions is not None
    made, want = np.load(folder / "sample-00000.npz"), conditions.clip(0)
    assert want.video is not None
    assert made["video"].shape[0] == 21
    assert np.array_equal(made["video"][:3], want.video[:3])
    assert card["made"] == {"video": [[0.3, 2.1]], "audio": [[0.3, 2.1]]}


def test_a_run_that_was_interrupted_ends_with_the_same_weights(toy: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    avdit.train(toy / "data", recipe(steps=3), whole, device=CPU)
    with pytest.MonkeyPatch.context() as patch:

        def stop(*args: Any, **options: Any) -> Any:
            if count.append(1) or len(count) == 2:
                raise KeyboardInterrupt
            return usual(*args, **options)

        count: list[int] = []
        usual = avdit.token_loss
        patch.setattr(avdit, "token_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            avdit.train(toy / "data", recipe(steps=3), parts, device=CPU)
    assert len(list((parts / "checkpoints").glob("step-*"))) == 1
    avdit.train(toy / "data", recipe(steps=3), parts, device=CPU)
    ends = [checkpoint.read(run / "checkpoints" / "step-00000003").weights("ema") for run in (whole, parts)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("levels", [{"weights": {"ptm": 1.0}}, {"task": "v2a"}], ids=["ptm", "one task"])
def test_other_noise_levels_train_other_weights(toy: Path, tmp_path: Path, levels: dict[str, Any]) -> None:
    avdit.train(toy / "data", recipe(levels=levels), tmp_path, device=CPU)
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None
    mixed, other = _found(toy).weights("ema"), found.weights("ema")
    assert not all(torch.equal(mixed[name], other[name]) for name in mixed)
    with pytest.raises(UserError, match="holds a run with another configuration"):
        avdit.train(toy / "data", recipe(steps=3), tmp_path, device=CPU)


def test_real_clips_go_through_the_codecs_and_back(toy: Path) -> None:
    folder = avdit.reconstructions(toy / "run", recipe(), toy / "data", split="train", n=3, device=CPU)
    made = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    assert len(made) == 3
    assert made[0]["video"].shape == (9, 16, 16, 3)


def test_long_clips_of_a_run_come_with_a_picture_of_their_drift(toy: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        'name = "toy"\nmetrics = ["mel_fd", "flow_fd"]\nframes = 8\nfps = 10\nsize = 16\n'
        'windows = "tile"\nn = 8\nmin_n = 2\nreference_split = "train"\ninterval_draws = 4\n'
    )
    notes: list[str] = []
    reporter = Reporter()
    reporter.note = notes.append  # type: ignore[method-assign]
    chosen = recipe(seconds=2.5).model_copy(update={"protocol": str(rules), "dataset": str(toy / "data")})
    run = Run(chosen, toy / "run", None, CPU, reporter)
    run.sample()
    drift_of_run(run, workers=1)
    assert (toy / "run" / "samples-2.5s" / "drift.png").is_file()
    rows = (toy / "run" / "samples-2.5s" / "drift.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 2  # three windows of 0.8 s, two metrics
    assert notes[-1].startswith("drift")
