"""Clips of a program in a checkout of its own: what it is told, what counts as a clip, what a failure leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avbench import media, recipe as recipes
from avbench.baselines import _external_process, external
from avbench.baselines._untrained import HOPELESS, Prompts, clip_seed
from avbench.errors import UserError
from avbench.inputs.card import read_card
from avbench.progress import Reporter
from avbench.recipe_baseline import BaselineRecipe
from tests.baselines import external_program as toy
from tests.baselines.test_external_process import runs

CPU = torch.device("cpu")


class Said(Reporter):
    """Keeps what was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The checkout of the toy, and its commit."""
    checkout = tmp_path_factory.mktemp("toy") / "checkout"
    return checkout, toy.write_checkout(checkout)


class Toy:
    """The toy in a folder of its own.

    Attributes:
        run: Folder of the run.
        told: Where the toy says what it was told.
    """

    def __init__(self, made: tuple[Path, str], folder: Path) -> None:
        self.checkout, self.at = made
        self.run, self.told = folder / "run", folder / "told"
        self.told.mkdir()
        self.said = Said()

    def recipe(self, n: int, **program: Any) -> BaselineRecipe:
        return toy.recipe(self.checkout, self.told, self.at, n=n, **program)

    def make(self, *prompts: str, recipe: BaselineRecipe | None = None, n: int | None = None) -> tuple[int, int]:
        """Make a clip per prompt."""
        given = recipe or self.recipe(n or len(prompts))
        texts: Prompts | None = toy.texts(*prompts) if prompts else None
        return external.write_samples(
            self.run, given, prompts=texts, device=CPU, accept_licence=False, reporter=self.said
        )

    @property
    def card(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "samples" / "samples.json").read_text())
        return found

    @property
    def clips(self) -> list[str]:
        return sorted(path.stem for path in (self.run / "samples").glob("*.mp4"))


@pytest.fixture
def world(made: tuple[Path, str], tmp_path: Path) -> Iterator[Toy]:
    yield Toy(made, tmp_path)
    for path in tmp_path.rglob("pids.json"):  # of a test that failed half-way
        for pid in json.loads(path.read_text()):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


def test_every_clip_is_made_with_its_own_prompt_and_seed(world: Toy) -> None:
    assert world.make("a bell", "a drum", n=3) == (3, 0)
    assert world.clips == ["sample-00000", "sample-00001", "sample-00002"]
    told = [toy.options(call) for call in toy.calls(world.told)]
    assert [call["prompt"] for call in told] == ["a bell", "a drum", "a bell"]
    assert [int(call["seed"]) for call in told] == [clip_seed(0, number) for number in range(3)]
    assert media.probe(world.run / "samples" / "sample-00000.mp4").n_frames == toy.FRAMES
    card = read_card(world.run / "samples")
    assert card.model == "external:toy"
    assert card.prompts["sample-00001"] == "a drum"
    assert card.seeds["sample-00001"] == int(told[1]["seed"])
    assert world.card["generator"]["commit"] == world.at
    assert "prompt: a drum" in (world.run / "logs" / "sample-00001.log").read_text()
    assert not list((world.run / "calls").iterdir())
    assert world.make("a bell", "a drum", n=3) == (0, 3)
    assert len(toy.calls(world.told)) == 3


def test_more_clips_are_added_to_those_that_are_there(world: Toy) -> None:
    world.make("a bell")
    assert world.make("a bell", "a drum") == (1, 1)
    assert [toy.options(call)["prompt"] for call in toy.calls(world.told)] == ["a bell", "a drum"]


FAULTS = {
    "crash now": "the program ended with exit code 1; what it printed is in logs/sample-00001.log",
    "killed": "the program was ended by signal SIGKILL; what",
    "nothing": "the program wrote no clip_0000*.mp4; it wrote notes.txt; what",
    "two": "wrote 2 files of the pattern clip_0000*.mp4 where one belongs: clip_0000.mp4, clip_0000x.mp4",
    "cut": "wrote clip_0000.mp4, which is broken: ",
    "silent": "wrote clip_0000.mp4, which has no sound",
    "short": "which has 11 frames where 16 belong",
    "small": "whose picture is 16 x 16 where 32 x 32 belongs",
    "slow": "which has 5 fps where 10 belong",
    "link": "wrote clip_0000.mp4 as a link that leaves its folder",
    "loop": "wrote clip_0000.mp4 as a link that leads nowhere",
}


@pytest.mark.parametrize("way", FAULTS)
def test_what_is_no_clip_is_a_failure_with_its_reason_and_the_others_go_on(world: Toy, way: str) -> None:
    assert world.make("first", way, "last") == (2, 0)
    assert world.clips == ["sample-00000", "sample-00002"]
    reason = world.card["failed"]["sample-00001"]
    assert FAULTS[way] in reason
    assert str(world.run) not in reason, "a reason is published and names no folder of this machine"
    assert str(world.checkout) not in reason
    assert len(world.said.warnings) == 1


def test_the_last_words_of_a_crash_are_shown_but_not_stored(world: Toy) -> None:
    world.make("first", "crash")
    assert world.said.warnings[0].endswith("(out of memory: 7)")
    assert "out of memory" not in world.card["failed"]["sample-00001"]


def test_a_link_inside_the_folder_of_the_call_is_followed(world: Toy) -> None:
    world.make("inside")
    path = world.run / "samples" / "sample-00000.mp4"
    assert not path.is_symlink()
    assert media.probe(path).n_frames == toy.FRAMES


def test_a_failure_is_tried_again_by_the_next_call(world: Toy, made: tuple[Path, str]) -> None:
    world.make("first", "crash")
    prompts = toy.texts("first", "crash")
    mended = world.told.parent / "mended"
    shutil.copytree(world.checkout, mended)
    (mended / "make.py").write_text(toy.SCRIPT.replace('way == "crash"', "False"))
    world.at, world.checkout = toy.commit(mended), mended
    with pytest.raises(UserError, match="1 clips that were made with other settings; give another --out"):
        world.make("first", "crash")
    world.checkout, world.at = made
    recipe = world.recipe(2, argv=[*world.recipe(1).external.program.argv])  # type: ignore[union-attr]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external.places, "complaints", lambda *_: [])
        patch.setenv("AVBENCH_TOY_CHECKOUT", str(mended))
        done = external.write_samples(
            world.run, recipe, prompts=prompts, device=CPU, accept_licence=False, reporter=world.said
        )
    assert done == (1, 1)
    assert world.card["failed"] == {}


def test_a_hanging_call_is_ended_with_its_children_and_counts_as_a_failure(
    world: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_external_process, "GRACE_S", 0.3)
    assert world.make("good", "stubborn", recipe=world.recipe(2, timeout_s=1.0)) == (1, 0)
    assert "the program did not end within 1 s" in world.card["failed"]["sample-00001"]
    assert not any(map(runs, json.loads((world.told / "pids.json").read_text())))


def test_what_a_call_leaves_running_is_ended_before_its_clip_is_read(world: Toy) -> None:
    assert world.make("leaves") == (1, 0)
    assert not any(map(runs, json.loads((world.told / "pids.json").read_text())))


HOSTILE = (
    "--seed=5 --out=/tmp",
    "-rf /",
    "$(touch x); `touch y` \"quoted\" 'single' | & > z",
    "three\nlines and {seed} {out} ${oc.env:HOME} %s",
    "ünï ☃ 音",
)


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_prompt_is_data_whatever_it_holds(world: Toy, prompt: str) -> None:
    world.make(prompt)
    call = toy.calls(world.told)[0]
    assert f"--prompt={prompt}" in call["argv"]
    assert toy.options(call)["seed"] == str(clip_seed(0, 0))
    assert call["cwd"] == str(world.checkout)
    assert world.card["prompts"]["sample-00000"] == prompt
    assert not toy.git(world.checkout, "status", "--porcelain")


def test_only_named_variables_reach_the_program(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    world.make("good", recipe=world.recipe(1, settings={"PYTHONUNBUFFERED": "1"}))
    env = toy.calls(world.told)[0]["env"]
    assert "HF_TOKEN" not in env
    assert (env["CUDA_VISIBLE_DEVICES"], env["PYTHONUNBUFFERED"]) == ("1", "1")
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_one_call_makes_several_clips_from_a_table(world: Toy) -> None:
    recipe = world.recipe(5, **toy.batch())
    prompts = ("one", "with\na line break, and a comma", 'quoted "three"', "-four", "five")
    assert world.make(*prompts, recipe=recipe) == (5, 0)
    told = toy.calls(world.told)
    tables = [list(csv.DictReader(io.StringIO(call["files"]["prompts.csv"]))) for call in told]
    assert [[row["text"] for row in table] for table in tables] == [list(prompts[:3]), list(prompts[3:])]
    assert [int(toy.options(call)["seed"]) for call in told] == [clip_seed(0, 0), clip_seed(0, 3)]
    assert list(world.card["seeds"].values()) == [clip_seed(0, 0)] * 3 + [clip_seed(0, 3)] * 2


def test_a_call_of_several_is_made_again_whole_where_one_is_missing(world: Toy) -> None:
    recipe = world.recipe(4, **toy.batch())
    assert world.make("one", "silent", "three", "four", recipe=recipe) == (3, 0)
    assert list(world.card["failed"]) == ["sample-00001"]
    before = (world.run / "samples" / "sample-00000.mp4").stat().st_mtime_ns
    assert world.make("one", "silent", "three", "four", recipe=recipe) == (0, 3)
    first, _, again = toy.calls(world.told)
    assert first["files"] == again["files"]
    assert toy.options(first)["seed"] == toy.options(again)["seed"]
    assert (world.run / "samples" / "sample-00000.mp4").stat().st_mtime_ns == before


def test_a_call_of_several_that_fails_gives_no_clip(world: Toy) -> None:
    recipe = world.recipe(6, **toy.batch())
    assert world.make("one", "two", "three", "four", "crash", "six", recipe=recipe) == (3, 0)
    assert sorted(world.card["failed"]) == ["sample-00003", "sample-00004", "sample-00005"]
    assert {"exit code 1" in reason for reason in world.card["failed"].values()} == {True}


def test_files_are_written_for_each_call(world: Toy) -> None:
    files = {"a.json": {"text": "{prompt}", "seed": "{seed}", "where": "{out}/x", "list": ["{number}", 3, True]}}
    world.make("first", "{seed} and ${x}", recipe=world.recipe(2, files=files))
    held = json.loads(toy.calls(world.told)[1]["files"]["a.json"])
    out = world.run.absolute() / "calls" / "sample-00001" / "out"
    assert held == {"text": "{seed} and ${x}", "seed": clip_seed(0, 1), "where": f"{out}/x", "list": [1, 3, True]}


def test_pictures_are_given_in_order_of_name_and_from_the_first_again(world: Toy) -> None:
    pictures = world.told.parent / "pictures"
    pictures.mkdir()
    for name in ("b.png", "a.jpg", "notes.txt"):
        (pictures / name).write_bytes(b"x")
    recipe = world.recipe(3)
    program = recipe.external.program.model_dump(mode="json")  # type: ignore[union-attr]
    places = {**program["places"], "images": {"about": "first pictures", "path": str(pictures)}}
    world.make("good", recipe=world.recipe(3, argv=[*program["argv"], "--image={image}"], places=places), n=3)
    told = [Path(toy.options(call)["image"]).name for call in toy.calls(world.told)]
    assert told == ["a.jpg", "b.png", "a.jpg"]
    (pictures / "a.jpg").write_bytes(b"another")
    with pytest.raises(UserError, match="other settings"):
        world.make("good", recipe=world.recipe(3, argv=[*program["argv"], "--image={image}"], places=places), n=3)
    for path in pictures.iterdir():
        path.unlink()
    shutil.rmtree(world.run)
    with pytest.raises(UserError, match="holds no picture"):
        world.make("good", recipe=world.recipe(1, argv=[*program["argv"], "--image={image}"], places=places))


def test_a_hopeless_program_is_not_started_for_every_clip(world: Toy) -> None:
    with pytest.raises(UserError, match="no clip could be made; the last: the program ended with exit code 1"):
        world.make(*["crash"] * 9)
    assert len(toy.calls(world.told)) == HOPELESS
    assert not world.clips


def test_a_program_that_takes_no_prompt_needs_none(world: Toy) -> None:
    argv = ["{python}", "make.py", "--seed={seed}", "--out={out}", "--told={told}"]
    assert world.make(recipe=world.recipe(2, argv=argv)) == (2, 0)
    assert set(world.card["prompts"].values()) == {""}
    with pytest.raises(UserError, match="it needs prompts; give --prompts FILE"):
        world.make(recipe=world.recipe(3))


def test_clips_of_other_settings_or_prompts_are_kept_and_the_folder_refused(world: Toy) -> None:
    world.make("a bell", "a drum")
    argv = [*world.recipe(1).external.program.argv, "--more=1"]  # type: ignore[union-attr]
    with pytest.raises(UserError, match="2 clips that were made with other settings; give another --out"):
        world.make("a bell", "a drum", recipe=world.recipe(3, argv=argv), n=3)
    with pytest.raises(UserError, match="sample-00001 was made with another of the prompts"):
        world.make("a bell", "a horn", n=3)
    recipe = world.recipe(2)
    seed = recipe.model_copy(update={"sample": recipe.sample.model_copy(update={"seed": 3, "n": 3})})
    with pytest.raises(UserError, match="other settings"):
        world.make("a bell", "a drum", recipe=seed)
    assert len(world.clips) == 2
    world.make("a bell", "a drum", recipe=world.recipe(2, timeout_s=99, environment="another way to say it"))


def test_a_checkout_must_be_the_pinned_commit_and_unchanged(world: Toy, made: tuple[Path, str]) -> None:
    world.at = "0" * 40
    with pytest.raises(UserError, match=f"is at commit {made[1][:12]}, the recipe is for 000000000000"):
        world.make("good")
    world.at = made[1]
    copy = world.told.parent / "changed"
    shutil.copytree(world.checkout, copy)
    (copy / "make.py").write_text("")
    world.checkout = copy
    with pytest.raises(UserError, match=r"make\.py differs from the commit"):
        world.make("good")
    shutil.rmtree(copy / ".git")
    with pytest.raises(UserError, match="is not a checkout that git can read"):
        world.make("good")
    assert not toy.calls(world.told)


def test_git_of_a_checkout_runs_no_program_of_its_configuration(world: Toy) -> None:
    copy = world.told.parent / "copy"
    shutil.copytree(world.checkout, copy)
    toy.git(copy, "config", "core.fsmonitor", f"touch {world.told}/was-run; false")
    world.checkout = copy
    world.make("good")
    assert not (world.told / "was-run").exists()


def test_a_place_nobody_named_is_told_with_its_variable(world: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"checkout": {"about": "a checkout of the toy"}, "python": {"about": "a Python", "path": sys.executable}}
    argv = ["{python}", "make.py", "--prompt={prompt}", "--out={out}"]
    recipe = world.recipe(1, places=places, argv=argv)
    said = r"checkout: nobody has said where it is \(a checkout of the toy\); set AVBENCH_TOY_CHECKOUT"
    with pytest.raises(UserError, match=said):
        world.make("good", recipe=recipe)
    monkeypatch.setenv("AVBENCH_TOY_CHECKOUT", str(world.told / "none"))
    with pytest.raises(UserError, match=r"checkout: there is no .*/none"):
        world.make("good", recipe=recipe)
    monkeypatch.delenv("AVBENCH_TOY_CHECKOUT")
    with pytest.raises(UserError, match=r"there is no .*/weights\.bin, which it reads"):
        world.make("good", recipe=world.recipe(1, needs=["{checkout}/weights.bin"]))


def test_conditions_of_a_licence_must_be_accepted(world: Toy) -> None:
    data = world.recipe(1).model_dump(mode="json")
    terms = {"what": "weights", "terms": "CC-BY-NC-4.0", "condition": "forbids commercial use"}
    data["external"]["licences"].append(terms)
    recipe = recipes.parse(data, BaselineRecipe, "recipe")
    with pytest.raises(UserError, match=r"weights: the licence is CC-BY-NC-4\.0, which forbids commercial use"):
        world.make("good", recipe=recipe)
    assert not toy.calls(world.told)
    how: dict[str, Any] = {"prompts": toy.texts("good"), "device": CPU}
    assert external.write_samples(world.run, recipe, accept_licence=True, reporter=world.said, **how) == (1, 0)
    assert [each["terms"] for each in world.card["licences"]] == ["MIT", "CC-BY-NC-4.0"]
    assert external.write_samples(world.run, recipe, accept_licence=False, reporter=world.said, **how) == (0, 1)


@pytest.mark.slow
def test_a_run_goes_on_after_it_was_killed_and_ends_the_program_it_left(world: Toy, tmp_path: Path) -> None:
    recipe = world.recipe(3)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    code = f"""
import json, pathlib, torch
from avbench.baselines import external
from avbench.recipe_baseline import BaselineRecipe
from tests.baselines import external_program as toy
recipe = BaselineRecipe.model_validate_json(pathlib.Path({str(tmp_path / "recipe.json")!r}).read_text())
external.write_samples(pathlib.Path({str(world.run)!r}), recipe, prompts=toy.texts("a", "hang", "c"),
    device=torch.device("cpu"), accept_licence=False)
"""
    victim = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2])
    up = world.told / "child-is-up"
    while not up.exists():
        assert victim.poll() is None
    victim.kill()
    victim.wait()
    left = json.loads((world.told / "pids.json").read_text())
    assert all(map(runs, left))
    first = (world.run / "samples" / "sample-00000.mp4").stat().st_mtime_ns
    assert world.make("a", "b", "c") == (2, 1)
    assert not any(map(runs, left))
    assert any("was still running after avbench had been killed" in line for line in world.said.warnings)
    assert (world.run / "samples" / "sample-00000.mp4").stat().st_mtime_ns == first
    assert list(world.card["failed"]) == []
